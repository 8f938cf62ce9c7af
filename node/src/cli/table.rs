//! Aligned columns.

/// A table of texts under headings.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).into()] }
    }

    /// Adds a row, with a cell for every heading.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The table as text. Control characters in cells, which could play tricks on a terminal, become `?`.
    pub(crate) fn render(&self) -> String {
        let clean =
            |cell: &String| cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(clean).collect()).collect();
        let columns = rows.first().map_or(0, Vec::len);
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// What stands in a cell that has nothing to say.
pub(crate) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_cannot_move_the_cursor() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["ü".into(), "alive".into()]);
        table.row(["west-1".into(), "\x1b[2J".into()]);
        assert_eq!(table.render(), "NAME    STATE\nü       alive\nwest-1  ?[2J");
    }
}

//! Arithmetic and comparisons: `expr` and `cond`.

/// Nesting of parentheses that an expression may have.
const DEPTH_MAX: usize = 64;

/// The value of `expr`, written as FreeSWITCH writes it; `None` if it is no expression.
pub(super) fn evaluate(text: &str) -> Option<String> {
    let mut parser = Parser { rest: text.trim(), depth: 0 };
    let value = parser.comparison()?;
    parser.rest.trim().is_empty().then(|| written(value))
}

/// `cond <a> <operator> <b> ? <true> : <false>`
pub(super) fn conditional(text: &str) -> Option<String> {
    const OPERATORS: [&str; 6] = ["==", "!=", ">=", "<=", ">", "<"];
    let (condition, arms) = text.split_once('?')?;
    let (when_true, when_false) = arms.split_once(':').unwrap_or((arms, ""));
    let find = |operator: &&&str| condition.contains(**operator);
    let operator = OPERATORS.iter().find(find)?;
    let (left, right) = condition.split_once(operator)?;
    let unquoted = |text: &str| text.trim().trim_matches('\'').to_owned();
    let (left, right) = (unquoted(left), unquoted(right));
    let order = match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(left), Ok(right)) => left.partial_cmp(&right)?,
        // Text is compared by what it is, or by its length where it is to be greater or less.
        _ if matches!(*operator, "==" | "!=") => left.cmp(&right),
        _ => left.len().cmp(&right.len()),
    };
    let holds = match *operator {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        ">=" => order.is_ge(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_lt(),
    };
    Some(unquoted(if holds { when_true } else { when_false }))
}

fn written(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Recursive descent over the text that is left.
struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn comparison(&mut self) -> Option<f64> {
        let mut value = self.sum()?;
        loop {
            let holds = if self.take("==") {
                value == self.sum()?
            } else if self.take("!=") {
                value != self.sum()?
            } else if self.take(">=") {
                value >= self.sum()?
            } else if self.take("<=") {
                value <= self.sum()?
            } else if self.take(">") {
                value > self.sum()?
            } else if self.take("<") {
                value < self.sum()?
            } else {
                return Some(value);
            };
            value = f64::from(u8::from(holds));
        }
    }

    fn sum(&mut self) -> Option<f64> {
        let mut value = self.product()?;
        loop {
            if self.take("+") {
                value += self.product()?;
            } else if self.take("-") {
                value -= self.product()?;
            } else {
                return Some(value);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut value = self.factor()?;
        loop {
            if self.take("*") {
                value *= self.factor()?;
            } else if self.take("/") {
                value /= Some(self.factor()?).filter(|divisor| *divisor != 0.0)?;
            } else if self.take("%") {
                value %= Some(self.factor()?).filter(|divisor| *divisor != 0.0)?;
            } else {
                return Some(value);
            }
        }
    }

    fn factor(&mut self) -> Option<f64> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let value = if self.take("(") {
            let value = self.comparison()?;
            self.take(")").then_some(value)
        } else if self.take("-") {
            self.factor().map(|value| -value)
        } else {
            self.number()
        };
        self.depth -= 1;
        value
    }

    fn number(&mut self) -> Option<f64> {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|character: char| !character.is_ascii_digit() && character != '.');
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        number.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let of = |text| evaluate(text).unwrap_or_default();
        assert_eq!(of("1+1"), "2");
        assert_eq!(of(" 2 * (3 + 4) - 10 % 4"), "12");
        assert_eq!(of("7/2"), "3.50");
        assert_eq!(of("-3 < 2"), "1");
        for wrong in ["", "1/0", "abc", "1+", "(1", &"(".repeat(1_000)] {
            assert_eq!(evaluate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn conditionals() {
        let of = |text| conditional(text).unwrap_or_default();
        assert_eq!(of("1 == 1 ? yes : no"), "yes");
        assert_eq!(of("2 < 1 ? yes : no"), "no");
        assert_eq!(of("a != b ? 'x y' : z"), "x y");
        assert_eq!(of("true == true ? 1"), "1");
        assert_eq!(conditional("1 == 1"), None);
    }
}

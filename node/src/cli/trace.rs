//! `fipple calls trace`

use std::collections::BTreeMap;

use serde_json::json;

use super::client::{Client, segment};
use super::listings::{list, node_name, node_names, text};
use super::output::{print, print_json};
use super::table::Table;
use crate::Error;

/// Shows what the nodes remember of a call.
pub(super) async fn show(client: &Client, uuid: &str, json: bool) -> Result<(), Error> {
    let envelope = client.get_envelope(&format!("/v2/calls/{}/trace", segment(uuid))).await?;
    let entries = &envelope["data"];
    if json {
        return print_json(&json!({
            "entries": entries,
            "unanswered": envelope["unanswered"],
            "truncated": envelope["truncated"],
        }));
    }
    let names = node_names(client).await?;
    let mut table = Table::new(["TIME", "NODE", "EPOCH", "KIND", "WHAT"]);
    for entry in list(entries) {
        table.row([
            utc(entry["at_ms"].as_u64().unwrap_or_default()),
            node_name(&names, &entry["node"]),
            text(&entry["epoch"]),
            text(&entry["kind"]),
            with_names(&names, &text(&entry["text"])),
        ]);
    }
    print(&table.render())?;
    for node in list(&envelope["unanswered"]) {
        let id = text(&node["id"]);
        eprintln!(
            "warning: node {} ({id}) does not answer: what it remembers is missing",
            text(&node["name"])
        );
    }
    if envelope["truncated"] == true {
        eprintln!(
            "warning: some node remembers more of this call than it may tell at once; these are the latest"
        );
    }
    Ok(())
}

/// A sentence in which nodes stand by their names.
fn with_names(names: &BTreeMap<String, String>, sentence: &str) -> String {
    let replace = |sentence: String, (id, name): (&String, &String)| sentence.replace(id, name);
    names.iter().filter(|(id, name)| *id != "-" && *name != "-").fold(sentence.to_owned(), replace)
}

/// The time of day with its date, as RFC 3339 writes it.
fn utc(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = date(days);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date, so many days after the first of 1970. Years are counted from a March on, so that a leap day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months have 153 days, whichever they are.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000 + 86_399_999), "2000-02-29T23:59:59.999Z");
        assert_eq!(utc(1_735_689_599_001), "2024-12-31T23:59:59.001Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert!(!utc(u64::MAX).is_empty(), "a clock may say anything");
    }

    #[test]
    fn nodes_are_shown_by_their_names() {
        let names =
            BTreeMap::from([("00ff".to_owned(), "west-1".to_owned()), ("-".to_owned(), "x".to_owned())]);
        assert_eq!(with_names(&names, "node 00ff is - to own it"), "node west-1 is - to own it");
    }
}

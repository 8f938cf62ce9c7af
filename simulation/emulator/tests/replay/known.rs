//! The list of the differences that are known, each under its reason.

use std::collections::{BTreeMap, BTreeSet};

/// The list, for people: a reason, in lines that begin with `#`, and below it the differences that it explains.
const LIST: &str = include_str!("known_differences.txt");
/// Set to anything, the test takes what no longer occurs off the list; what is new still fails.
const TAKE_OFF: &str = "FIPPLE_REPLAY_TAKE_OFF";

/// What was found beside what is listed.
pub(crate) struct Reckoning {
    /// Found and not listed.
    pub(crate) unlisted: Vec<String>,
    /// Listed and not found.
    pub(crate) gone: Vec<String>,
}

/// Compares the differences that were found with the list, and shortens the list if asked to.
pub(crate) fn reckon(found: &BTreeSet<String>) -> Reckoning {
    let listed = listed();
    let mut unlisted: Vec<String> = found.difference(&listed).cloned().collect();
    let mut gone: Vec<String> = listed.difference(found).cloned().collect();
    if std::env::var_os(TAKE_OFF).is_some() && !gone.is_empty() {
        let fewer = fewer(&gone, &unlisted);
        unlisted.retain(|line| !fewer.values().any(|other| other == line));
        take_off(&gone, &fewer);
        gone.clear();
    }
    Reckoning { unlisted, gone }
}

fn listed() -> BTreeSet<String> {
    let mut listed = BTreeSet::new();
    let mut reason = "";
    for line in LIST.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            reason = line.trim_start_matches('#').trim();
        } else {
            assert!(!reason.is_empty(), "no reason is given for: {line}");
            assert!(listed.insert(line.to_owned()), "listed twice: {line}");
        }
    }
    listed
}

/// Of the lines that are gone those that occur on, but less often.
fn fewer(gone: &[String], unlisted: &[String]) -> BTreeMap<String, String> {
    let found = |line: &String| {
        let (what, count) = counted(line);
        let other = unlisted.iter().find(|other| {
            let (other, fewer) = counted(other);
            other == what && fewer < count
        });
        Some((line.clone(), other?.clone()))
    };
    gone.iter().filter_map(found).collect()
}

/// What a line says, and how often.
fn counted(line: &str) -> (String, usize) {
    let times = |word: &str| word.strip_prefix('x').and_then(|count| count.parse::<usize>().ok());
    if let Some((what, kinds)) = line.rsplit_once(" in: ") {
        let words: Vec<&str> = kinds.split(' ').collect();
        let count = words.iter().enumerate().map(|(index, word)| match times(word) {
            // The kind before it has counted as one.
            Some(count) => count - 1,
            None => usize::from(index < words.len()),
        });
        return (what.to_owned(), count.sum());
    }
    match line.rsplit_once(' ').and_then(|(what, last)| Some((what, times(last)?))) {
        Some((what, count)) => (what.to_owned(), count),
        None => (line.to_owned(), 1),
    }
}

/// Writes the list anew; a reason goes with the last difference below it.
fn take_off(gone: &[String], fewer: &BTreeMap<String, String>) {
    let mut output = String::new();
    for section in LIST.split("\n\n") {
        let lines =
            section.lines().filter(|line| !line.is_empty()).filter_map(|line| match fewer.get(line) {
                Some(other) => Some(other.as_str()),
                None => Some(line).filter(|line| !gone.iter().any(|gone| gone == line)),
            });
        let lines: Vec<&str> = lines.collect();
        let is_preface = section.lines().all(|line| line.starts_with('#'));
        if is_preface || lines.iter().any(|line| !line.starts_with('#')) {
            output.push_str(&lines.join("\n"));
            output.push_str("\n\n");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replay/known_differences.txt");
    std::fs::write(path, format!("{}\n", output.trim_end())).unwrap();
}

#[test]
fn lines_are_counted() {
    assert_eq!(counted("a/b: channel 1: missing X x3"), ("a/b: channel 1: missing X".into(), 3));
    assert_eq!(counted("a/b: channel 1: missing X"), ("a/b: channel 1: missing X".into(), 1));
    assert_eq!(counted("a/b: h missing in: A x3 B"), ("a/b: h missing".into(), 4));
    let (gone, new) = (["t: h missing in: A x3 B".to_owned()], ["t: h missing in: A x2".to_owned()]);
    assert_eq!(fewer(&gone, &new).len(), 1);
    assert_eq!(fewer(&new, &gone).len(), 0);
}

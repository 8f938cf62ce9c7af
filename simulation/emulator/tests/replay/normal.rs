//! Answers with everything taken out that is each machine's own.

use super::uuids::is_uuid;

/// The text with uuids, moments and the machine's figures replaced by what they are.
pub(crate) fn normal(command: &str, text: &str) -> String {
    // The lab's callers took their turns with these ports.
    let text = text.replace("127.0.0.1:6080", "127.0.0.1:6060").replace("127.0.0.1:6090", "127.0.0.1:6060");
    let words = split_words(&text);
    let text: String = words.iter().map(|word| normal_word(word)).collect();
    let tells_figures = ["api status", "api uptime"].contains(&command);
    if tells_figures || text.starts_with("UP ") || text.starts_with("+OK Added: ") {
        return without_figures(&text);
    }
    text
}

fn normal_word(word: &str) -> &str {
    if is_uuid(word) {
        "<uuid>"
    } else if is_date(word) {
        "<date>"
    } else if is_time(word) {
        "<time>"
    } else if word.len() >= 10 && word.bytes().all(|byte| byte.is_ascii_digit()) {
        "<number>"
    } else {
        word
    }
}

fn is_date(word: &str) -> bool {
    word.len() == 10 && word.starts_with("20") && word.bytes().filter(|byte| *byte == b'-').count() == 2
}

fn is_time(word: &str) -> bool {
    word.len() >= 8
        && word.as_bytes()[2] == b':'
        && word.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte))
}

/// Cuts behind every character that is no part of a uuid, a date or a time, and before it.
fn split_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    for (index, character) in text.char_indices() {
        if !(character.is_alphanumeric() || "-:.".contains(character)) {
            words.push(&text[start..index]);
            words.push(&text[index..index + character.len_utf8()]);
            start = index + character.len_utf8();
        }
    }
    words.push(&text[start..]);
    words
}

fn without_figures(text: &str) -> String {
    let mut output = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' | '.' if output.ends_with('#') => {}
            '0'..='9' => output.push('#'),
            _ => output.push(character),
        }
    }
    // One minute or two minutes.
    output.replace("s,", ",").replace("s\n", "\n")
}

/// Where two answers part, with what each says there.
pub(crate) fn parting(recorded: &str, emulated: &str) -> String {
    let same = recorded.chars().zip(emulated.chars()).take_while(|(one, other)| one == other).count();
    let skip = same.saturating_sub(10);
    let part = |text: &str| -> String {
        text.chars().skip(skip).take(70).collect::<String>().escape_debug().to_string()
    };
    format!("\"{}\" is \"{}\"", part(recorded), part(emulated))
}

#[test]
fn what_is_each_machines_own_is_taken_out() {
    assert_eq!(
        normal("api x", "+OK 1c1dfd91-e265-43e5-95d6-727876c05562\n2026-11-23 04:02:48,1795407880,12"),
        "+OK <uuid>\n<date> <time>,<number>,12"
    );
    assert_eq!(normal("api status", "UP 0 years, 12 days\n3.5"), "UP # year, # day\n#");
    assert_eq!(parting("+OK one", "+OK two"), "\"+OK one\" is \"+OK two\"");
}

//! `originate`.

use crate::channel::{DialPurpose, Then};
use crate::dial_string::DialString;
use crate::dialplan::Action;
use crate::switch::{JobId, Switch};

const USAGE: &str = "-USAGE: <call url> <exten>|&<application_name>(<app_args>) [<dialplan>] [<context>] \
                     [<cid_name>] [<cid_num>] [<timeout_sec>]\n";

impl Switch {
    /// Dials a leg; the reply waits until it is answered or fails.
    pub(super) fn api_originate(&mut self, job: JobId, argument: &str) -> Option<String> {
        let Some((mut dial_string, then)) = parse(argument) else { return Some(USAGE.into()) };
        dial_string.variables.retain(|(_, value)| !value.is_empty());
        match self.begin_attempt(dial_string, DialPurpose::Originate { job, then }) {
            Ok(_) => None,
            Err(cause) => Some(format!("-ERR {}\n", cause.name())),
        }
    }
}

/// Takes the arguments apart. Spaces inside `{...}` and inside `&application(...)` belong to them.
fn parse(argument: &str) -> Option<(DialString, Then)> {
    let argument = argument.trim();
    let end = end_of_dial_string(argument)?;
    let (dial_string, rest) = (&argument[..end], argument[end..].trim());
    let mut dial_string = DialString::parse(dial_string);
    // Quotes keep an application together with the spaces of its argument.
    let quoted = rest.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
    let unquoted = quoted.map(|(inside, after)| format!("{inside}{after}"));
    let rest = unquoted.as_deref().unwrap_or(rest);
    let (then, rest) = match rest.strip_prefix('&') {
        Some(application) => {
            let end = application.rfind(')').unwrap_or(application.len());
            let (application, rest) = application.split_at(end);
            let (name, argument) = application.split_once('(').unwrap_or((application, ""));
            let words: Vec<&str> = rest.trim_start_matches(')').split_ascii_whitespace().collect();
            (Then::Application(Action::new(name.trim(), argument)), words)
        }
        None => {
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            let word = |index: usize, default: &str| words.get(index).copied().unwrap_or(default).to_owned();
            let number = (*words.first()?).to_owned();
            let then = Then::Extension { number, dialplan: word(1, "XML"), context: word(2, "default") };
            (then, words.get(1..).unwrap_or_default().to_vec())
        }
    };
    // After the extension: dialplan, context, caller's name and number, time-out.
    let names = ["origination_caller_id_name", "origination_caller_id_number", "originate_timeout"];
    for (name, value) in names.iter().zip(rest.iter().skip(2)) {
        if *value != "undef" {
            dial_string.variables.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    Some((dial_string, then))
}

/// The index of the space that ends the dial string.
fn end_of_dial_string(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    let mut quoted = false;
    for (index, character) in text.char_indices() {
        match character {
            '\'' if depth > 0 => quoted = !quoted,
            '{' | '[' | '<' if !quoted => depth += 1,
            '}' | ']' | '>' if !quoted => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => return Some(index),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_with_spaces() {
        let (dial_string, then) =
            parse("{a='x y'}null/b &playback(tone_stream://%(1,2,3) x) XML default Name 123 5").unwrap();
        assert_eq!(dial_string.variables[0], ("a".into(), "x y".into()));
        assert_eq!(dial_string.variables[3], ("originate_timeout".into(), "5".into()));
        let Then::Application(action) = then else { panic!("{then:?} is not an application") };
        assert_eq!(action, Action::new("playback", "tone_stream://%(1,2,3) x"));
        let (dial_string, then) =
            parse("null/b '&socket(127.0.0.1:8084 async full)' XML default Name").unwrap();
        assert_eq!(dial_string.variables[0], ("origination_caller_id_name".into(), "Name".into()));
        let Then::Application(action) = then else { panic!("{then:?} is not an application") };
        assert_eq!(action, Action::new("socket", "127.0.0.1:8084 async full"));
        let (_, then) = parse("null/b 9001").unwrap();
        assert!(
            matches!(then, Then::Extension { number, context, .. } if number == "9001" && context == "default")
        );
        assert!(parse("null/b").is_none() && parse("").is_none());
    }
}

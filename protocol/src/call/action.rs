//! The steps of a flow as people write them, and what each of them is to the switch.

use serde::Deserialize;

use super::Step;
use super::cause::is_cause;
use crate::limits::{
    BRIDGE_TIMEOUT_MAX_SECONDS, DIGITS_MAX, DIGITS_TIMEOUT_MAX_MS, DIGITS_TRIES_MAX, RECORD_MAX_SECONDS,
};

/// One step, named by what it does: `{ do = "play", file = "welcome.wav" }`.
///
/// Each is one application of the switch, because a step is what the channel itself begins, ends and marks done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Answers the call. One that is answered already stays so.
    Answer {},
    /// Plays a file, a tone or whatever else the switch can open, to its end.
    Play {
        /// What is played.
        file: String,
    },
    /// Asks for digits.
    CollectDigits(CollectDigits),
    /// Records the caller, and waits for the end of it: a limit, or the caller pressing `*`.
    Record {
        /// The file, which the switch must be able to write: else it hangs up the call.
        path: String,
        /// How long at most, in seconds; without an end if left out.
        limit_seconds: Option<u32>,
        /// The energy below which the caller counts as silent, on the switch's own scale (FreeSWITCH's `silence_thresh`).
        silence_threshold: Option<u32>,
        /// How long a silence ends the recording, in seconds.
        silence_seconds: Option<u32>,
    },
    /// Records everything that follows; the flow goes on at once.
    RecordSession {
        /// The file, as of `record`. It may hold spaces.
        path: String,
        /// How long at most, in seconds; to the call's end if left out.
        limit_seconds: Option<u32>,
    },
    /// Connects the call with another party, and waits for the end of it. If nobody answers the flow goes on, provided
    /// that the dialplan has set `continue_on_fail`; else the switch hangs up.
    Bridge {
        /// A dial string.
        to: String,
        /// How long it may ring, in seconds; as long as the switch lets it if left out.
        timeout_seconds: Option<u32>,
    },
    /// Ends the call, and so the flow.
    Hangup {
        /// Why: the switch's name for it.
        #[serde(default = "normal_clearing")]
        cause: String,
    },
    /// Any application of the switch.
    Execute {
        /// Its name.
        application: String,
        /// Its argument, in the application's own syntax.
        #[serde(default)]
        argument: String,
    },
}

/// How digits are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectDigits {
    /// How many digits there must be, at least 1.
    pub min: u32,
    /// How many end it.
    pub max: u32,
    /// How often it asks.
    #[serde(default = "one")]
    pub tries: u32,
    /// How long it waits for the next digit, in milliseconds.
    pub timeout_ms: u32,
    /// Keys that end it early; none if empty.
    #[serde(default)]
    pub terminators: String,
    /// What asks for the digits; a digit ends it.
    pub prompt: String,
    /// What is played when they will not do, before it asks again.
    #[serde(default = "short_silence")]
    pub invalid_prompt: String,
    /// The channel variable that takes the digits.
    pub variable: String,
    /// A regular expression that the digits have to match.
    #[serde(default = "any_digits")]
    pub pattern: String,
}

/// What is wrong with one field of a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct InvalidField {
    /// The field, as it is written.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

fn one() -> u32 {
    1
}

fn short_silence() -> String {
    "silence_stream://250".to_owned()
}

fn any_digits() -> String {
    r"\d+".to_owned()
}

fn normal_clearing() -> String {
    "NORMAL_CLEARING".to_owned()
}

impl Action {
    /// The application that does it, and its argument.
    ///
    /// # Errors
    /// If a field holds what the application would take for something else, or for nothing.
    pub fn lower(&self) -> Result<Step, InvalidField> {
        let (application, argument) = match self {
            Self::Answer {} => ("answer", String::new()),
            Self::Play { file } => ("playback", text("file", file)?.to_owned()),
            Self::CollectDigits(digits) => ("play_and_get_digits", digits.argument()?),
            Self::Record { path, limit_seconds, silence_threshold, silence_seconds } => {
                ("record", record(path, *limit_seconds, *silence_threshold, *silence_seconds)?)
            }
            Self::RecordSession { path, limit_seconds } => {
                recording("path", text("path", path)?)?;
                let limit = within("limit_seconds", *limit_seconds, RECORD_MAX_SECONDS)?;
                ("record_session", limit.map_or(path.clone(), |limit| format!("{path} +{limit}")))
            }
            Self::Bridge { to, timeout_seconds } => {
                dial_string("to", text("to", to)?)?;
                let timeout = within("timeout_seconds", *timeout_seconds, BRIDGE_TIMEOUT_MAX_SECONDS)?;
                let ring = timeout.map(|seconds| format!("{{originate_timeout={seconds}}}"));
                ("bridge", ring.unwrap_or_default() + to)
            }
            Self::Hangup { cause } if is_cause(cause) => ("hangup", cause.clone()),
            // It would hang up with NORMAL_CLEARING.
            Self::Hangup { cause } => return wrong("cause", format!("{cause:?} is no cause of the switch")),
            Self::Execute { application, argument } => (application.as_str(), argument.clone()),
        };
        Ok(Step { application: application.to_owned(), argument })
    }
}

impl CollectDigits {
    fn argument(&self) -> Result<String, InvalidField> {
        let Self { min, max, tries, timeout_ms, terminators, variable, .. } = self;
        within("max", Some(*max), DIGITS_MAX)?;
        within("min", Some(*min), *max)?;
        within("tries", Some(*tries), DIGITS_TRIES_MAX)?;
        within("timeout_ms", Some(*timeout_ms), DIGITS_TIMEOUT_MAX_MS)?;
        if !terminators.chars().all(|key| "0123456789*#ABCD".contains(key)) {
            return wrong("terminators", format!("{terminators:?} holds something that is no key"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if variable.is_empty() || !variable.bytes().all(plain) {
            return wrong("variable", "takes letters, digits, '_', '-' and '.' only");
        }
        if variable.to_ascii_lowercase().starts_with("fipple_") {
            return wrong("variable", "may not begin with fipple_: such variables control the call");
        }
        let terminators = if terminators.is_empty() { "none" } else { terminators };
        let prompt = word("prompt", &self.prompt)?;
        let invalid_prompt = word("invalid_prompt", &self.invalid_prompt)?;
        let pattern = expression("pattern", &self.pattern)?;
        Ok(format!(
            "{min} {max} {tries} {timeout_ms} {terminators} {prompt} {invalid_prompt} {variable} {pattern}"
        ))
    }
}

fn record(
    path: &str,
    limit_seconds: Option<u32>,
    silence_threshold: Option<u32>,
    silence_seconds: Option<u32>,
) -> Result<String, InvalidField> {
    recording("path", word("path", path)?)?;
    // FreeSWITCH takes 0 for no limit.
    let limit = within("limit_seconds", limit_seconds, RECORD_MAX_SECONDS)?.unwrap_or(0);
    match (silence_threshold, within("silence_seconds", silence_seconds, RECORD_MAX_SECONDS)?) {
        (None, None) if limit == 0 => Ok(path.to_owned()),
        (None, None) => Ok(format!("{path} {limit}")),
        (Some(0), _) => wrong("silence_threshold", "is 0, and nothing is below it"),
        (Some(threshold), Some(seconds)) => Ok(format!("{path} {limit} {threshold} {seconds}")),
        (Some(_), None) => wrong("silence_seconds", "is missing beside silence_threshold"),
        (None, Some(_)) => wrong("silence_threshold", "is missing beside silence_seconds"),
    }
}

fn wrong<T>(field: &'static str, problem: impl Into<String>) -> Result<T, InvalidField> {
    Err(InvalidField { field, problem: problem.into() })
}

/// A number from 1 to `most`.
fn within(field: &'static str, number: Option<u32>, most: u32) -> Result<Option<u32>, InvalidField> {
    match number {
        Some(number) if number == 0 || number > most => wrong(field, format!("is {number}, not 1 to {most}")),
        number => Ok(number),
    }
}

/// An argument that is the whole of what the application takes.
fn text<'a>(field: &'static str, text: &'a str) -> Result<&'a str, InvalidField> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return wrong(field, "may not be empty, hold a control character, or begin or end with a space");
    }
    Ok(text)
}

/// One of the arguments that the switch takes apart at spaces, where quotes and backslashes have a meaning of their own
/// (`switch_separate_string`).
fn word<'a>(field: &'static str, text: &'a str) -> Result<&'a str, InvalidField> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"\\".contains(c))
    {
        return wrong(field, "may not be empty, or hold spaces, quotes, backslashes or control characters");
    }
    Ok(text)
}

/// A regular expression among arguments that the switch takes apart at spaces: a backslash stays, unless the switch itself
/// knows what it makes of the character behind it.
fn expression<'a>(field: &'static str, text: &'a str) -> Result<&'a str, InvalidField> {
    word(field, &text.replace('\\', "."))?;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next().is_none_or(|next| "nrts\\".contains(next)) {
            return wrong(field, r"may not hold \n, \r, \t, \s or \\, nor end with a backslash");
        }
    }
    Ok(text)
}

/// A file that can be recorded to, as far as its name tells: the switch puts its sound prefix before one that is not absolute,
/// and knows the format by the extension. A call whose recording cannot be opened is hung up.
fn recording(field: &'static str, path: &str) -> Result<(), InvalidField> {
    let by_variable = path.contains("${");
    if !(path.starts_with('/') || path.contains("://") || path.starts_with("${")) {
        return wrong(field, "has to be absolute: it begins with '/', or names another kind of storage");
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let has_extension = name.rsplit_once('.').is_some_and(|(stem, extension)| {
        !stem.is_empty()
            && !extension.is_empty()
            && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if !has_extension && !by_variable {
        return wrong(field, "has no extension, which tells the switch the format");
    }
    Ok(())
}

/// A dial string whose brackets close, in their order: an open one would swallow what follows.
fn dial_string(field: &'static str, text: &str) -> Result<(), InvalidField> {
    let mut open = Vec::new();
    for character in text.chars() {
        match character {
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' if open.pop() != Some(character) => {
                return wrong(field, format!("closes with {character:?} what it did not open"));
            }
            _ => {}
        }
    }
    match open.pop() {
        Some(missing) => wrong(field, format!("lacks a {missing:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "action_tests.rs"]
mod tests;

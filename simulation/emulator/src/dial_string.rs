//! Dial strings: who is to be dialled, and with which variables.

use crate::cause::Cause;
use crate::channel::Endpoint;

/// A dial string: `{variables}endpoint/destination`. Of several destinations separated by `,` or `|` only the first
/// is dialled.
#[derive(Debug, Clone, Default)]
pub(crate) struct DialString {
    pub(crate) variables: Vec<(String, String)>,
    target: String,
}

/// Where a dial string leads.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) channel_name: String,
    pub(crate) destination: String,
}

impl DialString {
    /// Takes the variables apart: separated by commas, which `\` or single quotes protect.
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim();
        let mut variables = Vec::new();
        let mut target = text;
        for (open, close) in [('{', '}'), ('<', '>'), ('[', ']')] {
            if let Some((inner, rest)) =
                target.strip_prefix(open).and_then(|inside| split_unquoted(inside, close))
            {
                variables.extend(assignments(inner));
                target = rest;
            }
        }
        let target = target.split([',', '|']).next().unwrap_or_default().trim();
        Self { variables, target: target.to_owned() }
    }

    /// The value that was given last for a variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where it leads, or why it leads nowhere.
    pub(crate) fn resolve(&self) -> Result<Target, Cause> {
        let (module, rest) = self.target.split_once('/').unwrap_or((&self.target, ""));
        match module {
            "error" => Err(Cause::named(rest)),
            "null" => Ok(Target {
                endpoint: Endpoint::Null,
                channel_name: self.target.clone(),
                destination: rest.to_owned(),
            }),
            "loopback" => {
                let destination = rest.split('/').next().unwrap_or_default().to_owned();
                let channel_name = format!("loopback/{destination}-a");
                Ok(Target { endpoint: Endpoint::Loopback, channel_name, destination })
            }
            "user" if rest.starts_with("unregistered") => Err(Cause::named("USER_NOT_REGISTERED")),
            "user" => Ok(Target {
                endpoint: Endpoint::Sofia,
                channel_name: format!("sofia/internal/{rest}"),
                destination: user_of(rest),
            }),
            "sofia" if rest.starts_with("gateway/none/") => Err(Cause::named("INVALID_GATEWAY")),
            "sofia" => {
                let address = rest.rsplit('/').next().unwrap_or_default();
                let channel_name = match rest.strip_prefix("gateway/").and_then(|rest| rest.split_once('/')) {
                    Some((gateway, number)) => format!("sofia/external/{number}@{gateway}"),
                    None => self.target.clone(),
                };
                Ok(Target { endpoint: Endpoint::Sofia, channel_name, destination: user_of(address) })
            }
            _ => Err(Cause::named("CHAN_NOT_IMPLEMENTED")),
        }
    }
}

fn user_of(address: &str) -> String {
    let address = address.strip_prefix("sip:").unwrap_or(address);
    address.split('@').next().unwrap_or_default().to_owned()
}

/// Splits at `close` where it is not inside single quotes.
fn split_unquoted(text: &str, close: char) -> Option<(&str, &str)> {
    let mut quoted = false;
    for (index, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            _ if character == close && !quoted => {
                return Some((&text[..index], &text[index + close.len_utf8()..]));
            }
            _ => {}
        }
    }
    None
}

fn assignments(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut pair = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&',') => pair.extend(characters.next()),
            '\'' => quoted = !quoted,
            ',' if !quoted => pairs.push(std::mem::take(&mut pair)),
            _ => pair.push(character),
        }
    }
    pairs.push(pair);
    let split = |pair: &String| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), value.to_owned()))
    };
    pairs.iter().filter_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dial_strings() {
        let dial =
            DialString::parse(r"{a='x, y',empty=,comma=a\,b}[leg=1]sofia/external/test@host:6070,null/b");
        let pairs: Vec<(&str, &str)> =
            dial.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "x, y"), ("empty", ""), ("comma", "a,b"), ("leg", "1")]);
        let target = dial.resolve().unwrap();
        assert_eq!(
            (target.channel_name.as_str(), target.destination.as_str()),
            ("sofia/external/test@host:6070", "test")
        );
    }

    #[test]
    fn targets_that_do_not_exist() {
        let cause = |text| DialString::parse(text).resolve().err().map(Cause::name);
        assert_eq!(cause("error/USER_BUSY"), Some("USER_BUSY"));
        assert_eq!(cause("foo/bar"), Some("CHAN_NOT_IMPLEMENTED"));
        assert_eq!(cause("sofia/gateway/none/1"), Some("INVALID_GATEWAY"));
        assert_eq!(cause("user/unregistered@lab"), Some("USER_NOT_REGISTERED"));
        assert_eq!(cause("null/x"), None);
    }
}

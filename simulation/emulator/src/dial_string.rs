//! Dial strings: who is to be dialled, in which order, and with which variables.

use crate::cause::Cause;
use crate::channel::Endpoint;

/// `{variables of all}[variables of one]endpoint/destination,endpoint/destination|endpoint/destination`: those
/// between commas are dialled together, the groups between bars one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct DialString {
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) groups: Vec<Vec<DialLeg>>,
}

/// One endpoint of a dial string, with the variables that are its alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct DialLeg {
    pub(crate) variables: Vec<(String, String)>,
    target: String,
}

/// Where a leg's dial string leads.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) channel_name: String,
    /// What the channel is called until it is set up: a loopback leg by all of its dial string.
    pub(crate) first_name: String,
    pub(crate) destination: String,
    /// What events show as the callee's number: of a loopback leg the last part of its dial string.
    pub(crate) callee: String,
    /// Context and dialplan of `loopback/<destination>/<context>/<dialplan>`.
    pub(crate) context: String,
    pub(crate) dialplan: String,
}

impl DialString {
    /// Takes the variables and the endpoints apart.
    pub(crate) fn parse(text: &str) -> Self {
        let mut rest = text.trim();
        let mut variables = Vec::new();
        for (open, close) in [('{', '}'), ('<', '>'), ('{', '}')] {
            take_variables(&mut rest, open, close, &mut variables);
        }
        let groups = split_outside(rest, '|').into_iter();
        let groups = groups.map(|group| split_outside(group, ',').into_iter().map(DialLeg::parse).collect());
        Self { variables, groups: groups.collect() }
    }

    /// The value that was given last for a variable of all legs.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        value_of(&self.variables, name)
    }

    /// How many legs there are in all groups.
    pub(crate) fn leg_count(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }
}

/// The value that was given last for a variable.
pub(crate) fn value_of<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    variables.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

impl DialLeg {
    fn parse(text: &str) -> Self {
        let mut rest = text.trim();
        let mut variables = Vec::new();
        take_variables(&mut rest, '[', ']', &mut variables);
        Self { variables, target: rest.trim().to_owned() }
    }

    /// A leg without variables.
    pub(crate) fn of(target: String) -> Self {
        Self { variables: Vec::new(), target }
    }

    /// User and domain of `user/<user>@<domain>`.
    pub(crate) fn user_address(&self) -> Option<(&str, &str)> {
        self.target.strip_prefix("user/")?.split_once('@')
    }

    /// Where it leads, or why it leads nowhere.
    pub(crate) fn resolve(&self) -> Result<Target, Cause> {
        let (module, rest) = self.target.split_once('/').unwrap_or((&self.target, ""));
        let target = |endpoint, channel_name: String, destination: String| Target {
            endpoint,
            first_name: channel_name.clone(),
            channel_name,
            callee: destination.clone(),
            destination,
            context: "default".into(),
            dialplan: "xml".into(),
        };
        match module {
            "error" => Err(Cause::named(rest)),
            "null" => Ok(target(Endpoint::Null, self.target.clone(), rest.to_owned())),
            "loopback" => {
                let mut parts = rest.split('/');
                let destination = parts.next().unwrap_or_default().to_owned();
                let found = target(Endpoint::Loopback, format!("loopback/{destination}-a"), destination);
                let context = parts.next().filter(|part| !part.is_empty()).unwrap_or("default").to_owned();
                let dialplan = parts.next().filter(|part| !part.is_empty()).unwrap_or("xml").to_owned();
                let first_name = format!("{}-a", self.target);
                let callee = rest.rsplit('/').next().unwrap_or_default().to_owned();
                Ok(Target { context, dialplan, first_name, callee, ..found })
            }
            "user" if rest.starts_with("unregistered") => Err(Cause::named("USER_NOT_REGISTERED")),
            "user" => Ok(target(Endpoint::Sofia, format!("sofia/internal/{rest}"), user_of(rest))),
            "sofia" => {
                let address = rest.rsplit('/').next().unwrap_or_default();
                let channel_name = match rest.strip_prefix("gateway/").and_then(|rest| rest.split_once('/')) {
                    Some((gateway, number)) => format!("sofia/external/{number}@{gateway}"),
                    None => self.target.clone(),
                };
                Ok(target(Endpoint::Sofia, channel_name, user_of(address)))
            }
            _ => Err(Cause::named("CHAN_NOT_IMPLEMENTED")),
        }
    }

    /// sofia makes a session before it finds that it has no such gateway, and destroys it again.
    pub(crate) fn has_no_gateway(&self) -> bool {
        self.target.starts_with("sofia/gateway/none/")
    }
}

fn user_of(address: &str) -> String {
    let address = address.strip_prefix("sip:").unwrap_or(address);
    address.split('@').next().unwrap_or_default().to_owned()
}

/// Takes `open ... close` off the beginning of `rest`, if it begins so.
fn take_variables(rest: &mut &str, open: char, close: char, variables: &mut Vec<(String, String)>) {
    if let Some((inner, after)) = rest.strip_prefix(open).and_then(|inside| split_unquoted(inside, close)) {
        variables.extend(assignments(inner));
        *rest = after;
    }
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

/// Splits at `separator` where it is not inside `[...]` or single quotes.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quoted, mut start) = (0_u32, false, 0);
    let mut parts = Vec::new();
    for (index, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            _ if character == separator && depth == 0 && !quoted => {
                parts.push(&text[start..index]);
                start = index + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `name=value` pairs, separated by commas, which `\` or single quotes protect, or by the character that stands
/// after `^^` at the beginning.
fn assignments(text: &str) -> Vec<(String, String)> {
    let given = text.strip_prefix("^^").and_then(|rest| {
        let separator = rest.chars().next()?;
        Some((separator, &rest[separator.len_utf8()..]))
    });
    let (separator, text) = given.unwrap_or((',', text));
    let mut pairs = Vec::new();
    let mut pair = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&separator) => pair.extend(characters.next()),
            '\'' => quoted = !quoted,
            _ if character == separator && !quoted => pairs.push(std::mem::take(&mut pair)),
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

    fn pairs(variables: &[(String, String)]) -> Vec<(&str, &str)> {
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn dial_strings() {
        let dial = DialString::parse(
            r"{a='x, y',empty=,comma=a\,b}<all=2>[leg=1,t='|']sofia/external/test@host:6070,null/b|[^^:c=1:d=2]user/1",
        );
        assert_eq!(pairs(&dial.variables), [("a", "x, y"), ("empty", ""), ("comma", "a,b"), ("all", "2")]);
        let sizes: Vec<usize> = dial.groups.iter().map(Vec::len).collect();
        assert_eq!((sizes, dial.leg_count()), (vec![2, 1], 3));
        assert_eq!(pairs(&dial.groups[0][0].variables), [("leg", "1"), ("t", "|")]);
        assert_eq!(pairs(&dial.groups[1][0].variables), [("c", "1"), ("d", "2")]);
        let target = dial.groups[0][0].resolve().unwrap();
        assert_eq!(
            (target.channel_name.as_str(), target.destination.as_str()),
            ("sofia/external/test@host:6070", "test")
        );
        let loopback = DialString::parse("loopback/9009/public").groups[0][0].resolve().unwrap();
        assert_eq!(
            (&*loopback.destination, &*loopback.context, &*loopback.dialplan),
            ("9009", "public", "xml")
        );
    }

    #[test]
    fn targets_that_do_not_exist() {
        let leg = |text| DialString::parse(text).groups.remove(0).remove(0);
        let cause = |text| leg(text).resolve().err().map(Cause::name);
        assert_eq!(cause("error/USER_BUSY"), Some("USER_BUSY"));
        assert_eq!(cause("foo/bar"), Some("CHAN_NOT_IMPLEMENTED"));
        assert_eq!(cause("user/unregistered@lab"), Some("USER_NOT_REGISTERED"));
        assert_eq!(cause("null/x"), None);
        assert!(leg("sofia/gateway/none/1").has_no_gateway());
    }
}

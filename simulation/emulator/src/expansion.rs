//! `${variables}` in arguments, and where a variable's value is found.

use crate::channel::{Channel, Uuid};
use crate::limits::{EXPANSION_DEPTH_MAX, EXPANSIONS_MAX, VARIABLE_MAX_BYTES};
use crate::switch::{ConnectionId, Switch};

/// One argument's expansion: for whom, and how much of it may still be done.
struct Expansion<'a> {
    uuid: &'a Uuid,
    by: Option<ConnectionId>,
    left: usize,
}

impl Switch {
    /// Replaces `${name}`, `${name:offset:length}`, `${name[index]}` and `${command(arguments)}`, also in the values that
    /// come of it; what is not set becomes nothing. `\$` is a dollar sign, `\\` a backslash, and `\'` vanishes.
    pub(crate) fn expand(&mut self, uuid: &Uuid, by: Option<ConnectionId>, text: &str) -> String {
        self.expand_within(&mut Expansion { uuid, by, left: EXPANSIONS_MAX }, text, 0)
    }

    fn expand_within(&mut self, run: &mut Expansion<'_>, text: &str, depth: usize) -> String {
        if depth > EXPANSION_DEPTH_MAX || !(text.contains("${") || has_escapes(text)) {
            return text.to_owned();
        }
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(index) = rest.find(['$', '\\']) {
            expanded.push_str(&rest[..index]);
            rest = &rest[index..];
            let literal = [("\\$", "$"), ("\\\\", "\\"), ("\\'", "")];
            if let Some((escape, meant)) = literal.iter().find(|(escape, _)| rest.starts_with(escape)) {
                expanded.push_str(meant);
                rest = &rest[escape.len()..];
            } else if let Some(inside) = rest.strip_prefix("${").or_else(|| rest.strip_prefix("$${")) {
                let (name, after) = until_closed(inside, '{', '}');
                if run.left > 0 && expanded.len() <= VARIABLE_MAX_BYTES {
                    run.left -= 1;
                    expanded.push_str(&self.value_within(run, name, depth));
                }
                rest = after;
            } else {
                expanded.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
        expanded.push_str(rest);
        expanded
    }

    fn value_within(&mut self, run: &mut Expansion<'_>, name: &str, depth: usize) -> String {
        if let Some(index) = name.find([' ', '(']) {
            let (command, arguments) = (name[..index].trim_end(), &name[index + 1..]);
            let called = name[index..].starts_with('(');
            let arguments = if called { until_closed(arguments, '(', ')').0 } else { arguments };
            let command = self.expand_within(run, command, depth + 1);
            let arguments = self.expand_within(run, arguments, depth + 1);
            let result = self.call_api(run.by, &command, &arguments);
            // An unknown command gives nothing.
            return if result.ends_with("Command not found!\n") { String::new() } else { result };
        }
        let name = self.expand_within(run, name, depth + 1);
        let mut parts = name.splitn(3, ':');
        let value = parts.next().and_then(|name| self.variable(run.uuid, name));
        let value = self.expand_within(run, &value.unwrap_or_default(), depth + 1);
        let mut number = || parts.next().and_then(|number| number.trim().parse::<i64>().ok()).unwrap_or(0);
        let (offset, length) = (number(), number());
        if offset == 0 && length == 0 { value } else { substring(&value, offset, length) }
    }

    /// A variable of a channel, or an element `name[index]` of one that is an array, or else a global variable.
    pub(crate) fn variable(&self, uuid: &str, name: &str) -> Option<String> {
        let channel = self.channels.get(uuid)?;
        let element = name.strip_suffix(']').and_then(|name| name.split_once('['));
        if let Some((array, index)) = element {
            let index: usize = index.parse().ok()?;
            return channel
                .value_of(array)?
                .strip_prefix("ARRAY::")?
                .split("|:")
                .nth(index)
                .map(str::to_owned);
        }
        let global =
            || self.config.globals.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        channel.value_of(name).or_else(global).map(str::to_owned)
    }
}

impl Channel {
    /// A variable, of the innermost scope first; or a field of the caller profile.
    pub(crate) fn value_of(&self, name: &str) -> Option<&str> {
        let scopes = self.scopes.iter().rev().flat_map(|scope| &scope.variables);
        let scoped =
            scopes.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let value = scoped.chain(self.variables.get(name)).next();
        value.or_else(|| self.profile_field(name).filter(|value| !value.is_empty()))
    }

    /// A field of the caller profile, by its name in the dialplan.
    pub(crate) fn profile_field(&self, name: &str) -> Option<&str> {
        let profile = self.profile.as_ref()?;
        Some(match name {
            "ani" => &profile.ani,
            "caller_id_name" => &profile.caller_id_name,
            "caller_id_number" => &profile.caller_id_number,
            "callee_id_name" => &profile.callee_id_name,
            "callee_id_number" => &profile.callee_id_number,
            "chan_name" => &profile.channel_name,
            "context" => &profile.context,
            "destination_number" => &profile.destination_number,
            "dialplan" => &profile.dialplan,
            "network_addr" => &profile.network_address,
            "rdnis" => &profile.rdnis,
            "source" => profile.source,
            "transfer_source" => &profile.transfer_source,
            "username" => &profile.username,
            "uuid" => &self.uuid,
            _ => return None,
        })
    }
}

/// Whether there is a backslash that means something (`switch_string_has_escaped_data`).
fn has_escapes(text: &str) -> bool {
    ["\\\\", "\\n", "\\s", "\\t", "\\'"].iter().any(|escape| text.contains(escape))
}

/// What stands before the bracket that closes, and what comes after it. Inner pairs are skipped.
fn until_closed(text: &str, open: char, close: char) -> (&str, &str) {
    let mut depth = 1_usize;
    for (index, character) in text.char_indices() {
        if character == open && index > 0 {
            depth += 1;
        } else if character == close {
            depth -= 1;
            if depth == 0 {
                return (&text[..index], &text[index + close.len_utf8()..]);
            }
        }
    }
    (text, "")
}

/// From `offset`, counted from the end if it is negative, `length` characters or all.
fn substring(value: &str, offset: i64, length: i64) -> String {
    let count = value.chars().count();
    let offset_from = |offset: i64| usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    let skipped = if offset >= 0 { offset_from(offset) } else { count.saturating_sub(offset_from(offset)) };
    let length = if length > 0 { offset_from(length) } else { usize::MAX };
    value.chars().skip(skipped).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_pieces() {
        assert_eq!(until_closed("a{b}c}d", '{', '}'), ("a{b}c", "d"));
        assert_eq!(until_closed("${a}}d", '{', '}'), ("${a}", "d"));
        assert_eq!(until_closed("never", '{', '}'), ("never", ""));
        assert_eq!(substring("12345", 1, 2), "23");
        assert_eq!(substring("12345", -2, 0), "45");
        assert_eq!(substring("12345", 9, 1), "");
        assert_eq!(substring("žluť", -9, 2), "žl");
    }
}

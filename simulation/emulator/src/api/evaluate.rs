//! Commands that work on text: `eval` and `expand`, `regex`, `url_decode` and their like.

use super::expression;
use crate::connection::split_word;
use crate::limits::EVALUATED_MAX_BYTES;
use crate::pattern::Pattern;
use crate::switch::{ConnectionId, Switch};
use crate::time::Date;

/// How deep `expand` and `${command()}` may call each other.
const EXPANSIONS_MAX: usize = 16;

impl Switch {
    /// The reply of a command about text; `None` if it is no such command.
    pub(super) fn api_text(
        &mut self,
        by: Option<ConnectionId>,
        command: &str,
        argument: &str,
    ) -> Option<String> {
        Some(match command {
            "eval" => self.eval(by, argument),
            "expand" => {
                let expanded = self.eval(by, argument);
                let (command, rest) = split_word(&expanded);
                self.call_api(by, command, rest)
            }
            "expr" => expression::evaluate(argument).unwrap_or_else(|| "-ERR".into()),
            "cond" => expression::conditional(argument).unwrap_or_else(|| "-ERR".into()),
            "regex" => regex(argument),
            "url_decode" => percent_decoded(argument),
            "coalesce" => argument.split(',').find(|value| !value.is_empty()).unwrap_or_default().to_owned(),
            "toupper" => argument.to_uppercase(),
            "tolower" => argument.to_lowercase(),
            "strftime" => self.strftime(argument),
            "strepoch" => (self.wall_micros() / 1_000_000).to_string(),
            "strmicroepoch" => self.wall_micros().to_string(),
            "say_string" => "-ERR Usage: <module_name>[.<ext>] <lang>[.<ext>] <say_type> <say_method> \
                             [<say_gender>] <text>\n"
                .into(),
            _ => return None,
        })
    }

    /// `[uuid:<uuid> ]<text>`: with a uuid, `${header}` is a header of the channel's event, so that a variable has to
    /// be written `${variable_x}` (transcript l_state_rebuild/state_queries); else it is a global variable, or
    /// `${command(arguments)}`.
    fn eval(&mut self, by: Option<ConnectionId>, argument: &str) -> String {
        let (uuid, text) = match argument.strip_prefix("uuid:").map(split_word) {
            Some((uuid, text)) => (Some(uuid), text),
            None => (None, argument),
        };
        let mut evaluated = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, remainder)) = after.split_once('}') else { break };
            // Each of many small words may stand for a large one.
            if evaluated.len() > EVALUATED_MAX_BYTES {
                return "-ERR the result is too long\n".into();
            }
            evaluated.push_str(before);
            evaluated.push_str(&self.value_for_eval(by, uuid, name));
            rest = remainder;
        }
        evaluated.push_str(rest);
        evaluated
    }

    fn value_for_eval(&mut self, by: Option<ConnectionId>, uuid: Option<&str>, name: &str) -> String {
        if let Some((command, arguments)) = name.strip_suffix(')').and_then(|name| name.split_once('(')) {
            return self.call_api(by, command, arguments);
        }
        let header = uuid.and_then(|uuid| {
            self.with_channel_data(uuid, |event| event.header(name).unwrap_or_default().into_owned())
        });
        header.filter(|value| !value.is_empty()).unwrap_or_else(|| self.api_global(name))
    }

    /// Runs a command inside another one; `None` where too many are inside each other already.
    pub(super) fn nested<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> Option<R> {
        if self.nested_commands >= EXPANSIONS_MAX {
            return None;
        }
        self.nested_commands += 1;
        let result = run(self);
        self.nested_commands -= 1;
        Some(result)
    }

    /// `strftime [<seconds>|]<format>`, with the conversions that are in use.
    fn strftime(&self, argument: &str) -> String {
        let given = argument.split_once('|').and_then(|(seconds, format)| {
            Some((seconds.trim().parse::<u64>().ok()?.saturating_mul(1_000_000), format))
        });
        let (micros, format) = given.unwrap_or((self.wall_micros(), argument));
        let date = Date::from_unix_micros(micros);
        let local = date.local();
        if format.trim().is_empty() {
            return local;
        }
        let (day, clock) = local.split_once(' ').unwrap_or((&local, ""));
        let part = |text: &str, index: usize| -> String {
            text.split(['-', ':']).nth(index).unwrap_or_default().to_owned()
        };
        let mut written = String::with_capacity(format.len());
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                written.push(character);
                continue;
            }
            match characters.next() {
                Some('Y') => written += &part(day, 0),
                Some('m') => written += &part(day, 1),
                Some('d') => written += &part(day, 2),
                Some('H') => written += &part(clock, 0),
                Some('M') => written += &part(clock, 1),
                Some('S') => written += &part(clock, 2),
                Some('F') => written += day,
                Some('T') => written += clock,
                Some('s') => written += &(micros / 1_000_000).to_string(),
                Some('%') => written.push('%'),
                Some(other) => {
                    written.push('%');
                    written.push(other);
                }
                None => written.push('%'),
            }
        }
        written
    }
}

/// `<data>|<pattern>[|<substitution>[|n|b]]`
fn regex(argument: &str) -> String {
    let separator = match argument.strip_prefix("m:") {
        Some(rest) => rest.chars().next().unwrap_or('|'),
        None => '|',
    };
    let argument =
        argument.strip_prefix("m:").map_or(argument, |rest| &rest[separator.len_utf8().min(rest.len())..]);
    let mut parts = argument.split(separator);
    let (data, pattern) = (parts.next().unwrap_or_default(), parts.next());
    let Some(pattern) = pattern.and_then(Pattern::new) else { return "-ERR".into() };
    let substitution = parts.next().filter(|text| !text.is_empty());
    match (pattern.captures(data), substitution) {
        (Some(captures), Some(substitution)) => {
            // FreeSWITCH writes groups as $1, and nothing else that a `$` could begin.
            let mut text = String::new();
            let mut characters = substitution.chars().peekable();
            while let Some(character) = characters.next() {
                let group = characters.peek().and_then(|next| next.to_digit(10)).filter(|_| character == '$');
                match group {
                    Some(group) => {
                        characters.next();
                        text += captures.get(group as usize).map_or("", |group| group.as_str());
                    }
                    None => text.push(character),
                }
            }
            text
        }
        (Some(_), None) => "true".into(),
        (None, Some(_)) if parts.next() != Some("n") => data.to_owned(),
        (None, Some(_)) => String::new(),
        (None, None) => "false".into(),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits =
            tail.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions() {
        assert_eq!(regex("abc|b"), "true");
        assert_eq!(regex(r"1234|^\d{4}$"), "true");
        assert_eq!(regex("12a4|^[0-9]+$"), "false");
        assert_eq!(regex(r"+420123|^\+420(\d+)$|0$1"), "0123");
        assert_eq!(regex("x|y|z"), "x");
        assert_eq!(regex("x|y|z|n"), "");
        assert_eq!(regex("m:~a|b~^a.b$"), "true");
        assert_eq!(regex("x|("), "-ERR");
        assert_eq!(regex(""), "-ERR");
    }

    #[test]
    fn url_decoding() {
        assert_eq!(percent_decoded("a%20b"), "a b");
        assert_eq!(percent_decoded("%C5%BE%zz%"), "ž%zz%");
    }
}

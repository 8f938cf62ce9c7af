//! A channel's variables, in the order in which events list them.

use crate::limits::{VARIABLE_MAX_BYTES, VARIABLES_MAX};

/// What an array begins with; `|:` stands between its elements.
const ARRAY: &str = "ARRAY::";

/// The highest index of an element that can be set (FreeSWITCH: 4000).
const ELEMENTS_MAX: usize = 4_000;

/// What the headers of variables begin with.
pub(crate) const PREFIX: &str = "variable_";

/// Variables in the order of their last setting: FreeSWITCH deletes a variable and adds it at the end when it is
/// set again, which moves its header (transcript b_formats_call_life/sip_call_plain, `call_uuid`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    /// Names with [`PREFIX`], so that an event borrows them as they are.
    entries: Vec<(String, String)>,
}

impl Variables {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.position(name).map(|index| self.entries[index].1.as_str())
    }

    /// Sets a variable; an empty value unsets it. Values above the limit are cut, further variables dropped.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        if let Some((array, index)) = element_of(name) {
            return self.set_element(array, index, &value.into());
        }
        self.unset(name);
        let mut value = value.into();
        if value.is_empty() || name.is_empty() || self.entries.len() >= VARIABLES_MAX {
            return;
        }
        if value.len() > VARIABLE_MAX_BYTES {
            let boundary = (0..=VARIABLE_MAX_BYTES).rev().find(|&index| value.is_char_boundary(index));
            value.truncate(boundary.unwrap_or(0));
        }
        self.entries.push((format!("{PREFIX}{name}"), value));
    }

    /// Sets an element of a variable that is or becomes an array; what it held as no array is lost, as in FreeSWITCH.
    fn set_element(&mut self, name: &str, index: usize, value: &str) {
        let present = self.get(name).and_then(|value| value.strip_prefix(ARRAY)).unwrap_or_default();
        let mut elements: Vec<&str> =
            if present.is_empty() { Vec::new() } else { present.split("|:").collect() };
        if elements.len() <= index {
            elements.resize(index + 1, "");
        }
        elements[index] = value;
        let mark = if elements.len() > 1 { ARRAY } else { "" };
        let joined = format!("{mark}{}", elements.join("|:"));
        match self.position(name).filter(|_| joined.len() <= VARIABLE_MAX_BYTES) {
            Some(position) => self.entries[position].1 = joined,
            None => self.set(name, joined),
        }
    }

    pub(crate) fn unset(&mut self, name: &str) {
        if let Some(index) = self.position(name) {
            self.entries.remove(index);
        }
    }

    /// Appends elements to a variable that is or becomes an array. Nothing appended takes the variable away
    /// (transcript h_encoding_misc/channel_vars_plain).
    pub(crate) fn push(&mut self, name: &str, elements: &str) {
        let joined = self.get(name).map(|present| format!("{present}|:{elements}"));
        self.set_elements(name, elements, joined);
    }

    /// Puts elements before those of a variable that is or becomes an array.
    pub(crate) fn unshift(&mut self, name: &str, elements: &str) {
        let joined = self
            .get(name)
            .map(|present| format!("{elements}|:{}", present.strip_prefix(ARRAY).unwrap_or(present)));
        self.set_elements(name, elements, joined);
    }

    fn set_elements(&mut self, name: &str, elements: &str, joined: Option<String>) {
        let Some(joined) = joined.filter(|_| !elements.is_empty()) else { return self.set(name, elements) };
        let value = if joined.starts_with(ARRAY) { joined } else { format!("{ARRAY}{joined}") };
        // An array that grows keeps its place (transcript m_transfer/uuid_bridge_rebridge, `transfer_history`).
        if let Some(index) = self.position(name).filter(|_| value.len() <= VARIABLE_MAX_BYTES) {
            self.entries[index].1 = value;
        }
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            ["true", "yes", "on", "enabled", "active", "allow", "t"]
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word))
                || value.parse::<i64>().is_ok_and(|number| number != 0)
        })
    }

    /// Header names (with their prefix) and values.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|(key, _)| {
            key.len() == PREFIX.len() + name.len() && key[PREFIX.len()..].eq_ignore_ascii_case(name)
        })
    }
}

/// `name[index]` taken apart.
fn element_of(name: &str) -> Option<(&str, usize)> {
    let (array, index) = name.strip_suffix(']')?.split_once('[')?;
    index.parse().ok().filter(|index| *index <= ELEMENTS_MAX).map(|index| (array, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_again_moves_to_the_end_and_empty_unsets() {
        let mut variables = Variables::default();
        variables.set("a", "1");
        variables.set("b", "2");
        variables.set("A", "3");
        let headers: Vec<_> = variables.headers().collect();
        assert_eq!(headers, [("variable_b", "2"), ("variable_A", "3")]);
        variables.set("b", "");
        assert_eq!(variables.get("b"), None);
        variables.push("a", "4");
        assert_eq!(variables.get("a"), Some("ARRAY::3|:4"));
        variables.unshift("a", "2");
        assert_eq!(variables.get("a"), Some("ARRAY::2|:3|:4"));
        variables.push("a", "");
        assert_eq!(variables.get("a"), None);
        variables.unshift("a", "1");
        assert_eq!(variables.get("a"), Some("1"));
    }

    #[test]
    fn elements_are_set_by_their_index() {
        let mut variables = Variables::default();
        variables.set("a[1]", "y");
        assert_eq!(variables.get("a"), Some("ARRAY::|:y"));
        variables.set("a[0]", "x");
        assert_eq!(variables.get("a"), Some("ARRAY::x|:y"));
        variables.set("b[0]", "only");
        assert_eq!(variables.get("b"), Some("only"));
        variables.set("b[5000]", "far");
        assert_eq!(variables.get("b[5000]"), Some("far"));
    }

    #[test]
    fn values_are_bounded_on_a_character() {
        let mut variables = Variables::default();
        variables.set("long", "ž".repeat(VARIABLE_MAX_BYTES));
        assert!(variables.get("long").is_some_and(|value| value.len() <= VARIABLE_MAX_BYTES));
    }
}

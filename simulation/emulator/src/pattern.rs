//! Regular expressions that a controller or a dialplan gives, compiled and matched within bounds.

use regex_lite::{Captures, Regex, RegexBuilder};

use crate::limits::REGEX_MAX_BYTES;

/// A regular expression that matches in a bounded time.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// `None` if it is none, or too large.
    pub(crate) fn new(expression: &str) -> Option<Self> {
        RegexBuilder::new(expression).size_limit(REGEX_MAX_BYTES).build().ok().map(Self)
    }

    /// What matches in a text; nothing in one that is too long.
    pub(crate) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        (text.len() <= REGEX_MAX_BYTES).then(|| self.0.captures(text)).flatten()
    }

    /// Whether it matches.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.captures(text).is_some()
    }
}

//! Which applications a call runs when it comes in or is transferred.

use crate::separate;

/// One application with its argument, as `<action application="..." data="..."/>` would say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The application's name.
    pub application: String,
    /// Its argument; may hold `${variables}`.
    pub argument: String,
}

impl Action {
    /// An action of these two.
    pub fn new(application: impl Into<String>, argument: impl Into<String>) -> Self {
        Self { application: application.into(), argument: argument.into() }
    }
}

/// An extension: the destinations that it serves and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// A destination number; with a `*` at its end it stands for every destination that begins so.
    pub destination: String,
    /// What a call to it runs, in this order. After the last the call is hung up.
    pub actions: Vec<Action>,
}

/// The extensions of one switch, the same in every context. The first that fits serves the call; none hangs it up
/// with `NO_ROUTE_DESTINATION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialplan {
    /// In the order in which they are tried.
    pub extensions: Vec<Extension>,
}

impl Dialplan {
    /// Every destination is prepared and parked, so that a controller takes it: the snippet that fipple asks an
    /// operator to install (`deploy/freeswitch/fipple.xml`).
    pub fn park_everything() -> Self {
        let actions = [
            ("set", "fipple_epoch=0"),
            ("set", "fipple_done=0"),
            ("set", "continue_on_fail=true"),
            ("park", ""),
        ];
        let actions = actions.map(|(application, argument)| Action::new(application, argument)).to_vec();
        Self { extensions: vec![Extension { destination: "*".into(), actions }] }
    }

    /// The actions for a destination, `None` if no extension serves it.
    pub fn route(&self, destination: &str) -> Option<&[Action]> {
        self.extensions
            .iter()
            .find(|extension| matches_pattern(&extension.destination, destination))
            .map(|extension| extension.actions.as_slice())
    }
}

/// Whether `text` is the pattern, or begins with what stands before its final `*`.
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => pattern == text,
    }
}

/// Actions of one inline dialplan (FreeSWITCH: 128); the last is all the rest.
const INLINE_ACTIONS_MAX: usize = 128;

/// The dialplan "inline": `app:arg,app:arg`, or with another separator after `m:<separator>:`. Quotes around the
/// whole are dropped.
pub(crate) fn inline_actions(text: &str) -> Vec<Action> {
    let text = text.trim().trim_matches('\'');
    let (separator, text) = match text.strip_prefix("m:").and_then(|rest| {
        let separator = rest.chars().next()?;
        Some((separator, rest[separator.len_utf8()..].strip_prefix(':')?))
    }) {
        Some(found) => found,
        None => (',', text),
    };
    let actions = separate::fields(text, separator, INLINE_ACTIONS_MAX).into_iter();
    actions
        .filter(|action| !action.is_empty())
        .map(|action| {
            let (application, argument) = action.split_once(':').unwrap_or((&action, ""));
            Action::new(application.trim(), argument)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_extension_that_fits_serves() {
        let extension = |destination: &str, application: &str| Extension {
            destination: destination.into(),
            actions: vec![Action::new(application, "")],
        };
        let dialplan = Dialplan { extensions: vec![extension("9001", "park"), extension("90*", "echo")] };
        let application = |destination| dialplan.route(destination).map(|actions| &*actions[0].application);
        assert_eq!(application("9001"), Some("park"));
        assert_eq!(application("9002"), Some("echo"));
        assert_eq!(application("8"), None);
        assert_eq!(Dialplan::park_everything().route("anything").map(<[Action]>::len), Some(4));
    }

    #[test]
    fn inline_dialplans() {
        let expected = [Action::new("answer", ""), Action::new("playback", "a:b")];
        assert_eq!(inline_actions("'answer:,playback:a:b'"), expected);
        assert_eq!(inline_actions("m:|:answer:|playback:a:b"), expected);
    }
}

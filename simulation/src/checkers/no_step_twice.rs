//! No step of a flow, and no command by REST, runs twice on a call: neither by the marks and keys of the channel when something
//! begins, nor by the names of what runs there, whatever the channel says of it.

use std::collections::BTreeMap;

use fipple_emulator::journal::Entry;
use fipple_emulator::{ConnectionId, Time};
use fipple_protocol::call::{parse_step_application, parse_step_uuid};

use super::{Checker, Finding, Verdict};
use crate::engine::{Place, Seen};

/// The switch, the call, and what ran there.
type Key = (usize, String, What, Told);

#[derive(Default)]
pub(super) struct NoStepTwice {
    /// When each step or command of each call began, and by which node.
    begun: BTreeMap<Key, (Time, Option<usize>)>,
}

/// How it is known that something began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    ByMark,
    ByName,
}

/// What is to run once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A step, by its number.
    Step(u32),
    /// A command that REST took, by its idempotency key.
    Command(String),
}

impl NoStepTwice {
    fn ran(
        &mut self,
        seen: &Seen<'_>,
        uuid: &str,
        (what, told): (What, Told),
        connection: Option<ConnectionId>,
    ) -> Verdict {
        let node = connection.and_then(|connection| seen.node_of(connection));
        let key = (seen.switch, uuid.to_owned(), what.clone(), told);
        let Some((first, first_node)) = self.begun.get(&key).copied() else {
            self.begun.insert(key, (seen.at, node));
            return Ok(());
        };
        let switch = Place::Switch(seen.switch);
        let names = |node: Option<usize>| node.map_or("nobody".into(), |node| Place::Node(node).to_string());
        let (first_name, name) = (names(first_node), names(node));
        Err(Finding::new(format!(
            "{what:?} of call {uuid} on {switch}: by {first_name} at {} us, again by {name}",
            first.0
        )))
    }

    fn forget(&mut self, switch: usize, uuid: &str, only_steps: bool) {
        self.begun.retain(|(of, call, what, _), _| {
            (*of, call.as_str()) != (switch, uuid) || (only_steps && matches!(what, What::Command(_)))
        });
    }
}

impl Checker for NoStepTwice {
    fn invariant(&self) -> &'static str {
        "no step twice"
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        match entry {
            Entry::Started { uuid, application, application_uuid, connection, .. } => {
                match what_is(uuid, application, application_uuid) {
                    Some(what) => self.ran(seen, uuid, (what, Told::ByName), *connection),
                    None => Ok(()),
                }
            }
            Entry::StepRan { uuid, run } => {
                let step = What::Step(u32::try_from(run.step).unwrap_or(u32::MAX));
                self.ran(seen, uuid, (step, Told::ByMark), run.connection)
            }
            // What the switch refused it may be asked again.
            Entry::CommandRan { uuid, run } if !run.refused => match &run.key {
                Some(key) => self.ran(seen, uuid, (What::Command(key.clone()), Told::ByMark), run.connection),
                None => Ok(()),
            },
            // It came back to fipple's extension: its flow begins anew.
            Entry::FlowBegan { uuid } => {
                self.forget(seen.switch, uuid, true);
                Ok(())
            }
            // A call that came back after a crash has forgotten what it did since it was last written to disk.
            Entry::Created { uuid, .. } | Entry::Ended { uuid } => {
                self.forget(seen.switch, uuid, false);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What an execution is, by the name that fipple gave it: that of what a script runs, or, where no script checks it, that of the
/// command itself.
fn what_is(uuid: &str, application: &str, application_uuid: &str) -> Option<What> {
    let key = application_uuid.strip_prefix(uuid).and_then(|rest| rest.strip_prefix("-k"));
    if let Some(key) = key {
        return Some(What::Command(format!("k{key}")));
    }
    if let Some(step) = parse_step_application(uuid, application_uuid) {
        // The snippet's wrapper bears the name of what it runs.
        return (application != "execute_extension").then_some(What::Step(step));
    }
    if ["lua", "execute_extension"].contains(&application) {
        return None;
    }
    if let Some(id) = application_uuid.strip_prefix("command-") {
        return Some(What::Command(format!("k{id}")));
    }
    parse_step_uuid(uuid, application_uuid).map(|(step, _)| What::Step(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_known_by_its_name() {
        let (step, command) = (Some(What::Step(3)), Some(What::Command("k0a".into())));
        for (application, name, expected) in [
            ("playback", "u-3", &step),
            ("playback", "u-3-7", &step),
            ("lua", "u-3-7", &None),
            ("playback", "u-k0a", &command),
            ("playback", "command-0a", &command),
            ("lua", "command-0a", &None),
            ("execute_extension", "u-3", &None),
            ("playback", "other-3", &None),
            ("park", "", &None),
        ] {
            assert_eq!(&what_is("u", application, name), expected, "{application} {name}");
        }
    }
}

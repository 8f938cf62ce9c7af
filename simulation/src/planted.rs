//! Bugs that are planted for the checkers to find. They are made around the program, so that nothing planted is in it.

use crate::engine::{Place, World};
use crate::network::Rewrite;
use crate::scenario::PlantedBug;

/// Plants a bug.
pub(crate) fn plant(world: &World, bug: PlantedBug) {
    match bug {
        PlantedBug::IgnoredRefusal => {
            for switch in 0..world.switch_count() {
                world.rewrite(Place::Switch(switch), Place::Node(0), consent);
            }
        }
        PlantedBug::MissedHangups => rewrite_events(world, live_on),
        PlantedBug::ChangedSteps => rewrite_commands(world, set_instead),
        PlantedBug::RepeatedSteps => rewrite_commands(world, step_twice),
        PlantedBug::RepeatedCommands => rewrite_commands(world, command_twice),
        PlantedBug::FallingEpochs => rewrite_commands(world, epoch_before),
        PlantedBug::FailingRest => {
            for node in 0..world.node_count() {
                world.rewrite(Place::Node(node), Place::Client, fail);
            }
        }
        PlantedBug::ForgottenLeases => rewrite_commands(world, ask_instead_of_renewing),
        PlantedBug::ShortLeases => rewrite_commands(world, renew_for_three_seconds),
        PlantedBug::FloodedQueue => rewrite_commands(world, play_often),
        PlantedBug::IgnoredSync => world.ignore_syncs(),
        // It is the workload that believes them.
        PlantedBug::ForgottenWrites => {}
    }
}

/// What nodes hear of switches.
fn rewrite_events(world: &World, rewrite: Rewrite) {
    each_pair(world, |node, switch| world.rewrite(switch, node, rewrite));
}

/// What nodes say to switches.
fn rewrite_commands(world: &World, rewrite: Rewrite) {
    each_pair(world, |node, switch| world.rewrite(node, switch, rewrite));
}

fn each_pair(world: &World, act: impl Fn(Place, Place)) {
    for node in 0..world.node_count() {
        (0..world.switch_count()).for_each(|switch| act(Place::Node(node), Place::Switch(switch)));
    }
}

/// Makes a refusal of the gate a consent, of the same length, so that the frame around it stays right.
fn consent(bytes: &[u8]) -> Option<Vec<u8>> {
    replace_all(
        bytes,
        &[("-ERR key already exists", "+OK  key already exists"), ("-ERR Not found", "+OK  Not found")],
    )
}

/// Gives the events of a call's end names that nobody knows.
fn live_on(bytes: &[u8]) -> Option<Vec<u8>> {
    replace_all(
        bytes,
        &[
            ("Event-Name: CHANNEL_HANGUP", "Event-Name: CHANNEL_HANGON"),
            ("Event-Name: CHANNEL_DESTROY", "Event-Name: CHANNEL_ENJOYED"),
        ],
    )
}

/// Lets variables be set where something was to be played.
fn set_instead(bytes: &[u8]) -> Option<Vec<u8>> {
    replace_all(bytes, &[("execute-app-name: playback\n", "execute-app-name: multiset\n")])
}

/// Repeats the commands that are steps of flows.
fn step_twice(bytes: &[u8]) -> Option<Vec<u8>> {
    repeat(bytes, |command| command.contains("Event-UUID: ") && !command.contains(REST_COMMAND), 2)
}

/// Repeats the commands that REST took.
fn command_twice(bytes: &[u8]) -> Option<Vec<u8>> {
    repeat(bytes, |command| command.contains(REST_COMMAND), 2)
}

/// What the `Event-UUID` of a command that REST took begins with.
const REST_COMMAND: &str = "Event-UUID: command-";

/// Gives the third step of a first epoch the epoch before.
fn epoch_before(bytes: &[u8]) -> Option<Vec<u8>> {
    replace_all(bytes, &[("-3-1\n", "-3-0\n")])
}

/// Looks at a lease that nobody has where leases were to be renewed.
fn ask_instead_of_renewing(bytes: &[u8]) -> Option<Vec<u8>> {
    replace_all(bytes, &[("lua fipple_watchdog.lua renew ", "hash select/fipplelease/none #")])
}

/// Renews leases for three seconds.
fn renew_for_three_seconds(bytes: &[u8]) -> Option<Vec<u8>> {
    let seconds = fipple::switch::Fallback::default().lease_seconds();
    replace_all(bytes, &[(&format!("watchdog.lua renew {seconds} "), "watchdog.lua renew  3 ")])
}

/// Makes a success of REST a failure.
fn fail(bytes: &[u8]) -> Option<Vec<u8>> {
    replace_all(bytes, &[("HTTP/1.1 200 OK", "HTTP/1.1 500 NO")])
}

/// Repeats the commands that play something, more often than a call's private queue holds.
fn play_often(bytes: &[u8]) -> Option<Vec<u8>> {
    repeat(bytes, |command| command.contains("execute-app-name: playback"), 300)
}

/// The bytes with every chosen `sendmsg` repeated so many times.
fn repeat(bytes: &[u8], is_chosen: impl Fn(&str) -> bool, times: usize) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let repeated = text.split_inclusive("\n\n").map(|command| {
        let chosen = command.starts_with("sendmsg") && command.ends_with("\n\n") && is_chosen(command);
        command.repeat(if chosen { times } else { 1 })
    });
    let repeated: String = repeated.collect();
    (repeated.len() > text.len()).then(|| repeated.into_bytes())
}

/// The bytes with every old text replaced by a new one of the same length; `None` where there is none.
fn replace_all(bytes: &[u8], replacements: &[(&str, &str)]) -> Option<Vec<u8>> {
    let mut rewritten = None;
    for (old, new) in replacements {
        let mut from = 0;
        while let Some(found) = bytes[from..].windows(old.len()).position(|window| window == old.as_bytes()) {
            let at = from + found;
            let copy = rewritten.get_or_insert_with(|| bytes.to_vec());
            copy[at..at + new.len()].copy_from_slice(new.as_bytes());
            from = at + old.len();
        }
    }
    rewritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_becomes_a_consent() {
        assert_eq!(consent(b"+OK\n"), None);
        assert_eq!(consent(b"x-ERR Not found\n").unwrap(), b"x+OK  Not found\n");
        let twice = b"-ERR Not found\n-ERR Not found\n";
        assert_eq!(consent(twice).unwrap(), b"+OK  Not found\n+OK  Not found\n");
        let event = b"Event-Name: CHANNEL_HANGUP_COMPLETE";
        assert!(live_on(event).is_some_and(|bytes| bytes.len() == event.len()));
    }

    #[test]
    fn commands_are_repeated_whole() {
        let step = "sendmsg u\nexecute-app-name: answer\nEvent-UUID: u-1-1\n\n";
        let other = "api status\n\n";
        let twice = step_twice(format!("{other}{step}{other}").as_bytes()).unwrap();
        assert_eq!(twice, format!("{other}{step}{step}{other}").as_bytes());
        assert_eq!(play_often(step.as_bytes()), None);
    }
}

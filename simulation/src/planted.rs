//! Bugs that are planted for the checkers to find. Most are made around the program, in what the network carries or in the
//! scripts of the switch; some are in the node itself, in a build that only the simulator has.

use std::collections::BTreeMap;

use fipple::planted::Planted;

use crate::engine::{Place, World};
use crate::error::Error;
use crate::network::Rewrite;
use crate::scenario::PlantedBug;

/// Plants a bug in a world whose nodes have not started.
pub(crate) fn plant(world: &mut World, bug: PlantedBug) {
    match bug {
        PlantedBug::IgnoredRefusal => {
            for switch in 0..world.switch_count() {
                world.rewrite(Place::Switch(switch), Place::Node(0), consent);
            }
        }
        PlantedBug::MissedHangups => rewrite_events(world, live_on),
        PlantedBug::ChangedSteps => rewrite_commands(world, set_instead),
        PlantedBug::FailingRest => {
            for node in 0..world.node_count() {
                world.rewrite(Place::Node(node), Place::Client, fail);
            }
        }
        PlantedBug::ForgottenLeases => rewrite_commands(world, ask_instead_of_renewing),
        PlantedBug::ShortLeases => rewrite_commands(world, renew_for_three_seconds),
        PlantedBug::FloodedQueue => rewrite_commands(world, play_often),
        PlantedBug::IgnoredSync => world.ignore_syncs(),
        PlantedBug::SnapshotBeforeEpoch => world.plant(Planted::SnapshotBeforeEpoch),
        PlantedBug::FinalAdoption => world.plant(Planted::FinalAdoption),
        PlantedBug::AppointsAfterLoss => world.plant(Planted::AppointsAfterLoss),
        // It is the workload that believes them.
        PlantedBug::ForgottenWrites => {}
        // They are in the scripts.
        PlantedBug::RepeatedSteps
        | PlantedBug::RepeatedCommands
        | PlantedBug::FallingEpochs
        | PlantedBug::UncheckedEpoch
        | PlantedBug::UnfencedQueue => {}
    }
}

/// Where the script of steps and commands executes what it is told to.
const EXECUTES: &str = "local ran, problem = pcall(session.execute, session, application, argument)";

/// Plants a bug in the scripts of a switch, if that is where it belongs.
///
/// # Errors
/// If the deployed scripts do not say any more what the bug changes.
pub(crate) fn plant_in_scripts(scripts: &mut BTreeMap<String, String>, bug: PlantedBug) -> Result<(), Error> {
    let twice = |which: &str| {
        let again =
            "session:execute(application, argument) session:setVariable(\"app_uuid\", uuid .. \"-\" .. step)";
        format!("if {which} then {again} end\n{EXECUTES}")
    };
    let (script, deployed, planted) = match bug {
        PlantedBug::RepeatedSteps => ("fipple_step.lua", EXECUTES, twice("not key")),
        PlantedBug::RepeatedCommands => ("fipple_step.lua", EXECUTES, twice("key")),
        PlantedBug::FallingEpochs => {
            let raises = "give_epoch(uuid, current + 1,";
            ("fipple_fence.lua", raises, raises.replace('+', "-"))
        }
        PlantedBug::UncheckedEpoch => {
            ("fipple_step.lua", "if current ~= number_of(epoch) then", "if false then".to_owned())
        }
        PlantedBug::UnfencedQueue => {
            let checks = r#"if epoch ~= "-" and current_epoch(call) ~= number_of(epoch) then"#;
            ("fipple_step.lua", checks, "if false then".to_owned())
        }
        _ => return Ok(()),
    };
    match scripts.get_mut(script).filter(|text| text.contains(deployed)) {
        Some(text) => *text = text.replacen(deployed, &planted, 1),
        None => {
            let problem = format!("{bug:?} cannot be planted: {script} does not say {deployed:?}");
            return Err(Error::Scenario { problem });
        }
    }
    Ok(())
}

/// How long the switch's scripts are held up at the most where this bug is planted, in milliseconds; `None` for as long as the
/// scenario says. What can come between a step and its check, or a raised epoch and the next step, does in a few runs then.
pub(crate) fn script_pause_ms(bug: PlantedBug) -> Option<u64> {
    match bug {
        PlantedBug::FinalAdoption => Some(40),
        PlantedBug::UncheckedEpoch => Some(20),
        _ => None,
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
    replace_all(bytes, &[(" playback ", " multiset ")])
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
    repeat(bytes, |command| command.contains(" playback "), 300)
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
        let step = "sendmsg u\nexecute-app-name: lua\nexecute-app-arg: fipple_step.lua 1 2 playback 00\n\n";
        let other = "api status\n\n";
        let often = play_often(format!("{other}{step}{other}").as_bytes()).unwrap();
        assert_eq!(often, format!("{other}{}{other}", step.repeat(300)).as_bytes());
        assert_eq!(play_often(step.replace("playback", "answer").as_bytes()), None);
        assert!(set_instead(step.as_bytes()).is_some_and(|changed| changed.len() == step.len()));
    }

    #[test]
    fn the_deployed_scripts_say_what_is_changed_in_them() {
        for bug in [
            PlantedBug::RepeatedSteps,
            PlantedBug::RepeatedCommands,
            PlantedBug::FallingEpochs,
            PlantedBug::UncheckedEpoch,
            PlantedBug::UnfencedQueue,
        ] {
            let deployed = fipple_emulator::Config::default().lua_scripts;
            let mut scripts = deployed.clone();
            plant_in_scripts(&mut scripts, bug).unwrap();
            assert_ne!(scripts, deployed, "{bug:?}");
        }
    }
}

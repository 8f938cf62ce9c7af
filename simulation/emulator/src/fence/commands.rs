//! What became of a call's fenced commands: those with an idempotency key that `fipple_step.lua` runs in the channel, and
//! those that `fipple_fence.lua run` gives to the switch from outside.
//!
//! In the channel a command looks at the epoch and keeps its key under the call's lock, lets it go and then runs. A taker
//! that raises the epoch in between finds the key. So what counts is the epoch in which the key was kept.

use crate::channel::Uuid;
use crate::journal::Entry;
use crate::switch::{ConnectionId, Switch};
use crate::time::Time;

use super::Fence;

/// Keys of which the epoch is known: more than a channel keeps.
const KEPT_MAX: usize = 16;

/// A fenced command ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRun {
    /// Its idempotency key with the `k` before it, in the record of the channel that keeps it; `None` if it has none.
    pub key: Option<String>,
    /// The epoch in which it was sent; `None` for any.
    pub epoch: Option<u64>,
    /// The call's epoch when it ran, or when its key was kept.
    pub current_epoch: u64,
    /// The application or the API command.
    pub command: String,
    /// The switch answered with `-`: it did nothing, and may run again.
    pub refused: bool,
    /// When it ran.
    pub at: Time,
    /// The connection that sent it; `None` if that was not a controller.
    pub connection: Option<ConnectionId>,
}

/// A key that a channel keeps, and the epoch in which it was put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    key: String,
    epoch: u64,
}

/// A command that a script is about to give to the switch.
#[derive(Debug)]
pub(crate) struct Fenced {
    key: Option<String>,
    /// The calls that it names, with the epochs in which it was sent and those in which they are.
    calls: Vec<(Uuid, Option<u64>, u64)>,
    command: String,
}

impl Fence {
    pub(super) fn command_violations(&self) -> impl Iterator<Item = String> {
        let in_wrong_epoch = self.commands.iter().filter_map(|run| {
            let CommandRun { command, epoch, current_epoch, .. } = run;
            let epoch = epoch.filter(|epoch| epoch != current_epoch)?;
            Some(format!("{command} of epoch {epoch} ran in epoch {current_epoch}"))
        });
        let done = || self.commands.iter().filter(|run| !run.refused && run.key.is_some());
        let repeated = done().enumerate().filter_map(move |(index, run)| {
            let before = done().take(index).any(|other| other.key == run.key);
            before.then(|| format!("the command {} ran again", run.key.as_deref().unwrap_or_default()))
        });
        in_wrong_epoch.chain(repeated)
    }

    fn keep(&mut self, keys: &str, epoch: u64) {
        for key in keys.split_ascii_whitespace() {
            if self.kept.iter().all(|kept| kept.key[1..] != *key) {
                self.kept.push(Kept { key: format!("k{key}"), epoch });
            }
        }
        self.kept.retain(|kept| keys.split_ascii_whitespace().any(|key| kept.key[1..] == *key));
        self.kept.truncate(KEPT_MAX);
    }
}

impl Switch {
    /// The epoch of a channel: its own, or that of the call of which it is a leg.
    pub(super) fn epoch_of(&self, uuid: &str) -> u64 {
        let value = |uuid: &str, name: &str| self.channels.get(uuid)?.value_of(name).map(str::to_owned);
        let own = value(uuid, "fipple_epoch");
        let of_call = || value(&value(uuid, "fipple_call")?, "fipple_epoch");
        own.or_else(of_call).and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
    }

    /// A channel keeps other keys than before.
    pub(super) fn note_keys(&mut self, uuid: &Uuid) {
        let keys = self.channels.get(uuid).and_then(|channel| channel.value_of("fipple_keys"));
        let (keys, epoch) = (keys.unwrap_or_default().to_owned(), self.epoch_of(uuid));
        self.ledger.fences.entry(uuid.clone()).or_default().keep(&keys, epoch);
    }

    /// An application begins in a channel: takes it down if it is that of a command with a key.
    pub(super) fn note_command_run(&mut self, uuid: &Uuid, application: &str, application_uuid: &str) {
        let key = application_uuid.strip_prefix(&**uuid).and_then(|rest| rest.strip_prefix('-'));
        let Some(key) = key.filter(|key| is_key(key)) else { return };
        let Some(channel) = self.channels.get(uuid) else { return };
        let sent = channel.stack.iter().rev().find_map(|frame| {
            let mut words = frame.action.argument.split_ascii_whitespace().skip(1);
            let epoch = words.next()?;
            (words.next() == Some(key)).then(|| epoch.parse().ok())
        });
        let connection = channel.commanded_by().flatten();
        let kept = self.ledger.fence(uuid).and_then(|fence| fence.kept.iter().find(|kept| kept.key == key));
        let run = CommandRun {
            key: Some(key.to_owned()),
            epoch: sent.flatten(),
            current_epoch: kept.map_or_else(|| self.epoch_of(uuid), |kept| kept.epoch),
            command: application.to_owned(),
            refused: false,
            at: self.now,
            connection,
        };
        self.add_command_run(uuid, run);
    }

    /// What a script asks is the command that `fipple_fence.lua run` was told to give.
    pub(crate) fn fenced_command(&self, script: &[String], command: &str, argument: &str) -> Option<Fenced> {
        let [name, verb, calls, key, own, rest @ ..] = script else { return None };
        let told = rest.first().map(|hex| decode_hex(hex)).unwrap_or_default();
        if name != "fipple_fence.lua" || verb != "run" || own != command || told != argument.as_bytes() {
            return None;
        }
        // One that has ended since it was looked at is in no epoch.
        let living = |(uuid, _): &(&str, &str)| self.channels.contains_key(*uuid);
        let calls = calls.split(',').filter_map(|call| call.rsplit_once(':')).filter(living);
        let calls = calls.map(|(uuid, epoch)| (uuid.into(), epoch.parse().ok(), self.epoch_of(uuid)));
        let key = Some(key.clone()).filter(|key| is_key(key));
        Some(Fenced { key, calls: calls.collect(), command: command.to_owned() })
    }

    /// The switch has answered such a command: takes it down with each of its calls, and with the first that of its key.
    pub(crate) fn note_fenced_command(&mut self, fenced: Fenced, by: Option<ConnectionId>, reply: &str) {
        let Fenced { mut key, calls, command } = fenced;
        for (uuid, epoch, current_epoch) in calls {
            let run = CommandRun {
                key: key.take(),
                epoch,
                current_epoch,
                command: command.clone(),
                refused: reply.starts_with('-'),
                at: self.now,
                connection: by,
            };
            self.add_command_run(&uuid, run);
        }
    }

    fn add_command_run(&mut self, uuid: &Uuid, run: CommandRun) {
        self.ledger.journal.add(|| Entry::CommandRan { uuid: uuid.clone(), run: run.clone() });
        if let Some(fence) = self.ledger.fence_to_add_to(uuid) {
            fence.commands.push(run);
        }
    }
}

/// `k` and sixteen hex digits.
pub(super) fn is_key(text: &str) -> bool {
    text.len() == 17 && text.starts_with('k') && text.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit())
}

fn decode_hex(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map_while(|pair| std::str::from_utf8(pair).ok());
    pairs.map_while(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(key: &str, epoch: Option<u64>, current_epoch: u64, refused: bool) -> CommandRun {
        CommandRun {
            key: Some(key.to_owned()).filter(|key| !key.is_empty()),
            epoch,
            current_epoch,
            command: "uuid_kill".into(),
            refused,
            at: Time(0),
            connection: None,
        }
    }

    #[test]
    fn what_must_not_happen_to_a_command_is_found() {
        let violations =
            |commands: &[CommandRun]| Fence { commands: commands.to_vec(), ..Fence::default() }.violations();
        assert!(violations(&[run("ka", Some(1), 1, false), run("kb", None, 5, false)]).is_empty());
        assert!(violations(&[run("", Some(1), 1, false), run("", Some(1), 1, false)]).is_empty());
        assert!(violations(&[run("ka", Some(1), 1, true), run("ka", Some(1), 1, false)]).is_empty());
        let again = violations(&[run("ka", Some(1), 1, false), run("ka", Some(2), 2, false)]);
        assert_eq!(again, ["the command ka ran again"]);
        assert_eq!(violations(&[run("ka", Some(1), 2, true)]), ["uuid_kill of epoch 1 ran in epoch 2"]);
    }

    #[test]
    fn the_epoch_of_a_key_is_that_in_which_it_was_kept() {
        let mut fence = Fence::default();
        fence.keep("aa", 1);
        fence.keep("aa bb", 2);
        let epochs = |fence: &Fence| fence.kept.iter().map(|kept| kept.epoch).collect::<Vec<_>>();
        assert_eq!(epochs(&fence), [1, 2]);
        fence.keep("bb", 3);
        assert_eq!(epochs(&fence), [2]);
    }
}

//! Kills nodes at exact moments of calls.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, spawn};
use std::time::Duration;

use fipple_emulator::journal::Entry;
use fipple_emulator::{Switch, Uuid, Watcher};

use crate::Killer;
use crate::steps::step_of;

/// How long a trap may wait for a call that comes to its moment. No test asserts a time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Traps and calls that may wait for whoever looks after them: more than there are calls in a test.
const WAITING: usize = 4_096;

/// When, in the life of a step, nodes are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The call has an owner in the switch, which has not been told of it. It has no step yet.
    Claimed,
    /// The step was about to be sent: if the attached node is killed the switch does not get it any more.
    Sent,
    /// The step runs, and nobody has been told that the switch has it.
    Started,
    /// The step has been running for this long, in milliseconds.
    Running(u64),
    /// The step is over, and nobody has been told.
    Completed,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victims {
    /// The owner of the call.
    Owner,
    /// The node that is attached to the switch.
    Attached,
    /// Both at once.
    Both,
}

/// Who is killed, and when: at this moment of this step, of the first call that comes to it and whose owner is not the attached
/// node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The step's number.
    pub step: u32,
    /// The moment.
    pub moment: Moment,
    /// Who.
    pub victims: Victims,
}

/// A trap that has killed.
#[derive(Clone, Debug)]
pub struct Sprung {
    /// The call that came to the moment.
    pub call: String,
    /// Who was killed, by the numbers of the nodes.
    pub killed: Vec<usize>,
}

/// Looks on while a switch works, and kills where a trap is set.
pub struct Watch {
    armed: Arc<Mutex<Option<Armed>>>,
    sprung: Receiver<Sprung>,
}

struct Armed {
    trap: Trap,
    /// Each node's id, and what kills it.
    nodes: Vec<(String, Killer)>,
}

struct Watching {
    armed: Arc<Mutex<Option<Armed>>>,
    /// Who owns each call: a call that has ended tells no more.
    owners: BTreeMap<Uuid, String>,
    sprung: SyncSender<Sprung>,
    asked_for_digits: SyncSender<String>,
}

impl Watch {
    /// What looks on, to be given to a switch; whoever awaits its traps; and the calls that begin to collect digits.
    pub fn new() -> (impl Watcher, Self, Receiver<String>) {
        let armed = Arc::default();
        let (report, sprung) = sync_channel(WAITING);
        let (asked_for_digits, asked) = sync_channel(WAITING);
        let watching =
            Watching { armed: Arc::clone(&armed), owners: BTreeMap::new(), sprung: report, asked_for_digits };
        (watching, Self { armed, sprung }, asked)
    }

    /// Sets a trap for these nodes, and waits until a call has come into it.
    ///
    /// # Errors
    /// If none does.
    pub fn spring(&self, trap: Trap, nodes: Vec<(String, Killer)>) -> Result<Sprung, RecvTimeoutError> {
        *lock(&self.armed) = Some(Armed { trap, nodes });
        self.sprung.recv_timeout(PATIENCE)
    }
}

fn lock(armed: &Mutex<Option<Armed>>) -> MutexGuard<'_, Option<Armed>> {
    armed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher for Watching {
    fn receives(&mut self, switch: &Switch, bytes: &[u8]) -> bool {
        let Some(Trap { step, moment: Moment::Sent, victims }) = self.trap() else { return true };
        let text = String::from_utf8_lossy(bytes);
        let uuids = text.lines().filter_map(|line| line.strip_prefix("Event-UUID: "));
        let call = uuids.filter_map(call_and_step).find(|(_, sent)| *sent == step);
        let sprung = call.is_some_and(|(call, _)| self.kill(switch, call, Duration::ZERO));
        !sprung || victims == Victims::Owner
    }

    fn happened(&mut self, switch: &mut Switch) {
        while let Some(entry) = switch.take_journal() {
            if let Entry::Started { uuid, application, .. } = &entry
                && application == "play_and_get_digits"
            {
                let _nobody_presses = self.asked_for_digits.try_send(uuid.to_string());
            }
            if let Entry::EpochSet { uuid, .. } = &entry
                && let Some(owner) = switch.channel_variable(uuid, "fipple_owner")
            {
                self.owners.insert(uuid.clone(), owner.to_owned());
            }
            if let Some((call, after)) = self.trap().and_then(|trap| comes_to(trap, &entry)) {
                self.kill(switch, &call, after);
            }
        }
    }
}

impl Watching {
    fn trap(&self) -> Option<Trap> {
        lock(&self.armed).as_ref().map(|armed| armed.trap)
    }

    /// Kills, if the call's owner and the attached node are two.
    fn kill(&self, switch: &Switch, call: &str, after: Duration) -> bool {
        let mut armed = lock(&self.armed);
        let Some(Armed { trap, nodes }) = armed.as_ref() else { return false };
        let node_in =
            |text: Option<&str>| nodes.iter().position(|(id, _)| text.is_some_and(|text| text.contains(id)));
        let owner = node_in(self.owners.get(call).map(String::as_str));
        let attached = node_in(switch.hash_value("fipple", &format!("gate.{}", switch.core_uuid())));
        let (Some(owner), Some(attached)) = (owner, attached) else { return false };
        if owner == attached {
            return false;
        }
        let killed = match trap.victims {
            Victims::Owner => vec![owner],
            Victims::Attached => vec![attached],
            Victims::Both => vec![owner, attached],
        };
        let killers: Vec<Killer> = killed.iter().map(|index| nodes[*index].1.clone()).collect();
        let sprung = Sprung { call: call.to_owned(), killed };
        let report = self.sprung.clone();
        *armed = None;
        let kill = move || {
            killers.iter().for_each(Killer::kill);
            let _nobody_waits = report.send(sprung);
        };
        if after.is_zero() {
            kill();
        } else {
            // The switch goes on meanwhile.
            spawn(move || {
                sleep(after);
                kill();
            });
        }
        true
    }
}

/// The call that comes to a trap's moment with this, and how long after it the nodes are to be killed.
fn comes_to(trap: Trap, entry: &Entry) -> Option<(String, Duration)> {
    let is_step =
        |uuid: &str, application: &str, name: &str| step_of(uuid, application, name) == Some(trap.step);
    match (trap.moment, entry) {
        (Moment::Claimed, Entry::EpochSet { uuid, change }) if change.epoch == 1 => {
            Some((uuid.to_string(), Duration::ZERO))
        }
        (Moment::Started, Entry::Started { uuid, application, application_uuid, .. })
            if is_step(uuid, application, application_uuid) =>
        {
            Some((uuid.to_string(), Duration::ZERO))
        }
        (Moment::Running(milliseconds), Entry::Started { uuid, application, application_uuid, .. })
            if is_step(uuid, application, application_uuid) =>
        {
            Some((uuid.to_string(), Duration::from_millis(milliseconds)))
        }
        // What carries the step into the channel bears the other of its two names.
        (Moment::Completed, Entry::Completed { uuid, application_uuid })
            if is_step(uuid, "", application_uuid) =>
        {
            Some((uuid.to_string(), Duration::ZERO))
        }
        _ => None,
    }
}

/// The call and the step of the name under which a step is sent.
pub fn call_and_step(event_uuid: &str) -> Option<(&str, u32)> {
    let mut parts = event_uuid.trim_end().rsplitn(3, '-');
    let (_epoch, step, call) =
        (parts.next()?.parse::<u64>().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    Some((call, step))
}

//! The course of one `originate` or `bridge`: groups of legs, one group after the other, until a leg wins.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::cause::Cause;
use crate::channel::{DialPurpose, Uuid};
use crate::dial_string::{DialLeg, DialString};
use crate::ledger::HungUpBy;
use crate::limits::DIALLED_LEGS_MAX;
use crate::switch::{Switch, Timer};

/// An attempt's number, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttemptId(u64);

/// The attempts that have not come to an end.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    running: BTreeMap<AttemptId, Attempt>,
    last: u64,
}

impl Attempts {
    /// For whom the attempt dials.
    pub(crate) fn purpose(&self, id: AttemptId) -> Option<&DialPurpose> {
        self.running.get(&id).map(|attempt| &attempt.purpose)
    }
}

#[derive(Debug)]
struct Attempt {
    purpose: DialPurpose,
    variables: Vec<(String, String)>,
    /// Groups that were not dialled yet.
    waiting: VecDeque<Vec<DialLeg>>,
    /// The group that is being dialled: what became of each leg. A leg that leads nowhere has no uuid.
    legs: Vec<(Option<Uuid>, Option<Cause>)>,
    /// `originate_causes`: every leg that failed, of every group.
    causes: Vec<(Uuid, Cause)>,
    ring_for: Duration,
    ignores_early_media: bool,
}

impl Attempt {
    fn is_dialling(&self) -> bool {
        self.legs.iter().any(|(_, cause)| cause.is_none())
    }

    /// Why the group failed: for what its first leg did.
    fn cause(&self) -> Cause {
        let first = self.legs.iter().find_map(|(_, cause)| *cause);
        first.unwrap_or(Cause::named("DESTINATION_OUT_OF_ORDER"))
    }

    /// Notes what became of a leg.
    fn failed(&mut self, uuid: &Uuid, cause: Cause) {
        if let Some(leg) = self.legs.iter_mut().find(|(leg, _)| leg.as_ref() == Some(uuid)) {
            leg.1.get_or_insert(cause);
            self.causes.push((uuid.clone(), cause));
        }
    }
}

impl Switch {
    /// Begins to dial. If nothing of it can be dialled, gives the reason and nobody is told otherwise; else the
    /// purpose hears of the end.
    pub(crate) fn begin_attempt(
        &mut self,
        dial_string: DialString,
        purpose: DialPurpose,
    ) -> Result<AttemptId, Cause> {
        if dial_string.leg_count() > DIALLED_LEGS_MAX {
            return Err(Cause::named("SWITCH_CONGESTION"));
        }
        let ignores = dial_string.variable("ignore_early_media");
        let attempt = Attempt {
            ring_for: self.ring_for(&dial_string, &purpose),
            ignores_early_media: ignores.is_some_and(|value| value != "false"),
            purpose,
            variables: dial_string.variables,
            waiting: dial_string.groups.into(),
            legs: Vec::new(),
            causes: Vec::new(),
        };
        self.attempts.last += 1;
        let id = AttemptId(self.attempts.last);
        self.attempts.running.insert(id, attempt);
        match self.dial_next_group(id) {
            None => Ok(id),
            Some(cause) => {
                self.attempts.running.remove(&id);
                Err(cause)
            }
        }
    }

    /// How long a group may ring: a bridging channel says it with `call_timeout`.
    fn ring_for(&self, dial_string: &DialString, purpose: &DialPurpose) -> Duration {
        let originator = match purpose {
            DialPurpose::Bridge { originator } => self.channels.get(originator),
            DialPurpose::Originate { .. } => None,
        };
        let of_originator = |name| originator.and_then(|channel| channel.variables.get(name));
        let seconds = dial_string
            .variable("originate_timeout")
            .or(dial_string.variable("call_timeout"))
            .or_else(|| of_originator("originate_timeout"))
            .or_else(|| of_originator("call_timeout"));
        let seconds = seconds.and_then(|seconds| seconds.trim().parse().ok());
        seconds.map_or(self.config.originate_timeout, Duration::from_secs)
    }

    /// Dials groups until one of them has a leg that is on its way. Gives why the last failed if there is none.
    fn dial_next_group(&mut self, id: AttemptId) -> Option<Cause> {
        loop {
            let attempt = self.attempts.running.get_mut(&id)?;
            let last_cause = attempt.cause();
            let Some(group) = attempt.waiting.pop_front() else { return Some(last_cause) };
            attempt.legs.clear();
            let (variables, purpose) = (attempt.variables.clone(), attempt.purpose.clone());
            let gives_up = self.now + attempt.ring_for;
            let mut legs = Vec::new();
            for leg in &group {
                legs.push(match self.create_leg(leg, &variables, &purpose) {
                    Ok(uuid) => (Some(uuid), None),
                    Err(cause) => (None, Some(cause)),
                });
            }
            let attempt = self.attempts.running.get_mut(&id)?;
            attempt.legs.clone_from(&legs);
            if attempt.is_dialling() {
                for ((uuid, _), leg) in legs.iter().zip(&group) {
                    if let Some(uuid) = uuid {
                        self.start_leg(uuid, leg, id, gives_up);
                    }
                }
                self.arm(gives_up, Timer::Attempt(id));
                return None;
            }
        }
    }

    /// The time of a group, or of all of them, is over: whoever still only rings is given up.
    pub(crate) fn attempt_timeout(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.running.get(&id) else { return };
        let now = self.now;
        for uuid in attempt.legs.iter().filter_map(|(uuid, _)| uuid.clone()).collect::<Vec<_>>() {
            let due = |dialling: &crate::channel::Dialling| dialling.gives_up_at <= now;
            let over =
                self.channels.get(&uuid).and_then(|channel| channel.dialling.as_ref()).is_some_and(due);
            if over {
                self.hang_up(&uuid, Cause::named("NO_ANSWER"), HungUpBy::Switch);
            }
        }
    }

    /// Nobody wants the attempt any more: its legs are hung up.
    pub(crate) fn abandon_attempt(&mut self, id: AttemptId, cause: Cause) {
        if let Some(attempt) = self.attempts.running.remove(&id) {
            self.hang_up_legs(&attempt, None, cause);
        }
    }

    fn hang_up_legs(&mut self, attempt: &Attempt, but: Option<&Uuid>, cause: Cause) {
        for (uuid, _) in &attempt.legs {
            if let Some(uuid) = uuid.as_ref().filter(|uuid| Some(*uuid) != but) {
                self.modify(uuid, |channel| channel.dialling = None);
                self.hang_up(uuid, cause, HungUpBy::Switch);
            }
        }
    }

    /// A leg has hung up that was still being dialled.
    pub(crate) fn leg_failed(&mut self, id: AttemptId, uuid: &Uuid, cause: Cause) {
        let Some(attempt) = self.attempts.running.get_mut(&id) else { return };
        attempt.failed(uuid, cause);
        if attempt.is_dialling() {
            return;
        }
        let Some(cause) = self.dial_next_group(id) else { return };
        let Some(attempt) = self.attempts.running.remove(&id) else { return };
        match attempt.purpose {
            DialPurpose::Originate { job, .. } => self.finish_job(job, &format!("-ERR {}\n", cause.name())),
            DialPurpose::Bridge { originator } => {
                let causes = causes_text(&attempt.causes, None);
                self.dialling_failed(&originator, id, cause, &causes);
            }
        }
    }

    /// A leg sends sound: good enough for whoever does not ignore it.
    pub(crate) fn leg_has_media(&mut self, id: AttemptId, uuid: &Uuid) {
        if self.attempts.running.get(&id).is_some_and(|attempt| !attempt.ignores_early_media) {
            self.leg_wins(id, uuid);
        }
    }

    /// A leg is the one: the others of its group are hung up, and the purpose goes on with it.
    pub(crate) fn leg_wins(&mut self, id: AttemptId, uuid: &Uuid) {
        let Some(attempt) = self.attempts.running.remove(&id) else { return };
        self.modify(uuid, |channel| channel.dialling = None);
        self.hang_up_legs(&attempt, Some(uuid), Cause::named("LOSE_RACE"));
        match attempt.purpose {
            DialPurpose::Bridge { originator } => {
                let causes = causes_text(&attempt.causes, Some(uuid));
                self.dialled_leg_won(&originator, id, uuid, &causes);
            }
            DialPurpose::Originate { job, then } => {
                self.flip_caller(uuid);
                self.begin_originated(uuid, then);
                self.finish_job(job, &format!("+OK {uuid}\n"));
            }
        }
    }
}

/// `originate_causes`: an array of `<uuid>;<cause>`.
fn causes_text(failed: &[(Uuid, Cause)], winner: Option<&Uuid>) -> String {
    let failed = failed.iter().map(|(uuid, cause)| format!("{uuid};{}", cause.name()));
    let all: Vec<String> = failed.chain(winner.map(|uuid| format!("{uuid};NONE"))).collect();
    if all.len() > 1 { format!("ARRAY::{}", all.join("|:")) } else { all.concat() }
}

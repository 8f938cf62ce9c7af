//! A leg that is dialled, from its first ring to its answer.

use std::time::Duration;

use crate::attempt::AttemptId;
use crate::channel::{CallState, DialPurpose, Dialling, Endpoint, Next, Then, Uuid};
use crate::config::Answer;
use crate::dial_string::{DialLeg, value_of};
use crate::far_end::{Act, Script, Step, steps_of};
use crate::sip;
use crate::switch::{Switch, Timer};
use crate::time::Time;

impl Switch {
    /// Lets a created leg ring: from now on its far end acts.
    pub(crate) fn start_leg(&mut self, uuid: &Uuid, leg: &DialLeg, attempt: AttemptId, gives_up: Time) {
        let of_leg = value_of(&leg.variables, "leg_timeout").and_then(|seconds| seconds.trim().parse().ok());
        let of_leg = of_leg.map(|seconds| self.now + Duration::from_secs(seconds));
        let gives_up_at = of_leg.unwrap_or(gives_up).min(gives_up);
        self.modify(uuid, |channel| channel.dialling = Some(Dialling { attempt, gives_up_at }));
        if of_leg.is_some() {
            self.arm(gives_up_at, Timer::Attempt(attempt));
        }
        let Some(channel) = self.channels.get(uuid) else { return };
        let destination = channel.destination().to_owned();
        let address = channel.name.rsplit('/').next().unwrap_or_default();
        let answer = self.config.answer_of(&destination, address);
        let steps = match (channel.endpoint, answer) {
            // Its other half answers for it.
            (Endpoint::Loopback, _) => Vec::new(),
            // A null endpoint answers at once.
            (Endpoint::Null, Answer::Answers { .. }) => vec![Step::new(Duration::ZERO, Act::Answers)],
            _ => steps_of(answer),
        };
        let later = self.config.script_of(&destination);
        self.set_script(uuid, Script::new(steps.into_iter().chain(later)));
        self.start_other_half(uuid);
        self.make_runnable(uuid);
    }

    /// What a leg's thread does while it is dialled; `false` when it has to wait.
    pub(crate) fn dial_on(&mut self, uuid: &Uuid) -> bool {
        let Some(channel) = self.channels.get(uuid) else { return true };
        if channel.is_answered() {
            // The other half of a loopback leg has answered it.
            if let Some(attempt) = channel.dialling.as_ref().map(|dialling| dialling.attempt) {
                self.leg_wins(attempt, uuid);
            }
            return true;
        }
        let acts = channel.script.is_due(self.now);
        self.far_end_acts(uuid);
        acts
    }
    /// The dialled phone rings.
    pub(crate) fn leg_rings(&mut self, uuid: &Uuid) {
        if self.channels.get(uuid).is_none_or(|channel| !channel.outbound || channel.is_answered()) {
            return;
        }
        self.first_reply(uuid);
        let wall = self.wall_micros();
        self.modify(uuid, |channel| {
            if let Some(profile) = &mut channel.profile {
                profile.times.progress = wall;
            }
        });
        self.fire_channel(uuid, "CHANNEL_PROGRESS", &[], &[]);
        self.set_call_state(uuid, CallState::Ringing);
        self.tell_originator(uuid, false);
    }

    /// The dialled phone sends sound before it is answered.
    pub(crate) fn leg_sends_media(&mut self, uuid: &Uuid) {
        if self.channels.get(uuid).is_none_or(|channel| !channel.outbound || channel.is_answered()) {
            return;
        }
        self.first_reply(uuid);
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if channel.endpoint == Endpoint::Sofia {
            sip::described(&mut channel.variables, &mut self.random);
            self.set_codecs(uuid, "switch_core_session_set_real_read_codec");
        }
        self.mark_early(uuid);
        self.tell_originator(uuid, true);
        let attempt = self.channels.get(uuid).and_then(|channel| channel.dialling.as_ref());
        if let Some(attempt) = attempt.map(|dialling| dialling.attempt) {
            self.leg_has_media(attempt, uuid);
        }
    }

    /// The dialled phone is answered.
    pub(crate) fn leg_answers(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get(uuid) else { return };
        if !channel.outbound || channel.is_answered() || channel.hangup.is_some() {
            return;
        }
        let attempt = channel.dialling.as_ref().map(|dialling| dialling.attempt);
        let partner = channel.bridge_partner().map(Uuid::from);
        self.answer(uuid);
        match (attempt, partner) {
            (Some(attempt), _) => self.leg_wins(attempt, uuid),
            // It was bridged for its early media; now its caller is answered too.
            (None, Some(partner)) => self.answer(&partner),
            (None, None) => {}
        }
    }

    /// Whoever waits for the leg hears what it does: ringing, or early media.
    fn tell_originator(&mut self, uuid: &Uuid, media: bool) {
        let attempt = self.channels.get(uuid).and_then(|channel| channel.dialling.as_ref());
        let Some(attempt) = attempt.map(|dialling| dialling.attempt) else { return };
        let Some(DialPurpose::Bridge { originator }) = self.attempts.purpose(attempt) else { return };
        let originator = originator.clone();
        let unheard = |channel: &crate::channel::Channel| {
            let times = channel.profile.as_ref().map(|profile| &profile.times);
            channel.endpoint == Endpoint::Sofia
                && !channel.outbound
                && times.is_some_and(|times| times.answered + times.progress + times.progress_media == 0)
        };
        if self.channels.get(&originator).is_some_and(unheard) && !media {
            self.progress(&originator, false);
        }
    }

    /// What the first reply to the INVITE brings.
    pub(crate) fn first_reply(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let Some(profile) = &mut channel.profile else { return };
        if channel.endpoint != Endpoint::Sofia || channel.variables.get("sip_reply_host").is_some() {
            return;
        }
        profile.network_address = "127.0.0.1".into();
        let caller = (profile.caller_id_name.as_str(), profile.caller_id_number.as_str());
        let destination = profile.destination_number.as_str();
        let callee = (destination, self.config.user_agent_of(destination));
        sip::replied(&mut channel.variables, caller, callee, &mut self.random);
    }

    /// An originated leg becomes a caller: its callee is now who it calls from.
    pub(crate) fn flip_caller(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.hit_dialplan = true;
        let Some(profile) = &mut channel.profile else { return };
        let (previous_name, previous_number) =
            (profile.caller_id_name.clone(), profile.caller_id_number.clone());
        std::mem::swap(&mut profile.caller_id_name, &mut profile.callee_id_name);
        std::mem::swap(&mut profile.caller_id_number, &mut profile.callee_id_number);
        if !previous_name.is_empty() {
            channel.variables.set("pre_transfer_caller_id_name", previous_name);
        }
        channel.variables.set("pre_transfer_caller_id_number", previous_number);
        channel.variables.set("channel_cid_flipped", "yes");
        let bond = channel.variables.get("signal_bond").unwrap_or_default().to_owned();
        let before = [("Direction", "RECV"), ("Bridged-To", bond.as_str())];
        self.fire_channel(uuid, "CALL_UPDATE", &before, &[]);
    }

    /// What an originated leg is to do goes on in its own thread, after the reply to `originate`.
    pub(crate) fn begin_originated(&mut self, uuid: &Uuid, then: Then) {
        match then {
            Then::Application(action) => {
                let call_uuid = uuid.to_string();
                self.modify(uuid, |channel| {
                    channel.variables.set("call_uuid", call_uuid);
                    channel.actions = [action].into();
                    channel.next = Some(Next::Originated);
                });
            }
            Then::Extension { number, dialplan, context } => {
                self.transfer(uuid, &number, &dialplan, &context);
            }
        }
        self.make_runnable(uuid);
    }
}

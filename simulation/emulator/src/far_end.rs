//! The other end of a leg: what the person or the machine there does, and when.

use std::collections::VecDeque;
use std::time::Duration;

use crate::cause::Cause;
use crate::channel::{CallState, Uuid};
use crate::config::Answer;
use crate::custom::Contents;
use crate::ledger::HungUpBy;
use crate::limits::FAR_END_STEPS_MAX;
use crate::sip;
use crate::switch::{Switch, Timer};
use crate::time::Time;

/// One thing that the far end of a leg does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A dialled phone rings (180).
    Rings,
    /// A dialled phone sends sound before it is answered (183).
    SendsEarlyMedia,
    /// A dialled phone is answered.
    Answers,
    /// A dialled phone refuses.
    Refuses(Cause),
    /// Does nothing until the leg is answered, by whichever side.
    WaitsForAnswer,
    /// A caller's phone confirms the answer (ACK). Without this step it does so at once.
    Acknowledges,
    /// Presses keys, which come as RTP events (RFC 4733).
    Presses(String),
    /// Presses keys, which come as SIP INFO: reported, and heard by no application.
    PressesByInfo(String),
    /// Puts the call on hold.
    Holds,
    /// Takes the call off hold.
    Resumes,
    /// Transfers whoever it talks to to this number (a blind REFER).
    Transfers(String),
    /// Hangs up.
    HangsUp,
}

/// An [`Act`] and when it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The time since the step before; of the first one, since the leg came to be.
    pub after: Duration,
    /// What is done then.
    pub act: Act,
}

impl Step {
    /// A step of these two.
    pub fn new(after: Duration, act: Act) -> Self {
        Self { after, act }
    }
}

/// What a leg's far end has still to do.
#[derive(Debug, Default)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    due: Option<Time>,
}

impl Script {
    /// The script of a call, cut off at the limit.
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().take(FAR_END_STEPS_MAX).collect(), due: None }
    }

    /// Whether its next step is to be done now.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether it confirms the answer when it is told to, rather than at once.
    pub(crate) fn acknowledges(&self) -> bool {
        self.steps.iter().any(|step| step.act == Act::Acknowledges)
    }

    fn waits_for_answer(&self) -> bool {
        self.due.is_none() && self.steps.front().is_some_and(|step| step.act == Act::WaitsForAnswer)
    }
}

/// What a dialled destination does that behaves like this.
pub(crate) fn steps_of(answer: Answer) -> Vec<Step> {
    match answer {
        Answer::Answers { ring_after, answer_after } => vec![
            Step::new(ring_after, Act::Rings),
            Step::new(answer_after.saturating_sub(ring_after), Act::Answers),
        ],
        Answer::AnswersWithoutRinging { after } => vec![Step::new(after, Act::Answers)],
        Answer::Rings { ring_after } => vec![Step::new(ring_after, Act::Rings)],
        Answer::EarlyMedia { media_after, answer_after } => {
            let answers =
                answer_after.map(|after| Step::new(after.saturating_sub(media_after), Act::Answers));
            [Step::new(media_after, Act::SendsEarlyMedia)].into_iter().chain(answers).collect()
        }
        Answer::Refuses { after, cause } => vec![Step::new(after, Act::Refuses(cause))],
    }
}

impl Switch {
    /// Gives a leg's far end its script, which begins now.
    pub(crate) fn set_script(&mut self, uuid: &Uuid, script: Script) {
        self.modify(uuid, |channel| channel.script = script);
        self.arm_script(uuid);
    }

    fn arm_script(&mut self, uuid: &Uuid) {
        let now = self.now;
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let Some(step) = channel.script.steps.front() else { return };
        if step.act == Act::WaitsForAnswer && !channel.is_answered() {
            return;
        }
        let at = now + step.after;
        channel.script.due = Some(at);
        self.arm(at, Timer::FarEnd(uuid.clone()));
    }

    /// The leg was answered: a far end that waited for it goes on.
    pub(crate) fn script_heard_answer(&mut self, uuid: &Uuid) {
        if self.channels.get(uuid).is_some_and(|channel| channel.script.waits_for_answer()) {
            self.arm_script(uuid);
        }
    }

    /// The moment of a far end's next step has come.
    pub(crate) fn far_end_acts(&mut self, uuid: &Uuid) {
        let now = self.now;
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if channel.hangup.is_some() || !channel.script.is_due(now) {
            return;
        }
        channel.script.due = None;
        let Some(step) = channel.script.steps.pop_front() else { return };
        self.act(uuid, step.act);
        self.arm_script(uuid);
    }

    fn act(&mut self, uuid: &Uuid, act: Act) {
        match act {
            Act::Rings => self.leg_rings(uuid),
            Act::SendsEarlyMedia => self.leg_sends_media(uuid),
            Act::Answers => self.leg_answers(uuid),
            Act::Refuses(cause) => self.hang_up(uuid, cause, HungUpBy::Remote),
            Act::WaitsForAnswer => {}
            Act::Acknowledges => self.modify_sip(uuid, sip::acknowledged),
            Act::Presses(digits) => {
                self.receive_digits(uuid, &digits, "RTP");
            }
            Act::PressesByInfo(digits) => self.receive_info_digits(uuid, &digits),
            Act::Holds => self.far_end_holds(uuid, true),
            Act::Resumes => self.far_end_holds(uuid, false),
            Act::Transfers(number) => self.far_end_transfers(uuid, &number),
            Act::HangsUp => self.far_end_hangs_up(uuid),
        }
    }

    /// BYE, or CANCEL of a call that was not answered.
    pub(crate) fn far_end_hangs_up(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get(uuid) else { return };
        let over = channel.is_answered() || channel.outbound;
        let cause = if over { "NORMAL_CLEARING" } else { "ORIGINATOR_CANCEL" };
        self.hang_up(uuid, Cause::named(cause), HungUpBy::Remote);
    }

    /// A re-INVITE that holds or resumes (transcript b_formats_call_life/hold_unhold_plain).
    pub(crate) fn far_end_holds(&mut self, uuid: &Uuid, holds: bool) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if !channel.is_answered() || channel.hangup.is_some() || holds == channel.is_held() {
            return;
        }
        let flow = if holds { ("sendonly", "recvonly") } else { ("sendrecv", "sendrecv") };
        sip::reinvited(&mut channel.variables, flow);
        self.mark_hold(uuid, holds, true);
        self.modify_sip(uuid, sip::reinvite_acknowledged);
        let origin = ("sofia.c", "sofia_handle_sip_i_state", "8501");
        let before = [("Unique-ID", &**uuid)];
        self.fire_custom("sofia::reinvite", origin, Contents { before: &before, ..Contents::default() });
        if !holds {
            self.set_call_state(uuid, CallState::Active);
        }
    }

    /// The phone transfers its partner: a blind REFER (transcript m_transfer/sip_refer_blind_bridged). Without a
    /// partner sofia reports an error and does nothing (m_transfer/sip_refer_blind).
    fn far_end_transfers(&mut self, uuid: &Uuid, number: &str) {
        let partner = self.channels.get(uuid).and_then(|channel| channel.bridge_partner().map(Uuid::from));
        let told_to = partner.as_deref().unwrap_or(number).to_owned();
        self.modify(uuid, |channel| {
            let variables = &mut channel.variables;
            variables.set("transfer_disposition", "recv_replace");
            variables.set("transfer_to", format!("blind:{told_to}"));
            variables.set("transfer_destination", format!("blind:{number}"));
        });
        let Some(partner) = partner else {
            let refer_to = format!("<sip:{number}@127.0.0.1:5080>");
            let before = [
                ("Error-Type", "blind_transfer"),
                ("Transfer-Exten", number),
                ("Full-Refer-To", refer_to.as_str()),
            ];
            let contents =
                Contents { before: &before, channel: Some(uuid), variables: true, ..Contents::default() };
            let origin = ("sofia.c", "sofia_handle_sip_i_refer", "9698");
            self.fire_custom("sofia::error", origin, contents);
            return self.set_variable(uuid, "endpoint_disposition", "ATTENDED_TRANSFER_ERROR");
        };
        let caller = self.channels.get(uuid).and_then(|channel| channel.profile.as_ref());
        let caller = caller.map(|profile| profile.caller_id_number.clone()).unwrap_or_default();
        self.modify(uuid, |channel| {
            let variables = &mut channel.variables;
            variables.set("transfer_fallback_extension", caller);
            variables.set("endpoint_disposition", "BLIND_TRANSFER");
        });
        let (from, to) = (self.address_of(uuid), format!("<sip:{number}@127.0.0.1:5080>"));
        self.modify(&partner, |channel| {
            channel.variables.set("sip_h_Referred-By", from);
            channel.variables.set("sip_refer_to", to);
        });
        self.transfer(&partner, number, "XML", "");
    }

    /// A leg's phone, as SIP writes it.
    fn address_of(&self, uuid: &str) -> String {
        let name = self.channels.get(uuid).map_or("", |channel| channel.name.as_str());
        format!("<sip:{}>", name.rsplit('/').next().unwrap_or_default())
    }
}

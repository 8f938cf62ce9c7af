//! Bridges: the application, and the two API ways into one and out of it.

use super::Started;
use crate::cause::Cause;
use crate::channel::{CallState, DialPurpose, Doing, Endpoint, Next, State, Uuid};
use crate::dial::Dialled;
use crate::dial_string::DialString;
use crate::ledger::HungUpBy;
use crate::switch::Switch;

impl Switch {
    pub(super) fn start_bridge(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let mut dial_string = DialString::parse(argument);
        let Some(channel) = self.channels.get(uuid) else { return Started::Done(None) };
        let exported = channel.variables.get("export_vars").unwrap_or_default().split(',');
        let exported: Vec<(String, String)> = exported
            .filter_map(|name| Some((name.to_owned(), channel.variables.get(name)?.to_owned())))
            .collect();
        dial_string.variables.splice(0..0, exported);
        if channel.is_answered() {
            self.set_call_state(uuid, CallState::RingWait);
        }
        let purpose = DialPurpose::Bridge { originator: uuid.clone() };
        match self.dial(&dial_string, purpose) {
            Dialled::Leg(leg) => Started::Runs(Doing::Dialling { leg }, None),
            Dialled::Refused(cause) => {
                self.bridge_failed(uuid, cause);
                Started::Done(None)
            }
        }
    }

    /// The variables of a bridge that did not come to be, and what `continue_on_fail` says about the call.
    fn bridge_failed(&mut self, uuid: &Uuid, cause: Cause) {
        let dial_status = match cause.name() {
            "USER_BUSY" => "BUSY",
            "NO_ANSWER" => "NOANSWER",
            "ORIGINATOR_CANCEL" => "CANCEL",
            "CHAN_NOT_IMPLEMENTED" | "USER_NOT_REGISTERED" | "INVALID_GATEWAY" => "CHANUNAVAIL",
            other => other,
        };
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let variables = &mut channel.variables;
        variables.set("originate_disposition", cause.name());
        variables.set("DIALSTATUS", dial_status);
        variables.set("last_bridge_hangup_cause", cause.name());
        variables.set("bridge_hangup_cause", cause.name());
        let wanted = variables.get("continue_on_fail").unwrap_or_default().to_owned();
        let goes_on = variables.is_true("continue_on_fail")
            || wanted.split(',').any(|name| Cause::known(name) == Some(cause));
        if channel.is_answered() {
            self.set_call_state(uuid, CallState::Active);
        }
        if !goes_on {
            self.hang_up(uuid, cause, HungUpBy::Switch);
        }
    }

    /// The leg that `bridge` dialled has failed.
    pub(crate) fn dialled_leg_failed(&mut self, originator: &Uuid, leg: &str, cause: Cause) {
        let Some(channel) = self.channels.get_mut(originator) else { return };
        let dialling = channel
            .stack
            .iter_mut()
            .find(|frame| matches!(&frame.doing, Doing::Dialling { leg: own } if **own == *leg));
        let Some(frame) = dialling else { return };
        frame.doing = Doing::Ended { response: "" };
        frame.interrupted = true;
        self.bridge_failed(originator, cause);
        self.make_runnable(originator);
    }

    /// `bridge` ends before its leg was answered.
    pub(super) fn abandon_dialling(&mut self, leg: &Uuid) {
        self.hang_up(leg, Cause::named("ORIGINATOR_CANCEL"), HungUpBy::Switch);
    }

    /// The leg that `bridge` dialled is answered: the two talk.
    pub(crate) fn dialled_leg_answered(&mut self, originator: &Uuid, leg: &Uuid) {
        let Some(channel) = self.channels.get_mut(originator) else { return };
        let dialling = channel
            .stack
            .iter_mut()
            .find(|frame| matches!(&frame.doing, Doing::Dialling { leg: own } if own == leg));
        let Some(frame) = dialling else { return };
        frame.doing = Doing::Bridged { leg: leg.clone() };
        self.link_profiles(originator, leg);
        self.answer(originator);
        self.set_call_state(originator, CallState::Active);
        let callee =
            self.channels.get(leg).map(|channel| channel.destination().to_owned()).unwrap_or_default();
        self.modify(originator, |channel| {
            let variables = &mut channel.variables;
            variables.set("originated_legs", format!("{leg};Outbound Call;{callee}"));
            variables.set("originate_disposition", "SUCCESS");
            variables.set("DIALSTATUS", "SUCCESS");
            variables.set("originate_causes", format!("{leg};NONE"));
            variables.set("signal_bond", &**leg);
        });
        self.bridge_stands(originator, leg);
        self.push_state(leg, Doing::Exchange);
        self.enter_state(leg, State::ExchangeMedia);
        self.update_call(leg, originator);
        self.update_call(originator, leg);
    }

    /// Each leg learns who the other is.
    fn link_profiles(&mut self, originator: &Uuid, leg: &Uuid) {
        let profile_of =
            |switch: &Self, uuid| switch.channels.get(uuid).and_then(|channel| channel.profile.clone());
        let (first, second) = (profile_of(self, originator), profile_of(self, leg));
        self.modify(originator, |channel| {
            if let (Some(profile), Some(other)) = (&mut channel.profile, &second)
                && profile.callee_id_number.is_empty()
            {
                profile.callee_id_name.clone_from(&other.destination_number);
                profile.callee_id_number.clone_from(&other.destination_number);
            }
            channel.other_leg = second.map(|profile| ("originatee", profile));
        });
        self.modify(leg, |channel| channel.other_leg = first.map(|profile| ("originator", profile)));
    }

    /// Tells that a bridge stands, on its A leg.
    fn bridge_stands(&mut self, first: &Uuid, second: &Uuid) {
        let wall = self.wall_micros();
        for uuid in [first, second] {
            self.modify(uuid, |channel| {
                if let Some(profile) = &mut channel.profile {
                    profile.times.bridged = wall;
                }
            });
        }
        let call_uuid = first.clone();
        self.modify(second, |channel| channel.call_uuid = call_uuid);
        let before = [("Bridge-A-Unique-ID", &**first), ("Bridge-B-Unique-ID", &**second)];
        self.fire_channel(first, "CHANNEL_BRIDGE", &before, &[]);
        self.set_bridge_variables(first, second);
        self.set_bridge_variables(second, first);
    }

    fn set_bridge_variables(&mut self, uuid: &Uuid, other: &Uuid) {
        let Some(other_name) = self.channels.get(other).map(|channel| channel.name.clone()) else { return };
        self.modify(uuid, |channel| {
            let variables = &mut channel.variables;
            variables.set("bridge_to", &**other);
            variables.set("last_bridge_to", &**other);
            variables.set("bridge_channel", other_name);
            variables.set("bridge_uuid", &**other);
            variables.set("signal_bond", &**other);
        });
    }

    /// sofia tells a leg's phone whom it talks to.
    fn update_call(&mut self, uuid: &Uuid, other: &Uuid) {
        let Some(other) = self.channels.get(other) else { return };
        let (name, number) = match &other.profile {
            Some(profile) if other.outbound => {
                (profile.destination_number.clone(), profile.destination_number.clone())
            }
            Some(profile) => (profile.caller_id_name.clone(), profile.caller_id_number.clone()),
            None => return,
        };
        let other_uuid = other.uuid.clone();
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.variables.set("last_sent_callee_id_name", name.as_str());
        channel.variables.set("last_sent_callee_id_number", number.as_str());
        if channel.endpoint != Endpoint::Sofia {
            return;
        }
        let before = [
            ("Direction", "SEND"),
            ("Sent-Callee-ID-Name", name.as_str()),
            ("Sent-Callee-ID-Number", number.as_str()),
            ("Bridged-To", &*other_uuid),
        ];
        self.fire_channel_from(uuid, "CALL_UPDATE", "sofia_receive_message", &before, &[]);
    }

    /// The A leg leaves the bridge: the B leg is hung up, unless it is gone or is to be parked.
    pub(super) fn end_bridge(&mut self, uuid: &Uuid, leg: &Uuid) {
        let cause = self.channels.get(uuid).and_then(|channel| channel.hangup).map(|hangup| hangup.cause);
        let leg_cause = self.ended_cause_of(leg);
        if let Some(other) = self.channels.get_mut(leg)
            && other.hangup.is_none()
        {
            if other.variables.is_true("park_after_bridge") {
                self.leave_exchange(leg, Next::Park);
            } else {
                other.variables.set("last_bridge_role", "originatee");
                self.hang_up(leg, cause.unwrap_or(Cause::NORMAL_CLEARING), HungUpBy::Switch);
                self.run_channel(leg);
            }
        }
        let ended = leg_cause.or(cause).unwrap_or(Cause::NORMAL_CLEARING);
        self.modify(uuid, |channel| {
            let variables = &mut channel.variables;
            variables.unset("bridge_to");
            variables.unset("bridge_uuid");
            variables.set("last_bridge_role", "originator");
            variables.set("last_bridge_hangup_cause", ended.name());
            variables.set("bridge_hangup_cause", ended.name());
        });
        let before = [("Bridge-A-Unique-ID", &**uuid), ("Bridge-B-Unique-ID", &**leg)];
        self.fire_channel(uuid, "CHANNEL_UNBRIDGE", &before, &[]);
        self.modify(uuid, |channel| channel.other_leg = None);
    }

    fn ended_cause_of(&self, leg: &str) -> Option<Cause> {
        match self.channels.get(leg) {
            Some(channel) => channel.hangup.map(|hangup| hangup.cause),
            None => self.ledger.call(leg).and_then(|record| Cause::known(record.cause)),
        }
    }

    /// The B leg leaves the bridge: its partner's application ends.
    pub(super) fn end_exchange(&mut self, uuid: &Uuid) {
        let partner: Option<Uuid> =
            self.channels.get(uuid).and_then(|channel| channel.bridge_partner().map(Uuid::from));
        self.modify(uuid, |channel| {
            channel.variables.unset("bridge_to");
            channel.variables.unset("bridge_uuid");
            channel.other_leg = None;
        });
        let Some(partner) = partner else { return };
        self.modify(&partner, |channel| {
            for frame in &mut channel.stack {
                if matches!(&frame.doing, Doing::Bridged { leg } if leg == uuid) {
                    frame.interrupted = true;
                }
            }
        });
        self.make_runnable(&partner);
    }

    fn leave_exchange(&mut self, uuid: &Uuid, next: Next) {
        self.modify(uuid, |channel| {
            channel.next = Some(next);
            channel.next_state = State::Park;
        });
        self.make_runnable(uuid);
    }

    /// `uuid_bridge`: both channels leave what they do and meet (transcript m_transfer/uuid_bridge_rebridge).
    pub(crate) fn bridge_channels(&mut self, first: &Uuid, second: &Uuid) {
        let wall = self.wall_micros();
        for (uuid, other) in [(first, second), (second, first)] {
            let source = format!("{}:{}:uuid_br:{other}", wall / 1_000_000, self.random.uuid());
            self.modify(uuid, |channel| {
                channel.next_state = State::Hibernate;
                channel.actions.clear();
                if let Some(profile) = &mut channel.profile {
                    profile.transfer_source.clone_from(&source);
                    profile.index += 1;
                }
                channel.variables.push("transfer_history", &source);
                channel.variables.set("transfer_source", source);
            });
        }
        self.link_profiles(first, second);
        self.modify(second, |channel| channel.next = Some(Next::BridgedBy));
        let meet = Next::BridgeTo(second.clone());
        self.modify(first, |channel| channel.next = Some(meet));
        self.make_runnable(second);
        self.make_runnable(first);
    }

    pub(crate) fn enter_reset(&mut self, uuid: &Uuid) {
        self.enter_state(uuid, State::Hibernate);
        self.enter_state(uuid, State::Reset);
        self.enter_state(uuid, State::SoftExecute);
    }

    /// The A leg of `uuid_bridge` has left what it did.
    pub(crate) fn enter_bridge(&mut self, uuid: &Uuid, other: &Uuid) {
        self.enter_reset(uuid);
        let alive = self.channels.get(other).is_some_and(|channel| channel.hangup.is_none());
        if !alive {
            return self.hang_up(uuid, Cause::NORMAL_CLEARING, HungUpBy::Switch);
        }
        if uuid == other {
            // It waits for itself, and runs no command any more, until somebody kills it.
            self.push_state(uuid, Doing::Echo);
            return self.modify(uuid, |channel| {
                if let Some(frame) = channel.stack.last_mut() {
                    frame.event_lock = true;
                }
            });
        }
        for (one, another) in [(uuid, other), (other, uuid)] {
            let after = [("Application", "uuid_bridge"), ("Application-Data", &**another)];
            self.fire_channel_from(one, "CHANNEL_EXECUTE", "uuid_bridge_on_soft_execute", &[], &after);
        }
        self.push_state(uuid, Doing::Bridged { leg: other.clone() });
        self.bridge_stands(uuid, other);
        self.enter_state(other, State::ConsumeMedia);
        self.enter_state(other, State::ExchangeMedia);
    }
}

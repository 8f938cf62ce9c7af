//! Bridges: the application, what stands while two legs talk, and how it ends.

use super::Started;
use crate::attempt::AttemptId;
use crate::cause::Cause;
use crate::channel::{CallState, DialPurpose, Doing, Endpoint, Next, State, Uuid};
use crate::dial_string::DialString;
use crate::ledger::HungUpBy;
use crate::sip;
use crate::switch::Switch;

impl Switch {
    pub(super) fn start_bridge(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let mut dial_string = DialString::parse(argument);
        let Some(channel) = self.channels.get(uuid) else { return Started::Done(None) };
        let exported = channel.variables.get("export_vars").unwrap_or_default().split(',');
        let exported: Vec<(String, String)> = exported
            .filter_map(|name| {
                let theirs = name.strip_prefix("nolocal:").unwrap_or(name);
                Some((theirs.to_owned(), channel.variables.get(name)?.to_owned()))
            })
            .collect();
        dial_string.variables.splice(0..0, exported);
        let leaving = channel.next.is_some();
        if channel.is_answered() {
            self.set_call_state(uuid, CallState::RingWait);
        }
        let purpose = DialPurpose::Bridge { originator: uuid.clone() };
        let begun = if leaving {
            // A channel that was sent elsewhere dials nobody (transcript m_transfer/bridge_app_outcomes).
            Err(Cause::named("ORIGINATOR_CANCEL"))
        } else {
            self.begin_attempt(dial_string, purpose)
        };
        match begun {
            Ok(attempt) => Started::Runs(Doing::Dialling { attempt }, None),
            Err(cause) => {
                self.bridge_failed(uuid, cause, "");
                Started::Done(None)
            }
        }
    }

    /// The variables of a bridge that did not come to be, and what `continue_on_fail` says about the call.
    fn bridge_failed(&mut self, uuid: &Uuid, cause: Cause, causes: &str) {
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
        variables.set("originate_failed_cause", cause.name());
        variables.set("originate_causes", causes);
        let wanted = variables.get("continue_on_fail").unwrap_or_default().to_owned();
        let goes_on = variables.is_true("continue_on_fail")
            || wanted.split(',').any(|name| Cause::known(name) == Some(cause));
        let leaving = channel.next.is_some();
        if channel.is_answered() {
            self.set_call_state(uuid, CallState::Active);
        }
        if !goes_on && !leaving {
            self.hang_up(uuid, cause, HungUpBy::Switch);
        }
    }

    /// All that `bridge` dialled has failed.
    pub(crate) fn dialling_failed(&mut self, originator: &Uuid, id: AttemptId, cause: Cause, causes: &str) {
        let Some(channel) = self.channels.get_mut(originator) else { return };
        let Some(frame) = channel.stack.iter_mut().find(|frame| frame.dials(id)) else { return };
        frame.doing = Doing::Ended { response: "" };
        frame.interrupted = true;
        self.bridge_failed(originator, cause, causes);
        self.make_runnable(originator);
    }

    /// A leg that `bridge` dialled is answered, or has early media: the two talk.
    pub(crate) fn dialled_leg_won(&mut self, originator: &Uuid, id: AttemptId, leg: &Uuid, causes: &str) {
        let answered = self.channels.get(leg).is_some_and(|channel| channel.is_answered());
        let Some(channel) = self.channels.get_mut(originator).filter(|channel| channel.hangup.is_none())
        else {
            return self.hang_up(leg, Cause::named("ORIGINATOR_CANCEL"), HungUpBy::Switch);
        };
        let Some(frame) = channel.stack.iter_mut().find(|frame| frame.dials(id)) else { return };
        frame.doing = Doing::Bridged { leg: leg.clone() };
        self.link_profiles(originator, leg);
        if answered {
            self.answer(originator);
            self.set_call_state(originator, CallState::Active);
        } else {
            self.progress(originator, true);
        }
        let profile = self.channels.get(leg).and_then(|channel| channel.profile.as_ref());
        let callee = profile.map(|profile| profile.callee_id_number.clone()).unwrap_or_default();
        let description = self.channels.get(leg).and_then(|channel| channel.variables.get("switch_r_sdp"));
        let description = description.map(str::to_owned);
        self.modify(originator, |channel| {
            let variables = &mut channel.variables;
            variables.set("originated_legs", format!("{leg};Outbound Call;{callee}"));
            if let Some(description) = description.filter(|_| channel.endpoint == Endpoint::Sofia) {
                sip::bridged(variables, &description);
            }
            variables.set("originate_disposition", "SUCCESS");
            variables.set("DIALSTATUS", "SUCCESS");
            variables.set("originate_causes", causes);
            variables.set("signal_bond", &**leg);
        });
        self.bridge_stands(originator, leg);
        self.push_state(leg, Doing::Exchange);
        self.enter_state(leg, State::ExchangeMedia);
        self.update_calls(originator, leg);
    }

    /// Each leg learns who the other is.
    pub(super) fn link_profiles(&mut self, originator: &Uuid, leg: &Uuid) {
        let profile_of =
            |switch: &Self, uuid| switch.channels.get(uuid).and_then(|channel| channel.profile.clone());
        let (first, second) = (profile_of(self, originator), profile_of(self, leg));
        self.modify(leg, |channel| {
            channel.other_leg = first.map(|mut profile| {
                profile.times = Default::default();
                profile.transfer_source.clear();
                ("originator", profile)
            });
        });
        self.modify(originator, |channel| {
            if let (Some(profile), Some(other)) = (&mut channel.profile, &second)
                && profile.callee_id_number.is_empty()
            {
                profile.callee_id_name.clone_from(&other.destination_number);
                profile.callee_id_number.clone_from(&other.destination_number);
            }
            channel.other_leg = second.map(|mut profile| {
                profile.transfer_source.clear();
                ("originatee", profile)
            });
        });
    }

    /// Tells that a bridge stands, on its A leg.
    pub(super) fn bridge_stands(&mut self, first: &Uuid, second: &Uuid) {
        let wall = self.wall_micros();
        for (uuid, other) in [(first, second), (second, first)] {
            self.modify(uuid, |channel| {
                channel.bridged_to = Some(other.clone());
                if let Some(profile) = &mut channel.profile {
                    profile.times.bridged = wall;
                }
            });
        }
        let call_uuid = first.clone();
        self.modify(second, |channel| channel.call_uuid = call_uuid);
        let before = [("Bridge-A-Unique-ID", &**first), ("Bridge-B-Unique-ID", &**second)];
        self.fire_channel(first, "CHANNEL_BRIDGE", &before, &[]);
        self.set_variable(second, "call_uuid", &**first);
        self.set_bridge_variables(first, second);
        self.set_bridge_variables(second, first);
        self.track(first);
        self.track(second);
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

    /// The legs of a bridge learn whom they talk to.
    pub(super) fn update_calls(&mut self, first: &Uuid, second: &Uuid) {
        self.update_call(second, first, false);
        self.update_call(first, second, true);
    }

    /// sofia tells a leg's phone whom it talks to: the callee that the other leg has, or its caller.
    fn update_call(&mut self, uuid: &Uuid, other: &Uuid, is_callee: bool) {
        let Some(other) = self.channels.get(other) else { return };
        let Some(profile) = &other.profile else { return };
        let sofia_callee = is_callee && other.outbound && other.endpoint == Endpoint::Sofia;
        let (name, number) = if sofia_callee {
            (&profile.destination_number, &profile.destination_number)
        } else if is_callee && other.outbound && !profile.callee_id_number.is_empty() {
            (&profile.callee_id_name, &profile.callee_id_number)
        } else {
            (&profile.caller_id_name, &profile.caller_id_number)
        };
        let (name, number) = (if name.is_empty() { number } else { name }.clone(), number.clone());
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

    /// The A leg leaves the bridge: the B leg is hung up, unless it is gone, goes elsewhere or is to be parked.
    pub(super) fn end_bridge(&mut self, uuid: &Uuid, leg: &Uuid) {
        let own_cause = self.channels.get(uuid).and_then(|channel| channel.hangup).map(|hangup| hangup.cause);
        let ended_before = self.ended_cause_of(leg);
        self.let_go(uuid, leg, own_cause);
        let leg_cause = self.ended_cause_of(leg);
        if let Some(cause) = leg_cause.filter(|_| ended_before.is_none() && own_cause.is_none()) {
            // It was hung up because this one went elsewhere.
            self.set_variable(uuid, "last_bridge_hangup_cause", cause.name());
        }
        self.left_bridge(uuid, leg_cause);
        let before = [("Bridge-A-Unique-ID", &**uuid), ("Bridge-B-Unique-ID", &**leg)];
        self.fire_channel(uuid, "CHANNEL_UNBRIDGE", &before, &[]);
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if let Some(outer) = channel.stack.iter().rev().find_map(|frame| frame.bridged_leg()) {
            // An attended transfer is over: the bridge from which it was begun stands again.
            channel.bridged_to = Some(outer.clone());
        }
        if channel.hangup.is_some() || channel.next.is_some() {
            return;
        }
        if let Some(cause) = ended_before.filter(|_| channel.variables.is_true("hangup_after_bridge")) {
            self.hang_up(uuid, cause, HungUpBy::Switch);
        } else {
            self.goes_after_bridge(uuid);
        }
    }

    /// What the B leg of a bridge that its A leg leaves does.
    fn let_go(&mut self, uuid: &Uuid, leg: &Uuid, cause: Option<Cause>) {
        let Some(other) = self.channels.get(leg) else { return };
        if other.hangup.is_some() || other.next.is_some() || other.bridged_to.as_ref() != Some(uuid) {
            return;
        }
        if !self.goes_after_bridge(leg) {
            // Its thread has left the bridge before it is hung up.
            self.modify(leg, |channel| {
                channel.bridged_to = None;
                channel.variables.unset("bridge_to");
            });
            self.hang_up(leg, cause.unwrap_or(Cause::NORMAL_CLEARING), HungUpBy::Switch);
            if let Some(cause) = cause {
                self.set_variable(leg, "bridge_hangup_cause", cause.name());
            }
        }
        self.run_channel(leg);
    }

    /// `park_after_bridge` and `transfer_after_bridge`; `false` if neither is set.
    fn goes_after_bridge(&mut self, uuid: &Uuid) -> bool {
        let Some(channel) = self.channels.get_mut(uuid) else { return false };
        if channel.variables.is_true("park_after_bridge") {
            channel.next = Some(Next::Park);
            channel.next_state = State::Park;
            channel.actions.clear();
            self.make_runnable(uuid);
            return true;
        }
        let target = channel.variables.get("transfer_after_bridge").map(str::to_owned);
        let Some(target) = target else { return false };
        let mut parts = target.split(':');
        let number = parts.next().unwrap_or_default();
        let dialplan = parts.next().filter(|part| !part.is_empty()).unwrap_or("XML");
        self.transfer(uuid, number, dialplan, parts.next().unwrap_or_default())
    }

    fn ended_cause_of(&self, leg: &str) -> Option<Cause> {
        match self.channels.get(leg) {
            Some(channel) => channel.hangup.map(|hangup| hangup.cause),
            None => self.ledger.call(leg).and_then(|record| Cause::known(record.cause)),
        }
    }

    /// A leg talks to nobody any more, because one of the two hung up for `cause` or because one went elsewhere.
    fn left_bridge(&mut self, uuid: &str, cause: Option<Cause>) {
        self.modify(uuid, |channel| {
            channel.bridged_to = None;
            channel.variables.unset("bridge_to");
            if let Some(cause) = cause {
                channel.variables.set("bridge_hangup_cause", cause.name());
            } else if channel.hangup.is_none()
                && !matches!(channel.next, Some(Next::BridgeTo(_) | Next::BridgedBy))
            {
                channel.variables.unset("signal_bond");
            }
        });
    }

    /// The B leg leaves the bridge: its partner's application ends.
    pub(super) fn end_exchange(&mut self, uuid: &Uuid) {
        let partner: Option<Uuid> =
            self.channels.get(uuid).and_then(|channel| channel.bridge_partner().map(Uuid::from));
        let partner_cause = partner.as_ref().and_then(|partner| self.ended_cause_of(partner));
        let hung_up = self.channels.get(uuid).is_some_and(|channel| channel.hangup.is_some());
        self.left_bridge(uuid, partner_cause);
        self.is_its_own_call(uuid);
        let Some(partner) = partner else { return };
        self.modify(&partner, |channel| {
            if !hung_up && channel.next.is_none() {
                channel.variables.unset("signal_bond");
            }
            for frame in &mut channel.stack {
                if frame.bridged_leg() == Some(uuid) {
                    frame.interrupted = true;
                }
            }
        });
        self.make_runnable(&partner);
    }
}

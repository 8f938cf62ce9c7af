//! Bridges that join two channels which exist already: `uuid_bridge`, `intercept`, `att_xfer`.

use super::Started;
use crate::cause::Cause;
use crate::channel::{Doing, Next, State, Uuid};
use crate::dialplan::Action;
use crate::ledger::HungUpBy;
use crate::switch::Switch;

impl Switch {
    /// `uuid_bridge`: both channels leave what they do and meet (transcript m_transfer/uuid_bridge_rebridge).
    pub(crate) fn bridge_channels(&mut self, first: &Uuid, second: &Uuid) {
        self.link_profiles(first, second);
        self.set_variable(first, "uuid_bridge", &**second);
        self.prepare_to_meet(first, second);
        self.modify(first, |channel| channel.next = Some(Next::BridgeTo(second.clone())));
        if first != second {
            self.prepare_to_meet(second, first);
            self.modify(second, |channel| {
                channel.next = Some(Next::BridgedBy);
                // From now on it is the one that was called.
                channel.hit_dialplan = channel.hit_dialplan && !channel.outbound;
            });
        }
        self.make_runnable(first);
        self.make_runnable(second);
    }

    fn prepare_to_meet(&mut self, uuid: &Uuid, other: &Uuid) {
        let wall = self.wall_micros();
        let source = format!("{}:{}:uuid_br:{other}", wall / 1_000_000, self.random.uuid());
        let Some(other_name) = self.channels.get(other).map(|channel| channel.name.clone()) else { return };
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.next_state = if uuid == other { State::ConsumeMedia } else { State::Hibernate };
        channel.actions.clear();
        let variables = &mut channel.variables;
        variables.set("bridge_channel", other_name);
        variables.set("bridge_uuid", &**other);
        variables.set("signal_bond", &**other);
        if let Some(profile) = &mut channel.profile {
            for (name, value) in [
                ("original_destination_number", &profile.destination_number),
                ("original_caller_id_name", &profile.caller_id_name),
                ("original_caller_id_number", &profile.caller_id_number),
            ] {
                variables.set(name, value.as_str());
            }
            profile.logical_direction = "inbound";
            profile.transfer_source.clone_from(&source);
            if profile.index > 1 {
                profile.times.profile_created = wall;
            }
            profile.index += 1;
            profile.times.bridged = 0;
        }
        variables.push("transfer_history", &source);
        variables.set("transfer_source", source);
    }

    pub(crate) fn enter_reset(&mut self, uuid: &Uuid, from: State) {
        // A channel that is in such a bridge already does not hibernate first.
        if self.channels.get(uuid).is_some_and(|channel| channel.state != State::SoftExecute) {
            self.enter_state(uuid, from);
        }
        self.enter_state(uuid, State::Reset);
        self.enter_state(uuid, State::SoftExecute);
    }

    /// The A leg of `uuid_bridge` has left what it did.
    pub(crate) fn enter_bridge(&mut self, uuid: &Uuid, other: &Uuid) {
        if uuid == other {
            return self.enter_bridge_with_itself(uuid);
        }
        self.enter_reset(uuid, State::Hibernate);
        if !self.comes_to_meet(other) {
            return self.hang_up(uuid, Cause::NORMAL_CLEARING, HungUpBy::Switch);
        }
        self.modify(uuid, |channel| channel.variables.unset("uuid_bridge"));
        self.set_variable(other, "call_uuid", &**other);
        for (one, another) in [(uuid, other), (other, uuid)] {
            let after = [("Application", "uuid_bridge"), ("Application-Data", &**another)];
            self.fire_channel_from(one, "CHANNEL_EXECUTE", "uuid_bridge_on_soft_execute", &[], &after);
            self.modify(one, |channel| {
                channel.shown_application = Some(Action::new("uuid_bridge", &**another))
            });
        }
        self.push_state(uuid, Doing::Bridged { leg: other.clone() });
        self.bridge_stands(uuid, other);
        self.enter_state(other, State::ConsumeMedia);
        self.enter_state(other, State::ExchangeMedia);
        self.update_calls(uuid, other);
    }

    /// Whether the other one is there, or on its way; then it gets there first. One that was sent elsewhere meanwhile
    /// does not come.
    fn comes_to_meet(&mut self, other: &Uuid) -> bool {
        let Some(channel) = self.channels.get(other).filter(|channel| channel.hangup.is_none()) else {
            return false;
        };
        let waits = channel.stack.iter().any(|frame| matches!(frame.doing, Doing::Exchange));
        let comes = matches!(channel.next, Some(Next::BridgedBy));
        if comes {
            self.run_channel(other);
        }
        waits || comes
    }

    /// It waits for itself, and runs no command any more, until somebody kills it (transcript
    /// m_transfer/uuid_bridge_bad).
    fn enter_bridge_with_itself(&mut self, uuid: &Uuid) {
        self.enter_reset(uuid, State::ConsumeMedia);
        self.modify(uuid, |channel| channel.variables.unset("uuid_bridge"));
        self.push_state(uuid, Doing::Echo);
        self.modify(uuid, |channel| {
            if let Some(frame) = channel.stack.last_mut() {
                frame.event_lock = true;
            }
        });
    }

    /// `intercept [-bleg] <uuid>`: takes a leg away from whom it talks to.
    pub(super) fn start_intercept(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let (of_partner, target) = match argument.trim().strip_prefix("-bleg ") {
            Some(target) => (true, target.trim()),
            None => (false, argument.trim()),
        };
        let partner_of = |switch: &Self, uuid: &str| {
            switch.channels.get(uuid).and_then(|channel| channel.bridge_partner().map(Uuid::from))
        };
        let target = if of_partner { partner_of(self, target) } else { Some(Uuid::from(target)) };
        let living = |uuid: &Uuid| self.channels.get(uuid).is_some_and(|channel| channel.hangup.is_none());
        let Some(target) = target.filter(|target| living(target) && target != uuid) else {
            return Started::Done(None);
        };
        self.answer(uuid);
        let partner = partner_of(self, &target);
        self.set_variable(&target, "intercepted_by", &**uuid);
        self.set_variable(uuid, "last_intercepted_uuid", &*target);
        self.bridge_channels(uuid, &target);
        if let Some(partner) = partner {
            self.hang_up(&partner, Cause::named("PICKED_OFF"), HungUpBy::Switch);
        }
        Started::Done(None)
    }

    /// `att_xfer <dial string>`: the channel talks to a third one; when it hangs up, that one gets its partner.
    pub(super) fn start_attended_transfer(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let partner = self.channels.get(uuid).and_then(|channel| channel.bridge_partner()).map(str::to_owned);
        match partner {
            Some(partner) => {
                self.set_variable(uuid, "soft_holding_uuid", partner);
                self.start_bridge(uuid, argument)
            }
            None => Started::Done(None),
        }
    }

    /// Ends the bridge of `att_xfer`. If its channel hung up, the third one and the one that was held meet
    /// (transcript m_transfer/att_xfer).
    pub(super) fn end_attended_transfer(&mut self, uuid: &Uuid, leg: &Uuid) {
        let Some(channel) = self.channels.get(uuid) else { return };
        let hung_up = channel.hangup.is_some();
        let held: Option<Uuid> = channel.variables.get("soft_holding_uuid").map(Uuid::from);
        let alive = |uuid: &Uuid| self.channels.get(uuid).is_some_and(|channel| channel.hangup.is_none());
        let held = held.filter(|held| hung_up && alive(held) && alive(leg));
        if let Some(held) = &held {
            self.modify(leg, |channel| {
                channel.next = Some(Next::Park);
                channel.next_state = State::Park;
            });
            self.run_channel(leg);
            self.end_bridge(uuid, leg);
            self.flip_caller(leg);
            self.set_variable(leg, "att_xfer_result", "success");
            self.bridge_channels(leg, held);
            self.run_channel(leg);
        } else {
            self.end_bridge(uuid, leg);
        }
        self.modify(uuid, |channel| channel.variables.unset("soft_holding_uuid"));
    }
}

//! The life of a leg: how it comes to be, is answered, is hung up and ends.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cause::Cause;
use crate::channel::{CallState, Channel, Doing, Endpoint, Hangup, Next, State, Turns, Uuid};
use crate::config::InboundCall;
use crate::error::Error;
use crate::far_end::Script;
use crate::freeze::Unheard;
use crate::ledger::{CallRecord, HungUpBy};
use crate::profile::{Profile, Times};
use crate::random::Random;
use crate::report::add_report;
use crate::sip;
use crate::switch::{ConnectionId, Switch};
use crate::time::Time;
use crate::variables::Variables;

impl Switch {
    /// A call comes in. Its channel runs the dialplan at once; gives its uuid.
    pub fn inbound_call(&mut self, now: Time, call: &InboundCall) -> Result<Uuid, Error> {
        self.advance(now);
        if self.calls_stand_still() {
            return Err(Error::Frozen);
        }
        self.check_sessions()?;
        if !self.takes_calls(false) {
            return Err(Error::NotTakingCalls);
        }
        let uuid: Uuid = self.random.uuid().into();
        let name = format!("sofia/external/{}", sip::caller_address(call));
        let mut channel = self.new_channel(uuid.clone(), name, Endpoint::Sofia, false);
        channel.state = State::New;
        channel.hit_dialplan = true;
        self.add_channel(channel, &call.caller_id_number, &call.destination_number);
        self.fire_channel(&uuid, "CHANNEL_STATE", &[], &[]);
        self.describe_inbound(&uuid, call);
        self.set_codecs(&uuid, "switch_core_session_set_real_read_codec");
        self.modify(&uuid, |channel| channel.next_state = State::Init);
        self.enter_state(&uuid, State::Init);
        self.modify(&uuid, |channel| channel.next_state = State::Routing);
        self.fire_channel(&uuid, "CHANNEL_CREATE", &[], &[]);
        self.modify(&uuid, |channel| channel.state = State::Routing);
        self.set_call_state(&uuid, CallState::Ringing);
        self.enter_state(&uuid, State::Routing);
        self.route(&uuid, "XML");
        self.set_script(&uuid, Script::new(call.script.iter().cloned()));
        self.make_runnable(&uuid);
        self.run();
        Ok(uuid)
    }

    /// The person at the other end of the leg hangs up: BYE, or CANCEL of a call that was not answered.
    pub fn caller_hangup(&mut self, now: Time, uuid: &str) -> Result<(), Error> {
        self.advance(now);
        let channel = self.channels.get(uuid).filter(|channel| channel.hangup.is_none());
        let Some(channel) = channel else { return Err(Error::NoSuchChannel { uuid: uuid.to_owned() }) };
        if self.calls_stand_still() {
            self.unheard.push(Unheard::Hangup(uuid.to_owned()));
            return Ok(());
        }
        let uuid = channel.uuid.clone();
        self.far_end_hangs_up(&uuid);
        self.run();
        Ok(())
    }

    /// The person at the other end of the leg presses keys.
    pub fn caller_dtmf(&mut self, now: Time, uuid: &str, digits: &str) -> Result<(), Error> {
        self.advance(now);
        if self.calls_stand_still() && self.channels.contains_key(uuid) {
            self.unheard.push(Unheard::Digits(uuid.to_owned(), digits.to_owned()));
            return Ok(());
        }
        if !self.receive_digits(uuid, digits, "RTP") {
            return Err(Error::NoSuchChannel { uuid: uuid.to_owned() });
        }
        self.run();
        Ok(())
    }

    pub(crate) fn check_sessions(&self) -> Result<(), Error> {
        let limit = self.config.sessions_max;
        if self.channels.len() >= limit {
            return Err(Error::TooManySessions { limit });
        }
        Ok(())
    }

    /// A channel that nobody has heard of yet.
    pub(crate) fn new_channel(
        &mut self,
        uuid: Uuid,
        name: String,
        endpoint: Endpoint,
        outbound: bool,
    ) -> Channel {
        let lag = self.random_delay(&self.config.show_lag_ms.clone());
        Channel {
            call_uuid: uuid.clone(),
            uuid,
            name,
            endpoint,
            outbound,
            state: State::None,
            next_state: State::New,
            call_state: CallState::Down,
            answer_state: "ringing",
            hit_dialplan: false,
            has_read_codec: false,
            has_write_codec: false,
            profile: None,
            other_leg: None,
            variables: Variables::default(),
            scopes: Vec::new(),
            before_extension: None,
            actions: VecDeque::new(),
            stack: Vec::new(),
            queue: VecDeque::new(),
            next: None,
            dialling: None,
            on_hold: false,
            bridged_to: None,
            loopback_half: None,
            first_uuid: None,
            script: Script::default(),
            hangup: None,
            wakes_at: None,
            turns: Turns::default(),
            reads_on: false,
            digits: String::new(),
            recordings: Vec::new(),
            track: None,
            taps: Vec::new(),
            listed_at: self.now + lag,
            last_application: None,
            reported: false,
            shown_application: None,
            holds: Vec::new(),
        }
    }

    pub(crate) fn add_channel(&mut self, channel: Channel, caller: &str, destination: &str) {
        self.counts.channels_created += 1;
        self.ledger.created(CallRecord {
            uuid: channel.uuid.clone(),
            outbound: channel.outbound,
            caller: caller.to_owned(),
            destination: destination.to_owned(),
            created: self.now,
            answered: None,
            executions: Vec::new(),
            executions_dropped: 0,
            ended: None,
            cause: "",
            hung_up_by: None,
        });
        self.listing.created(channel.uuid.clone());
        let uuid = channel.uuid.clone();
        self.channels.insert(uuid.clone(), channel);
        self.log_new_channel(&uuid);
        self.peaks.count(self.now, self.channels.len());
    }

    fn describe_inbound(&mut self, uuid: &Uuid, call: &InboundCall) {
        let wall = self.wall_micros();
        let session = self.counts.channels_created;
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        sip::invited(&mut channel.variables, call, uuid, session, wall, &mut self.random);
        channel.profile = Some(Profile {
            direction: "inbound",
            logical_direction: "inbound",
            username: call.caller_id_number.clone(),
            dialplan: "XML".into(),
            caller_id_name: call.caller_id_name.clone(),
            caller_id_number: call.caller_id_number.clone(),
            original_caller_id_name: call.caller_id_name.clone(),
            original_caller_id_number: call.caller_id_number.clone(),
            network_address: "127.0.0.1".into(),
            ani: call.caller_id_number.clone(),
            destination_number: call.destination_number.clone(),
            unique_id: uuid.to_string(),
            source: "mod_sofia",
            context: call.context.clone(),
            channel_name: channel.name.clone(),
            index: 1,
            times: Times { profile_created: wall, channel_created: wall, ..Times::default() },
            ..Profile::default()
        });
    }

    /// The codecs are set, which two CODEC events tell. `function` is the one that sets the reading codec.
    pub(crate) fn set_codecs(&mut self, uuid: &Uuid, function: &'static str) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let codec = channel.endpoint.codec();
        channel.has_read_codec = true;
        let real = function == "switch_core_session_set_real_read_codec";
        channel.has_write_codec |= real;
        let read = [
            ("channel-read-codec-name", codec.name),
            ("channel-read-codec-rate", codec.rate),
            ("channel-read-codec-bit-rate", codec.bit_rate),
        ];
        self.fire_channel_from(uuid, "CODEC", function, &[], &read);
        self.modify(uuid, |channel| channel.has_write_codec = true);
        let write = [
            ("Channel-Write-Codec-Name", codec.name),
            ("Channel-Write-Codec-Rate", codec.rate),
            ("Channel-Write-codec-bit-rate", codec.bit_rate),
        ];
        self.fire_channel(uuid, "CODEC", &[], &write);
    }

    /// Changes a channel, if it is there.
    pub(crate) fn modify(&mut self, uuid: &str, change: impl FnOnce(&mut Channel)) {
        if let Some(channel) = self.channels.get_mut(uuid) {
            change(channel);
        }
    }

    pub(crate) fn set_variable(&mut self, uuid: &str, name: &str, value: impl Into<String>) {
        let by = self.channels.get(uuid).and_then(|channel| channel.commanded_by().flatten());
        self.set_variable_by(by, uuid, name, value);
    }

    /// Sets a variable for a controller, if it was one.
    pub(crate) fn set_variable_by(
        &mut self,
        by: Option<ConnectionId>,
        uuid: &str,
        name: &str,
        value: impl Into<String>,
    ) {
        self.modify(uuid, |channel| channel.variables.set(name, value));
        self.note_variable(uuid, name, by);
    }

    pub(crate) fn set_call_state(&mut self, uuid: &str, state: CallState) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if channel.call_state == state {
            return;
        }
        let original = std::mem::replace(&mut channel.call_state, state).name();
        let before =
            [("Original-Channel-Call-State", original), ("Channel-Call-State-Number", state.number())];
        self.fire_channel(uuid, "CHANNEL_CALLSTATE", &before, &[]);
    }

    /// The leg is answered, by its application `answer` or by the person that was dialled.
    pub(crate) fn answer(&mut self, uuid: &Uuid) {
        let wall = self.wall_micros();
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if channel.is_answered() || channel.hangup.is_some() {
            return;
        }
        let early = channel.answer_state == "early";
        let sofia = channel.endpoint == Endpoint::Sofia;
        let outbound = channel.outbound;
        if sofia && outbound && !early {
            self.first_reply(uuid);
            self.modify_sip(uuid, sip::answered_outbound);
            self.set_codecs(uuid, "switch_core_session_set_real_read_codec");
        } else if sofia && !outbound {
            self.modify_sip(uuid, if early { sip::answered_after_media } else { sip::answered_inbound });
        }
        self.modify(uuid, |channel| {
            channel.answer_state = "answered";
            if let Some(profile) = &mut channel.profile {
                profile.times.answered = wall;
            }
        });
        self.answer_other_half(uuid);
        self.ledger.answered(uuid, self.now);
        self.fire_channel(uuid, "CHANNEL_ANSWER", &[], &[]);
        self.set_call_state(uuid, CallState::Active);
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.variables.set("endpoint_disposition", "ANSWER");
        if sofia && !outbound && !channel.script.acknowledges() {
            sip::acknowledged(&mut channel.variables, &mut self.random);
        }
        self.script_heard_answer(uuid);
        self.track(uuid);
    }

    /// Changes what SIP says in a channel's variables.
    pub(crate) fn modify_sip(&mut self, uuid: &str, change: fn(&mut Variables, &mut Random)) {
        if let Some(channel) = self.channels.get_mut(uuid) {
            change(&mut channel.variables, &mut self.random);
        }
    }

    /// Ends a leg. The rest happens in its thread: its applications unwind, then it reports and is destroyed.
    pub(crate) fn hang_up(&mut self, uuid: &Uuid, cause: Cause, by: HungUpBy) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if channel.hangup.is_some() {
            return;
        }
        let answered = channel.is_answered();
        if channel.endpoint == Endpoint::Sofia && by == HungUpBy::Remote {
            if channel.outbound && !answered {
                if let Some(profile) = &mut channel.profile {
                    profile.network_address = "127.0.0.1".into();
                }
                sip::refused(&mut channel.variables, cause.sip(), cause.q850(), &mut self.random);
            } else {
                sip::ended_by_remote(&mut channel.variables, answered, &mut self.random);
            }
        }
        if channel.bridged_to.is_some() {
            let called = channel.stack.iter().any(|frame| matches!(frame.doing, Doing::Exchange));
            let role = if called { "originatee" } else { "originator" };
            channel.variables.set("last_bridge_role", role);
        }
        let partner = channel.bridged_to.clone();
        let why = ["sip_reason", "proto_specific_hangup_cause"]
            .map(|name| channel.variables.get(name).map(str::to_owned));
        channel.hangup = Some(Hangup { cause });
        channel.answer_state = "hangup";
        channel.next_state = State::Hangup;
        self.ledger.hung_up(uuid, cause.name(), by);
        self.tell_partner_why(partner.as_ref(), why, cause);
        self.fire_channel(uuid, "CHANNEL_HANGUP", &[], &[]);
        self.session_hung_up(uuid);
        self.modify(uuid, |channel| {
            if channel.endpoint == Endpoint::Sofia && by == HungUpBy::Remote && answered {
                sip::said_bye(&mut channel.variables);
            }
        });
        self.make_runnable(uuid);
    }

    /// Whom a channel talks to learns why it hung up.
    fn tell_partner_why(&mut self, partner: Option<&Uuid>, why: [Option<String>; 2], cause: Cause) {
        let [reason, by_protocol] = why;
        let Some(partner) = partner.and_then(|partner| self.channels.get_mut(partner)) else { return };
        if partner.hangup.is_none() {
            if let Some(reason) = reason.filter(|_| partner.endpoint == Endpoint::Sofia) {
                // What the one's phone gave as its reason is passed on to the other's, which says OK.
                partner.variables.set("sip_reason", reason);
                partner.variables.set("sip_hangup_phrase", "OK");
            }
            partner.variables.set("last_bridge_hangup_cause", cause.name());
            if let Some(by_protocol) = by_protocol {
                partner.variables.set("last_bridge_proto_specific_hangup_cause", by_protocol);
            }
        }
    }

    /// Whoever was called is a call of its own again.
    pub(crate) fn is_its_own_call(&mut self, uuid: &Uuid) {
        let own = Arc::clone(uuid);
        self.modify(uuid, |channel| {
            if channel.variables.get("call_uuid").is_some_and(|call| *call != *own) {
                channel.variables.set("call_uuid", &*own);
            }
            channel.call_uuid = own;
        });
    }

    /// The last events of a channel whose applications have unwound.
    pub(crate) fn finish(&mut self, uuid: &Uuid) {
        self.drop_queue(uuid);
        let wall = self.wall_micros();
        self.enter_state(uuid, State::Hangup);
        self.untap_all(uuid);
        self.modify(uuid, |channel| {
            if let Some(profile) = &mut channel.profile {
                profile.times.hangup = wall;
            }
            add_report(channel, wall);
        });
        self.set_call_state(uuid, CallState::Hangup);
        self.release_others(uuid);
        self.is_its_own_call(uuid);
        self.enter_state(uuid, State::Reporting);
        let cause = self
            .channels
            .get(uuid)
            .and_then(|channel| channel.hangup)
            .map_or("", |hangup| hangup.cause.name());
        // The cause comes twice in this event, as in the transcripts.
        self.fire_channel(uuid, "CHANNEL_HANGUP_COMPLETE", &[("Hangup-Cause", cause)], &[]);
        let dialling = self.channels.get_mut(uuid).and_then(|channel| channel.dialling.take());
        if let (Some(dialling), Some(cause)) = (dialling, Cause::known(cause)) {
            self.leg_failed(dialling.attempt, uuid, cause);
        }
        self.modify(uuid, |channel| channel.reported = true);
        self.session_reported(uuid);
        // A controller that lingers holds the session: it sees no CHANNEL_DESTROY while it does (transcripts
        // f_outbound/async_full_dtmf, e_filter_subscriptions/myevents_inbound).
        if !self.bus.is_controlled(uuid) {
            self.destroy(uuid);
        }
    }

    /// The end of a channel that has reported.
    pub(crate) fn destroy(&mut self, uuid: &Uuid) {
        self.modify(uuid, |channel| channel.next_state = State::Destroy);
        self.fire_channel(uuid, "CHANNEL_DESTROY", &[], &[]);
        self.enter_state(uuid, State::Destroy);
        self.remove_channel(uuid);
    }

    /// Whoever waits for a channel that hung up is told.
    fn release_others(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let Some(cause) = channel.hangup.map(|hangup| hangup.cause) else { return };
        if let Some(Next::BridgeTo(other)) = channel.next.take() {
            // It was to be bridged with one that waits for it now.
            self.hang_up(&other, cause, HungUpBy::Switch);
        }
        self.hang_up_other_half(uuid, cause);
    }

    fn remove_channel(&mut self, uuid: &Uuid) {
        let lag = self.random_delay(&self.config.show_lag_ms.clone());
        let until = self.now + lag;
        if let Some(row) = self.channel_row(uuid) {
            self.listing.ended(uuid, row, self.now, until);
        }
        if self.channels.remove(uuid).is_some() {
            self.counts.channels_ended += 1;
            self.ledger.ended(uuid, self.now);
            self.delete_tasks_of(uuid);
            self.end_if_idle();
        }
    }
}

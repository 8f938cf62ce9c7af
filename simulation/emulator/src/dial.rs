//! Dialling: a leg from its creation to its answer or failure.

use crate::cause::Cause;
use crate::channel::{CallState, DialPurpose, Dialling, Endpoint, Next, State, Then, Uuid};
use crate::config::Answer;
use crate::dial_string::{DialString, Target};
use crate::ledger::HungUpBy;
use crate::profile::{Profile, Times};
use crate::sip;
use crate::switch::Switch;

/// What dialling came to at once.
pub(crate) enum Dialled {
    /// A leg that will answer or fail.
    Leg(Uuid),
    /// Nothing: there is no leg.
    Refused(Cause),
}

impl Switch {
    /// Creates the leg of a dial string and begins to dial it.
    pub(crate) fn dial(&mut self, dial_string: &DialString, purpose: DialPurpose) -> Dialled {
        let target = match dial_string.resolve() {
            Ok(target) => target,
            Err(cause) => return Dialled::Refused(cause),
        };
        if self.check_sessions().is_err() {
            return Dialled::Refused(Cause::named("SWITCH_CONGESTION"));
        }
        let uuid = self.create_leg(dial_string, &target, &purpose);
        self.describe_create(&uuid, dial_string, &target, &purpose);
        let dialling = self.plan(dial_string, &target, purpose);
        self.modify(&uuid, |channel| channel.dialling = Some(dialling));
        self.make_runnable(&uuid);
        Dialled::Leg(uuid)
    }

    /// What will become of the leg, and when.
    fn plan(&self, dial_string: &DialString, target: &Target, purpose: DialPurpose) -> Dialling {
        let seconds = dial_string.variable("originate_timeout").or(dial_string.variable("call_timeout"));
        let seconds = seconds.and_then(|seconds| seconds.parse().ok()).map(std::time::Duration::from_secs);
        let gives_up = self.now + seconds.unwrap_or(self.config.originate_timeout);
        let fails_at = Some((gives_up, Cause::named("NO_ANSWER")));
        let at_once = target.endpoint != Endpoint::Sofia;
        let address = target.channel_name.rsplit('/').next().unwrap_or_default();
        match self.config.answer_of(&target.destination, address) {
            Answer::Answers { .. } if at_once => {
                Dialling { purpose, rings_at: None, answers_at: Some(self.now), fails_at: None }
            }
            Answer::Answers { ring_after, answer_after } => Dialling {
                purpose,
                rings_at: Some(self.now + ring_after),
                answers_at: Some(self.now + answer_after),
                fails_at,
            },
            Answer::Rings { ring_after } => {
                Dialling { purpose, rings_at: Some(self.now + ring_after), answers_at: None, fails_at }
            }
            Answer::Refuses { after, cause } => {
                let refusal = (self.now + after, cause);
                let fails_at = if refusal.0 < gives_up { Some(refusal) } else { fails_at };
                Dialling { purpose, rings_at: None, answers_at: None, fails_at }
            }
        }
    }

    /// The events up to CHANNEL_OUTGOING. An `origination_uuid` that is taken is not used (freeswitch README "Order").
    fn create_leg(&mut self, dial_string: &DialString, target: &Target, purpose: &DialPurpose) -> Uuid {
        let first: Uuid = self.random.uuid().into();
        let wanted =
            dial_string.variable("origination_uuid").filter(|wanted| !self.channels.contains_key(*wanted));
        let uuid: Uuid = wanted.map_or_else(|| first.clone(), Uuid::from);
        let renamed = uuid != first;
        let sofia = target.endpoint == Endpoint::Sofia;
        let mut channel = self.new_channel(first.clone(), target.channel_name.clone(), target.endpoint, true);
        if sofia {
            channel.uuid = uuid.clone();
            channel.call_uuid = uuid.clone();
        }
        let caller = self.caller_of(dial_string, purpose).1;
        if renamed && !sofia {
            // The codec events of a renamed leg carry the uuid that it had before.
            self.channels.insert(first.clone(), channel);
            self.set_codecs(&first, "switch_core_session_set_read_codec");
            let Some(mut channel) = self.channels.remove(&first) else { return uuid };
            channel.uuid = uuid.clone();
            channel.call_uuid = uuid.clone();
            self.add_channel(channel, &caller, &target.destination);
        } else {
            self.add_channel(channel, &caller, &target.destination);
            if !sofia {
                self.set_codecs(&uuid, "switch_core_session_set_read_codec");
            }
        }
        self.describe_leg(&uuid, dial_string, target, purpose);
        self.modify(&uuid, |channel| channel.next_state = State::Init);
        if renamed {
            self.fire_channel(&uuid, "CHANNEL_UUID", &[("Old-Unique-ID", &first)], &[]);
        }
        self.fire_channel(&uuid, "CHANNEL_OUTGOING", &[], &[]);
        uuid
    }

    /// Name and number that a dialled leg shows as its caller.
    fn caller_of(&self, dial_string: &DialString, purpose: &DialPurpose) -> (String, String) {
        let originator = match purpose {
            DialPurpose::Bridge { originator } => self.channels.get(originator),
            DialPurpose::Originate { .. } => None,
        };
        let profile = originator.and_then(|channel| channel.profile.as_ref());
        let or_else = |name: &str, inherited: Option<&String>, default: &str| {
            let given = dial_string.variable(name).map(str::to_owned);
            given.or_else(|| inherited.cloned()).unwrap_or_else(|| default.to_owned())
        };
        let name = profile.map(|profile| &profile.caller_id_name);
        let number = profile.map(|profile| &profile.caller_id_number);
        (
            or_else("origination_caller_id_name", name, ""),
            or_else("origination_caller_id_number", number, "0000000000"),
        )
    }

    fn describe_leg(
        &mut self,
        uuid: &Uuid,
        dial_string: &DialString,
        target: &Target,
        purpose: &DialPurpose,
    ) {
        let wall = self.wall_micros();
        let session = self.counts.channels_created.to_string();
        let (name, number) = self.caller_of(dial_string, purpose);
        let originator = match purpose {
            DialPurpose::Bridge { originator } => self.channels.get(originator),
            DialPurpose::Originate { .. } => None,
        };
        let originator = originator.and_then(|channel| channel.profile.clone());
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let sofia = channel.endpoint == Endpoint::Sofia;
        let inherited =
            |field: fn(&Profile) -> &String| originator.as_ref().map(field).cloned().unwrap_or_default();
        channel.profile = Some(Profile {
            direction: "outbound",
            logical_direction: "outbound",
            username: inherited(|profile| &profile.username),
            dialplan: inherited(|profile| &profile.dialplan),
            caller_id_name: name.clone(),
            caller_id_number: number.clone(),
            original_caller_id_name: name,
            original_caller_id_number: number.clone(),
            callee_id_name: "Outbound Call".into(),
            callee_id_number: target.destination.clone(),
            network_address: inherited(|profile| &profile.network_address),
            ani: number,
            destination_number: target.destination.clone(),
            unique_id: uuid.to_string(),
            source: match (sofia, &originator) {
                (true, Some(_)) => "mod_sofia",
                (true, None) => "src/switch_ivr_originate.c",
                (false, _) => "mod_loopback",
            },
            context: originator.as_ref().map_or("default".into(), |profile| profile.context.clone()),
            channel_name: channel.name.clone(),
            index: 1,
            times: Times { profile_created: wall, channel_created: wall, ..Times::default() },
            ..Profile::default()
        });
        channel.other_leg = originator.map(|mut profile| {
            profile.times = Times::default();
            ("originator", profile)
        });
        let name = channel.name.clone();
        let variables = &mut channel.variables;
        variables.set("direction", "outbound");
        variables.set("is_outbound", "true");
        if sofia {
            variables.set("uuid", &**uuid);
            variables.set("call_uuid", &**uuid);
            variables.set("session_id", session);
            variables.set("sip_local_network_addr", "127.0.0.1");
            variables.set("sip_profile_name", "external");
            variables.set("video_media_flow", "disabled");
            variables.set("text_media_flow", "disabled");
            variables.set("channel_name", name.as_str());
            let address = name.rsplit('/').next().unwrap_or_default();
            variables.set("sip_destination_url", format!("sip:{address}"));
        } else {
            variables.set("session_id", session);
            for (variable, value) in
                [("read_codec", "L16"), ("read_rate", "8000"), ("write_codec", "L16"), ("write_rate", "8000")]
            {
                variables.set(variable, value);
            }
            variables.set("channel_name", name);
            variables.set("uuid", &**uuid);
            variables.set("call_uuid", &**uuid);
        }
    }

    /// CHANNEL_STATE, CHANNEL_CREATE and CHANNEL_ORIGINATE, and the states in which a leg waits for its answer.
    fn describe_create(
        &mut self,
        uuid: &Uuid,
        dial_string: &DialString,
        target: &Target,
        purpose: &DialPurpose,
    ) {
        self.enter_state(uuid, State::Init);
        if let DialPurpose::Bridge { originator } = purpose {
            let call_uuid = originator.clone();
            self.modify(uuid, |channel| {
                channel.call_uuid = call_uuid;
                let variables = &mut channel.variables;
                variables.set("max_forwards", "69");
                variables.set("originator", &**originator);
                variables.set("signal_bond", &**originator);
                variables.set("call_uuid", &**originator);
            });
        }
        for (name, value) in &dial_string.variables {
            self.set_variable(uuid, name, value.as_str());
        }
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.variables.set("originate_early_media", "true");
        if let DialPurpose::Bridge { originator } = purpose {
            channel.variables.set("originating_leg_uuid", &**originator);
        }
        channel.variables.set("originate_endpoint", target.endpoint.name());
        if target.endpoint == Endpoint::Sofia {
            sip::dialled(&mut channel.variables, &target.channel_name, &target.destination, &mut self.random);
        }
        self.modify(uuid, |channel| channel.next_state = State::Routing);
        self.fire_channel(uuid, "CHANNEL_CREATE", &[], &[]);
        self.fire_channel(uuid, "CHANNEL_ORIGINATE", &[], &[]);
        self.enter_state(uuid, State::Routing);
        self.enter_state(uuid, State::ConsumeMedia);
    }

    /// Lets a leg ring, be answered or fail as its time comes; `false` when it has to wait.
    pub(crate) fn dial_on(&mut self, uuid: &Uuid) -> bool {
        let now = self.now;
        let Some(dialling) = self.channels.get_mut(uuid).and_then(|channel| channel.dialling.as_mut()) else {
            return true;
        };
        if dialling.rings_at.is_some_and(|at| at <= now) {
            dialling.rings_at = None;
            self.ring(uuid);
            return true;
        }
        if dialling.answers_at.is_some_and(|at| at <= now) {
            self.leg_answered(uuid);
            return true;
        }
        if let Some((at, cause)) = dialling.fails_at
            && at <= now
        {
            // Whoever dialled gives up on a leg that only rings; any other failure is the remote side's.
            let by = if cause.name() == "NO_ANSWER" { HungUpBy::Switch } else { HungUpBy::Remote };
            self.hang_up(uuid, cause, by);
            return true;
        }
        let fails_at = dialling.fails_at.map(|(at, _)| at);
        if let Some(at) = [dialling.rings_at, dialling.answers_at, fails_at].into_iter().flatten().min() {
            self.wake_at(uuid, at);
        }
        false
    }

    fn ring(&mut self, uuid: &Uuid) {
        let wall = self.wall_micros();
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let Some(profile) = &mut channel.profile else { return };
        profile.times.progress = wall;
        profile.network_address = "127.0.0.1".into();
        let (caller, destination) = (profile.caller_id_number.clone(), profile.destination_number.clone());
        sip::replied(&mut channel.variables, &caller, &destination, &mut self.random);
        self.fire_channel(uuid, "CHANNEL_PROGRESS", &[], &[]);
        self.set_call_state(uuid, CallState::Ringing);
    }

    fn leg_answered(&mut self, uuid: &Uuid) {
        let dialling = self.channels.get_mut(uuid).and_then(|channel| channel.dialling.take());
        let Some(dialling) = dialling else { return };
        self.answer(uuid);
        match dialling.purpose {
            DialPurpose::Bridge { originator } => self.dialled_leg_answered(&originator, uuid),
            DialPurpose::Originate { job, then } => {
                self.flip_caller(uuid);
                self.begin_originated(uuid, then);
                self.finish_job(job, &format!("+OK {uuid}\n"));
            }
        }
    }

    /// An originated leg becomes a caller: its callee is now who it calls from.
    fn flip_caller(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.hit_dialplan = true;
        let Some(profile) = &mut channel.profile else { return };
        let previous_number = profile.caller_id_number.clone();
        std::mem::swap(&mut profile.caller_id_name, &mut profile.callee_id_name);
        std::mem::swap(&mut profile.caller_id_number, &mut profile.callee_id_number);
        channel.variables.set("pre_transfer_caller_id_number", previous_number);
        channel.variables.set("channel_cid_flipped", "yes");
        self.fire_channel(uuid, "CALL_UPDATE", &[("Direction", "RECV")], &[]);
    }

    /// What an originated leg is to do goes on in its own thread, after the reply to `originate`.
    fn begin_originated(&mut self, uuid: &Uuid, then: Then) {
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

    /// A leg has ended that was still being dialled.
    pub(crate) fn dialling_ended(&mut self, uuid: &Uuid, purpose: &DialPurpose, cause: Cause) {
        match purpose {
            DialPurpose::Originate { job, .. } => self.finish_job(*job, &format!("-ERR {}\n", cause.name())),
            DialPurpose::Bridge { originator } => self.dialled_leg_failed(originator, uuid, cause),
        }
    }
}

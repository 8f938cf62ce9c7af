//! One leg that is dialled: how it comes to be, rings, sends media and is answered.

use std::time::Duration;

use crate::attempt::AttemptId;
use crate::cause::Cause;
use crate::channel::{CallState, DialPurpose, Dialling, Endpoint, Next, State, Then, Uuid};
use crate::config::Answer;
use crate::dial_string::{DialLeg, Target, value_of};
use crate::far_end::{Act, Script, Step, steps_of};
use crate::profile::{Profile, Times};
use crate::sip;
use crate::switch::{Switch, Timer};
use crate::time::Time;
use crate::variables::PREFIX;

impl Switch {
    /// Creates a leg of a dial string, up to CHANNEL_ORIGINATE. An `origination_uuid` that is taken is not used
    /// (freeswitch README "Order").
    pub(crate) fn create_leg(
        &mut self,
        leg: &DialLeg,
        common: &[(String, String)],
        purpose: &DialPurpose,
    ) -> Result<Uuid, Cause> {
        let target = self.resolve_leg(leg)?;
        if self.check_sessions().is_err() || !self.takes_calls(true) {
            return Err(Cause::named("SWITCH_CONGESTION"));
        }
        if leg.has_no_gateway() {
            self.stillborn_leg();
            return Err(Cause::named("INVALID_GATEWAY"));
        }
        let variables: Vec<(String, String)> = common.iter().chain(&leg.variables).cloned().collect();
        let uuid = self.name_leg(&variables, &target, purpose);
        self.describe_leg(&uuid, &variables, &target, purpose);
        self.modify(&uuid, |channel| channel.next_state = State::Init);
        if let Some(first) = self.channels.get_mut(&uuid).and_then(|channel| channel.first_uuid.take()) {
            self.modify(&uuid, |channel| {
                for name in ["uuid", "call_uuid"] {
                    channel.variables.set(name, &*uuid);
                }
            });
            let other_leg = self.channels.get_mut(&uuid).and_then(|channel| channel.other_leg.take());
            self.fire_channel(&uuid, "CHANNEL_UUID", &[("Old-Unique-ID", &first)], &[]);
            self.modify(&uuid, |channel| channel.other_leg = other_leg);
        }
        self.fire_channel(&uuid, "CHANNEL_OUTGOING", &[], &[]);
        self.describe_create(&uuid, &variables, &target, purpose);
        Ok(uuid)
    }

    /// Where a leg leads: a user of the directory to the phone that registered.
    fn resolve_leg(&mut self, leg: &DialLeg) -> Result<Target, Cause> {
        let Some((user, domain)) = leg.user_address().filter(|_| !self.config.directory.is_empty()) else {
            return leg.resolve();
        };
        let argument = format!("*/{user}@{domain}");
        let headers = [("API-Command", "sofia_contact"), ("API-Command-Argument", argument.as_str())];
        let contact = self.registrations.contact(user, domain);
        self.fire_core("API", None, &headers, None);
        let contact = contact.ok_or(Cause::named("USER_NOT_REGISTERED"))?;
        DialLeg::of(contact.replace("sip:", "")).resolve()
    }

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

    /// The session that sofia makes for a gateway which does not exist (transcript
    /// b_formats_call_life/originate_sofia_plain).
    fn stillborn_leg(&mut self) {
        let uuid: Uuid = self.random.uuid().into();
        let mut channel = self.new_channel(uuid.clone(), "N/A".into(), Endpoint::Sofia, true);
        self.counts.channels_created += 1;
        channel.next_state = State::New;
        let session = self.counts.channels_created.to_string();
        for (name, value) in [
            ("direction", "outbound"),
            ("is_outbound", "true"),
            ("uuid", &*uuid),
            ("call_uuid", &*uuid),
            ("session_id", &session),
        ] {
            channel.variables.set(name, value);
        }
        self.channels.insert(uuid.clone(), channel);
        self.fire_channel(&uuid, "CHANNEL_DESTROY", &[], &[]);
        self.modify(&uuid, |channel| channel.state = State::Destroy);
        self.fire_channel(&uuid, "CHANNEL_STATE", &[], &[]);
        self.channels.remove(&uuid);
        self.counts.channels_ended += 1;
    }

    /// Adds the leg's channel under the uuid that it is to have.
    fn name_leg(&mut self, variables: &[(String, String)], target: &Target, purpose: &DialPurpose) -> Uuid {
        let first: Uuid = self.random.uuid().into();
        let wanted = value_of(variables, "origination_uuid").filter(|wanted| !wanted.is_empty());
        let wanted = wanted.filter(|wanted| !self.channels.contains_key(*wanted));
        let uuid: Uuid = wanted.map_or_else(|| first.clone(), Uuid::from);
        let renamed = uuid != first;
        let sofia = target.endpoint == Endpoint::Sofia;
        let caller = self.caller_of(variables, purpose).1;
        // The codec events of a loopback leg carry the whole of its dial string.
        let name = target.first_name.clone();
        let mut channel = self.new_channel(first.clone(), name, target.endpoint, true);
        channel.first_uuid = renamed.then(|| first.clone());
        if !sofia {
            // The codec events of a renamed leg carry the uuid that it had before.
            self.channels.insert(first.clone(), channel);
            self.set_codecs(&first, "switch_core_session_set_read_codec");
            let Some(taken) = self.channels.remove(&first) else { return uuid };
            channel = taken;
        }
        channel.uuid = uuid.clone();
        channel.call_uuid = uuid.clone();
        channel.name.clone_from(&target.channel_name);
        self.add_channel(channel, &caller, &target.destination);
        uuid
    }

    /// Name and number that a dialled leg shows as its caller.
    fn caller_of(&self, variables: &[(String, String)], purpose: &DialPurpose) -> (String, String) {
        let originator = match purpose {
            DialPurpose::Bridge { originator } => self.channels.get(originator),
            DialPurpose::Originate { .. } => None,
        };
        let profile = originator.and_then(|channel| channel.profile.as_ref());
        let effective = |name| originator.and_then(|channel| channel.variables.get(name)).map(str::to_owned);
        let name = value_of(variables, "origination_caller_id_name")
            .map(str::to_owned)
            .or_else(|| effective("effective_caller_id_name"))
            .or_else(|| profile.map(|profile| profile.caller_id_name.clone()));
        let number = value_of(variables, "origination_caller_id_number")
            .map(str::to_owned)
            .or_else(|| effective("effective_caller_id_number"))
            .or_else(|| profile.map(|profile| profile.caller_id_number.clone()));
        (name.unwrap_or_default(), number.unwrap_or_else(|| "0000000000".into()))
    }

    fn describe_leg(
        &mut self,
        uuid: &Uuid,
        given: &[(String, String)],
        target: &Target,
        purpose: &DialPurpose,
    ) {
        let wall = self.wall_micros();
        let session = self.counts.channels_created.to_string();
        let (name, number) = self.caller_of(given, purpose);
        let originator = match purpose {
            DialPurpose::Bridge { originator } => self.channels.get(originator),
            DialPurpose::Originate { .. } => None,
        };
        let originator = originator.and_then(|channel| channel.profile.clone());
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let sofia = channel.endpoint == Endpoint::Sofia;
        let loopback = channel.endpoint == Endpoint::Loopback;
        let inherited =
            |field: fn(&Profile) -> &String| originator.as_ref().map(field).cloned().unwrap_or_default();
        channel.profile = Some(Profile {
            direction: "outbound",
            logical_direction: "outbound",
            username: inherited(|profile| &profile.username),
            dialplan: if loopback { target.dialplan.clone() } else { inherited(|profile| &profile.dialplan) },
            caller_id_name: name.clone(),
            caller_id_number: number.clone(),
            original_caller_id_name: match &originator {
                Some(profile) => profile.original_caller_id_name.clone(),
                None => name,
            },
            original_caller_id_number: match &originator {
                Some(profile) => profile.original_caller_id_number.clone(),
                None => number.clone(),
            },
            callee_id_name: "Outbound Call".into(),
            callee_id_number: target.callee.clone(),
            network_address: inherited(|profile| &profile.network_address),
            ani: number,
            destination_number: target.destination.clone(),
            unique_id: uuid.to_string(),
            source: match (sofia, &originator) {
                (true, Some(_)) => "mod_sofia",
                (true, None) => "src/switch_ivr_originate.c",
                (false, _) => "mod_loopback",
            },
            context: match &originator {
                Some(profile) if !loopback => profile.context.clone(),
                _ => target.context.clone(),
            },
            channel_name: channel.name.clone(),
            index: 1,
            times: Times { profile_created: wall, channel_created: wall, ..Times::default() },
            ..Profile::default()
        });
        channel.other_leg = originator.map(|mut profile| {
            profile.times = Times::default();
            profile.transfer_source.clear();
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
            variables.set("uuid", &**uuid);
            variables.set("call_uuid", &**uuid);
            variables.set("session_id", session);
            for (variable, value) in
                [("read_codec", "L16"), ("read_rate", "8000"), ("write_codec", "L16"), ("write_rate", "8000")]
            {
                variables.set(variable, value);
            }
            variables.set("channel_name", name);
        }
    }

    /// What a leg that is dialled for a bridge gets from the one that dials it.
    fn describe_originator(&mut self, uuid: &Uuid, originator: &Uuid) {
        let Some(caller) = self.channels.get(originator) else { return };
        let is_sofia = caller.endpoint == Endpoint::Sofia;
        let passed_on: Vec<(String, String)> = caller
            .variables
            .headers()
            .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)))
            .filter(|(name, _)| is_sofia && name.starts_with("sip_h_"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let codec = caller.endpoint.codec();
        let codec = format!("{}@{}h@20i", codec.name, codec.rate);
        let description = caller.variables.get("switch_r_sdp").unwrap_or_default().to_owned();
        self.modify(uuid, |channel| {
            channel.call_uuid = originator.clone();
            let variables = &mut channel.variables;
            for (name, value) in passed_on {
                variables.set(&name, value);
            }
            variables.set("max_forwards", "69");
            variables.set("originator_codec", codec);
            variables.set("originator", &**originator);
            variables.set("signal_bond", &**originator);
            variables.set("switch_m_sdp", description);
            variables.set("call_uuid", &**originator);
        });
    }

    /// CHANNEL_STATE, CHANNEL_CREATE and CHANNEL_ORIGINATE, and the states in which a leg waits for its answer.
    fn describe_create(
        &mut self,
        uuid: &Uuid,
        given: &[(String, String)],
        target: &Target,
        purpose: &DialPurpose,
    ) {
        self.enter_state(uuid, State::Init);
        if let DialPurpose::Bridge { originator } = purpose {
            self.describe_originator(uuid, originator);
        }
        for (name, value) in given {
            self.set_variable(uuid, name, value.as_str());
        }
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.variables.set("originate_early_media", "true");
        if let DialPurpose::Bridge { originator } = purpose {
            channel.variables.set("originating_leg_uuid", &**originator);
        }
        channel.variables.set("originate_endpoint", target.endpoint.name());
        if target.endpoint == Endpoint::Loopback {
            self.create_other_half(uuid, given, target);
        }
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if target.endpoint == Endpoint::Sofia {
            let (name, number) = (&target.channel_name, &target.destination);
            let for_bridge = matches!(purpose, DialPurpose::Bridge { .. });
            sip::dialled(&mut channel.variables, name, number, for_bridge, &mut self.random);
        }
        self.modify(uuid, |channel| channel.next_state = State::Routing);
        self.fire_channel(uuid, "CHANNEL_CREATE", &[], &[]);
        self.fire_channel(uuid, "CHANNEL_ORIGINATE", &[], &[]);
        self.enter_state(uuid, State::Routing);
        self.enter_state(uuid, State::ConsumeMedia);
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
        self.fire_channel(uuid, "CALL_UPDATE", &[("Direction", "RECV")], &[]);
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

//! One leg that is to be dialled: how it comes to be.

use crate::cause::Cause;
use crate::channel::{DialPurpose, Endpoint, State, Uuid};
use crate::dial_string::{DialLeg, Target, value_of};
use crate::profile::{Profile, Times};
use crate::sip;
use crate::switch::Switch;
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
            if let (true, DialPurpose::Bridge { originator }) = (loopback, purpose) {
                variables.set("loopback_from_uuid", &**originator);
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
}

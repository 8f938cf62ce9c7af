//! The two halves of a loopback leg: A is dialled, B runs the dialplan and answers for A (transcript
//! b_formats_call_life/originate_loopback_json).

use crate::cause::Cause;
use crate::channel::{CallState, Endpoint, State, Uuid};
use crate::dial_string::Target;
use crate::ledger::HungUpBy;
use crate::profile::Times;
use crate::switch::Switch;

impl Switch {
    /// Creates half B, as far as its codecs.
    pub(crate) fn create_other_half(&mut self, first: &Uuid, given: &[(String, String)], target: &Target) {
        let uuid: Uuid = self.random.uuid().into();
        let name = format!("loopback/{}-b", target.destination);
        let mut channel = self.new_channel(uuid.clone(), name.clone(), Endpoint::Loopback, false);
        channel.hit_dialplan = true;
        channel.loopback_half = Some(first.clone());
        let Some(half) = self.channels.get(first) else { return };
        let caller = half.profile.as_ref().map(|profile| profile.caller_id_number.clone());
        self.add_channel(channel, &caller.unwrap_or_default(), &target.destination);
        self.set_codecs(&uuid, "switch_core_session_set_read_codec");
        let session = self.counts.channels_created.to_string();
        let wall = self.wall_micros();
        let profile = self.channels.get(first).and_then(|half| half.profile.clone());
        let dialled_by = self.channels.get(first).and_then(|half| half.variables.get("loopback_from_uuid"));
        let dialled_by = dialled_by.unwrap_or_default().to_owned();
        self.modify(&uuid, |channel| {
            channel.next_state = State::Init;
            channel.profile = profile.map(|mut profile| {
                profile.direction = "inbound";
                profile.logical_direction = "inbound";
                profile.unique_id = uuid.to_string();
                profile.source = "mod_loopback";
                profile.channel_name.clone_from(&name);
                profile.times = Times { profile_created: wall, channel_created: wall, ..Times::default() };
                profile
            });
            let variables = &mut channel.variables;
            for (variable, value) in [
                ("direction", "inbound"),
                ("uuid", &uuid),
                ("call_uuid", &uuid),
                ("session_id", &session),
                ("channel_name", &name),
                ("read_codec", "L16"),
                ("read_rate", "8000"),
                ("write_codec", "L16"),
                ("write_rate", "8000"),
            ] {
                variables.set(variable, value);
            }
            given.iter().for_each(|(variable, value)| variables.set(variable, value.as_str()));
            variables.set("other_loopback_leg_uuid", &**first);
            variables.set("other_loopback_from_uuid", dialled_by);
            variables.set("loopback_leg", "B");
        });
        self.modify(first, |channel| {
            channel.variables.set("other_loopback_leg_uuid", &*uuid);
            channel.variables.set("loopback_leg", "A");
            channel.loopback_half = Some(uuid);
        });
    }

    /// Half B of a leg that is dialled now, if it has one, goes into the dialplan.
    pub(crate) fn start_other_half(&mut self, first: &Uuid) {
        let half = self.channels.get(first).and_then(|channel| channel.loopback_half.clone());
        let Some(uuid) = half else { return };
        let dialplan = self.channels.get(&uuid).and_then(|channel| channel.profile.as_ref());
        let dialplan = dialplan.map(|profile| profile.dialplan.clone()).unwrap_or_default();
        self.enter_state(&uuid, State::Init);
        self.modify(&uuid, |channel| channel.next_state = State::Routing);
        self.fire_channel(&uuid, "CHANNEL_CREATE", &[], &[]);
        self.modify(&uuid, |channel| channel.state = State::Routing);
        self.set_call_state(&uuid, CallState::Ringing);
        self.enter_state(&uuid, State::Routing);
        self.route(&uuid, &dialplan);
        self.make_runnable(&uuid);
    }

    /// Half B is answered by its dialplan: so is half A, before it.
    pub(crate) fn answer_other_half(&mut self, uuid: &Uuid) {
        if let Some(first) = self.outbound_half(uuid) {
            self.answer(&first);
            self.make_runnable(&first);
        }
    }

    /// Half B rings or has early media: so does half A.
    pub(crate) fn progress_other_half(&mut self, uuid: &Uuid, media: bool) {
        if let Some(first) = self.outbound_half(uuid) {
            if media { self.leg_sends_media(&first) } else { self.leg_rings(&first) }
        }
    }

    fn outbound_half(&self, uuid: &str) -> Option<Uuid> {
        let channel = self.channels.get(uuid).filter(|channel| !channel.outbound)?;
        channel.loopback_half.clone()
    }

    /// One half hangs up: so does the other, for the same cause.
    pub(crate) fn hang_up_other_half(&mut self, uuid: &Uuid, cause: Cause) {
        let half = self.channels.get(uuid).and_then(|channel| channel.loopback_half.clone());
        if let Some(half) = half {
            self.hang_up(&half, cause, HungUpBy::Switch);
        }
    }
}

//! `conference`: lists, and what can be done to members and to a conference as a whole.

use fipple_protocol::esl::encode::{percent_encode, write_json_string};

use crate::conference::{Conference, Deed, Member};
use crate::connection::split_word;
use crate::custom::Origin;
use crate::switch::Switch;
use crate::time::Time;

/// The flags that a conference of the profile `default` shows.
const FLAGS: &str = "running|answered|enforce_min|dynamic|exit_sound|enter_sound|livearray_sync|json_status";

/// What a member can be told to do, with where it is told from.
const MEMBER_DEEDS: &[(&str, &str, Origin)] = &[
    ("mute", "mute-member", ("conference_api.c", "conference_api_sub_mute", "339")),
    ("unmute", "unmute-member", ("conference_api.c", "conference_api_sub_unmute", "492")),
    ("deaf", "deaf-member", ("conference_api.c", "conference_api_sub_deaf", "797")),
    ("undeaf", "undeaf-member", ("conference_api.c", "conference_api_sub_undeaf", "839")),
    ("kick", "kick-member", ("conference_api.c", "conference_api_sub_kick", "902")),
    ("hup", "hup-member", ("conference_api.c", "conference_api_sub_hup", "937")),
    ("dtmf", "dtmf-member", ("conference_api.c", "conference_api_sub_dtmf", "1049")),
    ("energy", "energy-level-member", ("conference_api.c", "conference_api_sub_energy", "1228")),
    ("volume_in", "volume-in-member", ("conference_api.c", "conference_api_sub_volume_in", "1574")),
    ("volume_out", "volume-out-member", ("conference_api.c", "conference_api_sub_volume_out", "1610")),
];

impl Switch {
    pub(super) fn api_conference(&mut self, argument: &str) -> String {
        let (first, rest) = split_word(argument.trim());
        match first {
            "" => "-USAGE: conference [list|<name> <command>]\n".into(),
            "list" | "json_list" | "xml_list" if self.conferences.rooms.is_empty() => {
                "+OK No active conferences.\n".into()
            }
            "list" => self.conferences.rooms.values().map(|room| self.listed(room, rest, true)).collect(),
            "json_list" => self.listed_as_json(self.conferences.rooms.values()),
            "xml_list" => self.listed_as_xml(self.conferences.rooms.values()),
            name => {
                let (command, rest) = split_word(rest);
                let Some(room) = self.conferences.rooms.get(name) else {
                    return format!("-ERR Conference {name} not found\n");
                };
                match command {
                    "list" => self.listed(room, rest, false),
                    "json_list" => self.listed_as_json([room].into_iter()),
                    "xml_list" => self.listed_as_xml([room].into_iter()),
                    _ => self.conference_command(name, command, rest),
                }
            }
        }
    }

    fn conference_command(&mut self, name: &str, command: &str, rest: &str) -> String {
        if let Some((_, action, origin)) = MEMBER_DEEDS.iter().find(|(own, _, _)| *own == command) {
            return self.member_command(name, command, rest, action, *origin);
        }
        let (first, _) = split_word(rest);
        match command {
            "lock" | "unlock" => {
                let (function, line) = match command {
                    "lock" => ("conference_api_sub_lock", "3474"),
                    _ => ("conference_api_sub_unlock", "3496"),
                };
                if let Some(room) = self.conferences.rooms.get_mut(name) {
                    room.locked = command == "lock";
                }
                let origin = ("conference_api.c", function, line);
                self.tell_conference(name, &Deed { origin, action: command, more: &[] });
                format!("+OK {name} {command}ed\n")
            }
            "play" => match self.play_to_conference(name, first) {
                true => format!("+OK (play) Playing file {first}\n"),
                false => format!("(play) File: {first} not found.\n"),
            },
            "record" => {
                self.record_conference(name, first);
                format!("+OK Record file {first}\n")
            }
            "norecord" => self.end_recordings(name, first),
            "floor" => self.take_floor(name, first),
            "get" => self.conference_figure(name, first),
            _ => format!("-ERR Conference command '{command}' not found.\n"),
        }
    }

    /// `<id>|all|last|non_moderator [<value>]`
    fn member_command(
        &mut self,
        name: &str,
        command: &str,
        rest: &str,
        action: &str,
        origin: Origin,
    ) -> String {
        let (who, value) = split_word(rest);
        let Some(room) = self.conferences.rooms.get(name) else { return String::new() };
        let numbers: Vec<u64> = match who {
            "all" | "non_moderator" => room.members.keys().copied().collect(),
            "last" => room.members.keys().next_back().copied().into_iter().collect(),
            _ => who.parse().ok().filter(|number| room.members.contains_key(number)).into_iter().collect(),
        };
        if numbers.is_empty() {
            return format!("-ERR Non-Existant ID {who}\n");
        }
        let mut reply = String::new();
        for number in numbers {
            let Some(member) =
                self.conferences.rooms.get_mut(name).and_then(|room| room.members.get_mut(&number))
            else {
                continue;
            };
            reply += &change(member, command, number, value);
            let more: &[(&str, &str)] = match command {
                "volume_in" | "volume_out" => &[("Volume-Level", value)],
                "energy" => &[("Energy-Level", value)],
                "dtmf" => &[("Digits", value)],
                _ => &[],
            };
            self.tell_member(name, number, &Deed { origin, action, more });
            self.end_kicked(name, number);
        }
        reply
    }

    /// A member that was kicked leaves as its application ends.
    fn end_kicked(&mut self, name: &str, number: u64) {
        let member = self.conferences.rooms.get(name).and_then(|room| room.members.get(&number));
        let Some(uuid) = member.filter(|member| member.kicked).map(|member| member.uuid.clone()) else {
            return;
        };
        self.modify(&uuid, |channel| {
            let own = |doing: &crate::channel::Doing| {
                matches!(doing, crate::channel::Doing::Conference { member, .. } if *member == number)
            };
            channel.stack.iter_mut().filter(|frame| own(&frame.doing)).for_each(|frame| frame.interrupted = true);
        });
        self.make_runnable(&uuid);
    }

    fn end_recordings(&mut self, name: &str, which: &str) -> String {
        let Some(room) = self.conferences.rooms.get(name) else { return String::new() };
        let paths: Vec<String> = room.recordings.iter().map(|(path, _)| path.clone()).collect();
        let chosen = paths.into_iter().filter(|path| which == "all" || path == which);
        let mut reply = String::new();
        for path in chosen.collect::<Vec<_>>() {
            self.stop_conference_recording(name, &path);
            reply += &format!("Stopped recording file {path}\n");
        }
        // The real one counts what is left over, too.
        reply + "+OK Stopped recording 0 files\n"
    }

    fn take_floor(&mut self, name: &str, who: &str) -> String {
        let Some(room) = self.conferences.rooms.get_mut(name) else { return String::new() };
        let number = who.parse::<u64>().ok().filter(|number| room.members.contains_key(number));
        match (number, room.floor) {
            (None, _) => format!("-ERR Non-Existant ID {who}\n"),
            (Some(number), Some(holder)) if number != holder => format!("-ERR floor is held by {holder}\n"),
            (Some(number), Some(_)) => {
                room.floor = None;
                format!("+OK floor none by {number}\n")
            }
            (Some(number), None) => {
                room.floor = Some(number);
                format!("+OK floor {number}\n")
            }
        }
    }

    fn conference_figure(&self, name: &str, which: &str) -> String {
        let Some(room) = self.conferences.rooms.get(name) else { return String::new() };
        match which {
            "count" => room.members.len().to_string(),
            "run_time" => self.clock_seconds_since(room.created).to_string(),
            "uuid" => room.uuid.clone(),
            _ => "-ERR Parameter not found.\n".into(),
        }
    }

    /// Members, the newest first, `;` or the given delimiter between their fields.
    fn listed(&self, room: &Conference, options: &str, with_head: bool) -> String {
        let delimiter = options.strip_prefix("delim ").and_then(|rest| rest.trim().chars().next());
        let delimiter = delimiter.unwrap_or(';').to_string();
        let mut text = String::new();
        if with_head {
            let plural = if room.members.len() == 1 { "" } else { "s" };
            text += &format!(
                "+OK Conference {} ({} member{plural} rate: 8000 flags: {FLAGS})\n",
                room.name,
                room.members.len()
            );
        }
        for (number, member) in room.members.iter().rev() {
            let (channel_name, name, caller) = self.caller_of_member(member);
            let flags = [
                Some("hear").filter(|_| member.hears),
                Some("speak").filter(|_| member.speaks),
                Some("floor").filter(|_| room.floor == Some(*number)),
            ];
            let flags: Vec<&str> = flags.into_iter().flatten().collect();
            let fields = [
                number.to_string(),
                channel_name,
                member.uuid.to_string(),
                name,
                caller,
                flags.join("|"),
                member.volume_in.to_string(),
                member.volume_out.to_string(),
                member.energy.to_string(),
            ];
            text += &(fields.join(&delimiter) + "\n");
        }
        text
    }

    /// The difference between two clocks that show whole seconds.
    fn clock_seconds_since(&self, moment: Time) -> u64 {
        let start = self.config.wall_clock_at_start_micros;
        (start + self.now.0) / 1_000_000 - (start + moment.0) / 1_000_000
    }

    fn caller_of_member(&self, member: &Member) -> (String, String, String) {
        let Some(channel) = self.channels.get(&member.uuid) else { return Default::default() };
        let profile = channel.profile.clone().unwrap_or_default();
        (channel.name.clone(), profile.caller_id_name, profile.caller_id_number)
    }

    fn listed_as_json<'a>(&'a self, rooms: impl Iterator<Item = &'a Conference>) -> String {
        let rooms: Vec<String> = rooms.map(|room| self.room_as_json(room)).collect();
        format!("[{}]", rooms.join(", "))
    }

    fn room_as_json(&self, room: &Conference) -> String {
        let mut text = String::from("{\n");
        let line = |name: &str, value: String| format!("\t\t\"{name}\":\t{value},\n");
        text += &line("conference_name", quoted(&room.name));
        text += &line("member_count", room.members.len().to_string());
        text += &line("ghost_count", "0".into());
        text += &line("rate", "8000".into());
        text += &line("run_time", self.clock_seconds_since(room.created).to_string());
        text += &line("conference_uuid", quoted(&room.uuid));
        for name in ["canvas_count", "max_bw_in", "force_bw_in", "video_floor_packets"] {
            text += &line(name, "0".into());
        }
        for (name, value) in [
            ("locked", room.locked),
            ("destruct", false),
            ("wait_mod", false),
            ("audio_always", false),
            ("running", true),
            ("answered", true),
            ("enforce_min", true),
            ("bridge_to", false),
            ("dynamic", true),
            ("exit_sound", true),
            ("enter_sound", true),
            ("recording", !room.recordings.is_empty()),
            ("video_bridge", false),
            ("video_floor_only", false),
            ("video_rfc4579", false),
        ] {
            text += &line(name, value.to_string());
        }
        text += "\t\t\"variables\":\t{\n\t\t},\n\t\t\"members\":\t[";
        let members = room.members.iter().rev();
        let members: Vec<String> =
            members.map(|(number, member)| self.member_as_json(room, *number, member)).collect();
        text + &members.join(", ") + "]\n\t}"
    }

    fn member_as_json(&self, room: &Conference, number: u64, member: &Member) -> String {
        let (_, name, caller) = self.caller_of_member(member);
        let flags =
            flags_of(room, number, member).map(|(name, value)| format!("\t\t\t\t\t\"{name}\":\t{value}"));
        let flags = [flags.join(",\n"), "\t\t\t\t\t\"pass_digits\":\tfalse".into()].join(",\n");
        let fields = [
            ("uuid", quoted(&member.uuid)),
            ("caller_id_name", quoted(&name)),
            ("caller_id_number", quoted(&caller)),
            ("join_time", self.clock_seconds_since(member.joined).to_string()),
            ("last_talking", "0".into()),
            ("energy", member.energy.to_string()),
            ("volume_in", member.volume_in.to_string()),
            ("volume_out", member.volume_out.to_string()),
            ("output-volume", "0".into()),
            ("input-volume", "0".into()),
        ];
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("\t\t\t\t\"{name}\":\t{value}")).collect();
        format!(
            "{{\n\t\t\t\t\"type\":\t\"caller\",\n\t\t\t\t\"id\":\t{number},\n\t\t\t\t\"flags\":\t{{\n{flags}\n\
             \t\t\t\t}},\n{}\n\t\t\t}}",
            fields.join(",\n")
        )
    }

    fn listed_as_xml<'a>(&'a self, rooms: impl Iterator<Item = &'a Conference>) -> String {
        let mut text = "<?xml version=\"1.0\"?>\n<conferences>\n".to_owned();
        for room in rooms {
            text += &format!(
                "  <conference name=\"{}\" member-count=\"{}\" ghost-count=\"0\" rate=\"8000\" uuid=\"{}\" \
                 running=\"true\" answered=\"true\" enforce_min=\"true\" dynamic=\"true\" exit_sound=\"true\" \
                 enter_sound=\"true\" run_time=\"{}\">\n    <variables></variables>\n    <members>\n",
                room.name,
                room.members.len(),
                room.uuid,
                self.clock_seconds_since(room.created)
            );
            for (number, member) in room.members.iter().rev() {
                text += &self.member_as_xml(room, *number, member);
            }
            text += "    </members>\n  </conference>\n";
        }
        text + "</conferences>\n"
    }

    fn member_as_xml(&self, room: &Conference, number: u64, member: &Member) -> String {
        const FLAGS_IN_ORDER: [usize; 12] = [0, 1, 2, 4, 5, 3, 6, 7, 8, 9, 10, 11];
        let (_, name, caller) = self.caller_of_member(member);
        let flags = flags_of(room, number, member);
        let flags = FLAGS_IN_ORDER.map(|index| flags[index]);
        let flags: String = flags
            .iter()
            .chain([&("is_ghost", false)])
            .map(|(name, value)| format!("          <{name}>{value}</{name}>\n"))
            .collect();
        let mut encoded = Vec::new();
        percent_encode(&mut encoded, &name);
        let fields = [
            ("uuid", member.uuid.to_string()),
            ("caller_id_name", String::from_utf8_lossy(&encoded).into_owned()),
            ("caller_id_number", caller),
            ("join_time", self.clock_seconds_since(member.joined).to_string()),
            ("last_talking", "N/A".into()),
            ("energy", member.energy.to_string()),
            ("volume_in", member.volume_in.to_string()),
            ("volume_out", member.volume_out.to_string()),
            ("output-volume", "0".into()),
        ];
        let fields: String =
            fields.iter().map(|(name, value)| format!("        <{name}>{value}</{name}>\n")).collect();
        format!(
            "      <member type=\"caller\">\n        <id>{number}</id>\n        <flags>\n{flags}        </flags>\n\
             {fields}      </member>\n"
        )
    }
}

/// Does to a member what it is told, and gives the reply.
fn change(member: &mut Member, command: &str, number: u64, value: &str) -> String {
    let level = value.trim().parse().unwrap_or(0);
    match command {
        "mute" | "unmute" => member.speaks = command == "unmute",
        "deaf" | "undeaf" => member.hears = command == "undeaf",
        "kick" | "hup" => {
            member.kicked = true;
            return format!("+OK kicked {number}\n");
        }
        "dtmf" => return format!("+OK sent {value} to {number}\n"),
        "energy" => {
            member.energy = level;
            return format!("Energy {number} = {level}\n");
        }
        "volume_in" => {
            member.volume_in = level;
            return format!("+OK Volume IN {number} = {level}\n");
        }
        _ => {
            member.volume_out = level;
            return format!("+OK Volume OUT {number} = {level}\n");
        }
    }
    format!("+OK {command} {number}\n")
}

/// A member's flags, in the order of the JSON list.
fn flags_of(room: &Conference, number: u64, member: &Member) -> [(&'static str, bool); 12] {
    [
        ("can_hear", member.hears),
        ("can_see", true),
        ("can_speak", member.speaks),
        ("hold", false),
        ("mute_detect", false),
        ("talking", false),
        ("has_video", false),
        ("video_bridge", false),
        ("has_floor", room.floor == Some(number)),
        ("is_moderator", false),
        ("end_conference", false),
        ("mandatory_member_end_conference", false),
    ]
}

fn quoted(text: &str) -> String {
    let mut bytes = Vec::new();
    write_json_string(&mut bytes, text);
    String::from_utf8_lossy(&bytes).into_owned()
}

//! Conferences: who is in one, and what mod_conference tells of it (transcript g_custom_events/conference_plain).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::applications::Started;
use crate::applications::media::duration_of;
use crate::channel::{Doing, Uuid};
use crate::custom::{Contents, Origin};
use crate::fire::Extra;
use crate::limits::{CONFERENCE_FILES_MAX, CONFERENCES_MAX};
use crate::switch::{Switch, Timer};
use crate::time::Time;

/// Between somebody's coming or leaving and who has the floor: one turn of the conference's thread.
const FLOOR_LAG: Duration = Duration::from_millis(20);

const SUBCLASS: &str = "conference::maintenance";

/// All conferences, by name.
#[derive(Debug, Default)]
pub(crate) struct Conferences {
    pub(crate) rooms: BTreeMap<String, Conference>,
    /// Members are numbered over all conferences.
    last_member: u64,
}

/// One conference.
#[derive(Debug)]
pub(crate) struct Conference {
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) profile: String,
    pub(crate) uuid: String,
    pub(crate) created: Time,
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) floor: Option<u64>,
    pub(crate) locked: bool,
    /// Files that are recorded, with the moments they began.
    pub(crate) recordings: Vec<(String, Time)>,
    /// Files that are played, with the moments they began and end.
    pub(crate) playing: Vec<(String, Time, Time)>,
    /// When its thread looks at it next.
    turn_at: Option<Time>,
}

/// Somebody in a conference.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) uuid: Uuid,
    pub(crate) hears: bool,
    pub(crate) speaks: bool,
    pub(crate) energy: i64,
    pub(crate) volume_in: i64,
    pub(crate) volume_out: i64,
    pub(crate) joined: Time,
    /// It was kicked, and its application ends.
    pub(crate) kicked: bool,
}

/// Where an action of a conference is told from, its name in the events, and what else they have at their end.
pub(crate) struct Deed<'a> {
    pub(crate) origin: Origin,
    pub(crate) action: &'a str,
    pub(crate) more: Extra<'a>,
}

impl Switch {
    /// `conference <name>[@<profile>][+flags{mute|deaf}]`
    pub(crate) fn start_conference(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let (room, flags) = argument.split_once('+').unwrap_or((argument, ""));
        let (name, profile) = room.trim().split_once('@').unwrap_or((room.trim(), "default"));
        self.answer(uuid);
        if name.is_empty() || !self.open_conference(name, profile) {
            return Started::Done(None);
        }
        let now = self.now;
        let Conferences { rooms, last_member } = &mut self.conferences;
        let Some(room) = rooms.get_mut(name).filter(|room| !room.locked) else {
            return Started::Done(None);
        };
        *last_member += 1;
        let number = *last_member;
        let member = Member {
            uuid: uuid.clone(),
            hears: !flags.contains("deaf"),
            speaks: !flags.contains("mute"),
            energy: 100,
            volume_in: 0,
            volume_out: 0,
            joined: now,
            kicked: false,
        };
        room.members.insert(number, member);
        let origin = ("conference_member.c", "conference_member_add", "962");
        self.tell_member(name, number, &Deed { origin, action: "add-member", more: &[] });
        self.turn_conference_at(name, now + FLOOR_LAG);
        Started::Runs(Doing::Conference { name: name.to_owned(), member: number }, None)
    }

    /// Makes a conference, unless it is there; `false` if there can be no more.
    fn open_conference(&mut self, name: &str, profile: &str) -> bool {
        if self.conferences.rooms.contains_key(name) {
            return true;
        }
        if self.conferences.rooms.len() >= CONFERENCES_MAX {
            return false;
        }
        let domain = self.config.globals.iter().find(|(name, _)| name == "domain");
        let room = Conference {
            domain: domain.map(|(_, domain)| domain.clone()).unwrap_or_default(),
            name: name.to_owned(),
            profile: profile.to_owned(),
            uuid: self.random.uuid(),
            created: self.now,
            members: BTreeMap::new(),
            floor: None,
            locked: false,
            recordings: Vec::new(),
            playing: Vec::new(),
            turn_at: None,
        };
        self.conferences.rooms.insert(name.to_owned(), room);
        let origin = ("mod_conference.c", "conference_new", "3848");
        self.tell_conference(name, &Deed { origin, action: "conference-create", more: &[] });
        true
    }

    /// A member's application ends: it leaves, and the last one to leave ends the conference.
    pub(crate) fn leave_conference(&mut self, name: &str, number: u64) {
        let Some(room) = self.conferences.rooms.get_mut(name) else { return };
        if room.floor == Some(number) {
            room.floor = None;
            self.tell_floor(name);
        }
        let Some(room) = self.conferences.rooms.get_mut(name) else { return };
        let Some(member) = room.members.remove(&number) else { return };
        let last = room.members.is_empty();
        let origin = ("conference_member.c", "conference_member_del", "1355");
        self.tell_gone(name, number, &member, &Deed { origin, action: "del-member", more: &[] });
        if last {
            self.end_conference(name);
        } else {
            let at = self.now + FLOOR_LAG;
            self.turn_conference_at(name, at);
        }
    }

    fn end_conference(&mut self, name: &str) {
        while let Some((path, _)) = self.conferences.rooms.get(name).and_then(|room| room.recordings.first())
        {
            let path = path.clone();
            self.stop_conference_recording(name, &path);
        }
        let origin = ("mod_conference.c", "conference_thread_run", "863");
        self.tell_conference(name, &Deed { origin, action: "conference-destroy", more: &[] });
        self.conferences.rooms.remove(name);
    }

    fn turn_conference_at(&mut self, name: &str, at: Time) {
        let Some(room) = self.conferences.rooms.get_mut(name) else { return };
        if room.turn_at.is_none_or(|present| present > at) {
            room.turn_at = Some(at);
            self.arm(at, Timer::Conference(name.to_owned()));
        }
    }

    /// The conference's thread looks who has the floor, and which files are over.
    pub(crate) fn turn_conference(&mut self, name: &str) {
        let now = self.now;
        let Some(room) = self.conferences.rooms.get_mut(name) else { return };
        if room.turn_at.is_none_or(|at| at > now) {
            return;
        }
        room.turn_at = None;
        if room.floor.is_none() {
            // The newest who may speak.
            room.floor =
                room.members.iter().rev().find(|(_, member)| member.speaks).map(|(number, _)| *number);
            if room.floor.is_some() {
                self.tell_floor(name);
            }
        }
        self.end_conference_files(name);
        let playing = self.conferences.rooms.get(name).map(|room| &room.playing);
        let ends = playing.into_iter().flatten().map(|(_, _, until)| *until);
        if let Some(soonest) = ends.min() {
            self.turn_conference_at(name, soonest);
        }
    }

    fn end_conference_files(&mut self, name: &str) {
        let now = self.now;
        let Some(room) = self.conferences.rooms.get_mut(name) else { return };
        let (over, playing) = room.playing.drain(..).partition(|(_, _, until)| *until <= now);
        room.playing = playing;
        let over: Vec<(String, Time, Time)> = over;
        for (path, since, until) in over {
            let played_ms = until.micros_since(since) / 1_000;
            let (seconds, samples) = ((played_ms / 1_000).to_string(), (played_ms * 8).to_string());
            let milliseconds = played_ms.to_string();
            let before = [
                ("seconds", seconds.as_str()),
                ("milliseconds", milliseconds.as_str()),
                ("samples", samples.as_str()),
                ("Action", "play-file-done"),
                ("File", path.as_str()),
            ];
            self.tell_raw(name, ("conference_file.c", "conference_file_close", "52"), &before);
        }
    }

    /// Plays a file to a conference; `false` if it cannot be opened.
    pub(crate) fn play_to_conference(&mut self, name: &str, path: &str) -> bool {
        if self.is_missing(path) {
            return false;
        }
        let length = duration_of(path, &self.config).unwrap_or(Duration::from_secs(3_600));
        let now = self.now;
        let Some(room) = self.conferences.rooms.get_mut(name) else { return false };
        if room.playing.len() >= CONFERENCE_FILES_MAX {
            return false;
        }
        room.playing.push((path.to_owned(), now, now + length));
        let origin = ("conference_api.c", "conference_api_sub_play", "2817");
        let more = [("File", path), ("Async", "false")];
        self.tell_conference(name, &Deed { origin, action: "play-file", more: &more });
        self.turn_conference_at(name, now + length);
        true
    }

    pub(crate) fn record_conference(&mut self, name: &str, path: &str) {
        let now = self.now;
        let Some(room) = self.conferences.rooms.get_mut(name) else { return };
        if room.recordings.len() < CONFERENCE_FILES_MAX {
            room.recordings.push((path.to_owned(), now));
            let origin = ("conference_record.c", "conference_record_thread_run", "319");
            self.tell_conference(name, &Deed { origin, action: "start-recording", more: &[("Path", path)] });
        }
    }

    /// Ends a recording, if it runs.
    pub(crate) fn stop_conference_recording(&mut self, name: &str, path: &str) -> bool {
        let Some(room) = self.conferences.rooms.get_mut(name) else { return false };
        let Some(index) = room.recordings.iter().position(|(own, _)| own == path) else { return false };
        let (_, since) = room.recordings.remove(index);
        let others = (!room.recordings.is_empty()).to_string();
        let recorded_ms = self.now.micros_since(since) / 1_000;
        let samples = recorded_ms * 8;
        let size = (44 + samples * 2).to_string();
        let (samples, recorded_ms) = (samples.to_string(), recorded_ms.to_string());
        let more = [
            ("Path", path),
            ("Other-Recordings", &others),
            ("Samples-Out", &samples),
            ("Samplerate", "8000"),
            ("Milliseconds-Elapsed", &recorded_ms),
            ("Record-File-Size", &size),
        ];
        let origin = ("conference_record.c", "conference_record_thread_run", "427");
        self.tell_conference(name, &Deed { origin, action: "stop-recording", more: &more });
        true
    }

    /// Tells who has the floor now, if anybody has.
    fn tell_floor(&mut self, name: &str) {
        let Some(room) = self.conferences.rooms.get(name) else { return };
        let origin = ("conference_member.c", "conference_member_set_floor_holder", "1158");
        let head = headers_of(room);
        let mut before = borrowed(&head);
        before.extend([("Action", "floor-change"), ("Old-ID", "none")]);
        let holder = room.floor.and_then(|number| Some((number, room.members.get(&number)?)));
        let Some((number, member)) = holder else {
            before.push(("New-ID", "none"));
            let before = owned(&before);
            let contents = Contents { before: &borrowed(&before), ..Contents::default() };
            return self.fire_custom(SUBCLASS, origin, contents);
        };
        let head_again = headers_of(room);
        before.extend(borrowed(&head_again));
        before.push(("Floor", "true"));
        let number_text = number.to_string();
        let mut after = headers_of_member(number, member);
        after.push(("New-ID".into(), number_text));
        let (before, uuid) = (owned(&before), member.uuid.clone());
        let contents = Contents {
            before: &borrowed(&before),
            channel: Some(&uuid),
            after: &borrowed(&after),
            ..Contents::default()
        };
        self.fire_custom(SUBCLASS, origin, contents);
    }

    /// Tells an action of the conference as a whole.
    pub(crate) fn tell_conference(&mut self, name: &str, deed: &Deed<'_>) {
        let own: Vec<(&str, &str)> =
            [("Action", deed.action)].into_iter().chain(deed.more.iter().copied()).collect();
        self.tell_raw(name, deed.origin, &own);
    }

    fn tell_raw(&mut self, name: &str, origin: Origin, own: &[(&str, &str)]) {
        let Some(room) = self.conferences.rooms.get(name) else { return };
        let head = headers_of(room);
        let before: Vec<(&str, &str)> = borrowed(&head).into_iter().chain(own.iter().copied()).collect();
        self.fire_custom(SUBCLASS, origin, Contents { before: &before, ..Contents::default() });
    }

    /// Tells an action that is about a member.
    pub(crate) fn tell_member(&mut self, name: &str, number: u64, deed: &Deed<'_>) {
        let Some(room) = self.conferences.rooms.get(name) else { return };
        let Some(member) = room.members.get(&number) else { return };
        let (headers, uuid) = (headers_of_member(number, member), member.uuid.clone());
        self.tell_about(name, number, &uuid, &headers, deed);
    }

    fn tell_gone(&mut self, name: &str, number: u64, member: &Member, deed: &Deed<'_>) {
        let headers = headers_of_member(number, member);
        self.tell_about(name, number, &member.uuid, &headers, deed);
    }

    fn tell_about(
        &mut self,
        name: &str,
        number: u64,
        uuid: &str,
        headers: &[(String, String)],
        deed: &Deed<'_>,
    ) {
        let Some(room) = self.conferences.rooms.get(name) else { return };
        let head = headers_of(room);
        let floor = if room.floor == Some(number) { "true" } else { "false" };
        let before: Vec<(&str, &str)> = borrowed(&head).into_iter().chain([("Floor", floor)]).collect();
        let after: Vec<(&str, &str)> = borrowed(headers)
            .into_iter()
            .chain([("Action", deed.action)])
            .chain(deed.more.iter().copied())
            .collect();
        let contents =
            Contents { before: &before, channel: Some(uuid), after: &after, ..Contents::default() };
        self.fire_custom(SUBCLASS, deed.origin, contents);
    }
}

fn headers_of(room: &Conference) -> Vec<(String, String)> {
    let headers = [
        ("Conference-Name", room.name.clone()),
        ("Conference-Domain", room.domain.clone()),
        ("Conference-Size", room.members.len().to_string()),
        ("Conference-Ghosts", "0".into()),
        ("Conference-Profile-Name", room.profile.clone()),
        ("Conference-Unique-ID", room.uuid.clone()),
    ];
    headers.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn headers_of_member(number: u64, member: &Member) -> Vec<(String, String)> {
    let headers = [
        ("Video", "false".to_owned()),
        ("Hear", member.hears.to_string()),
        ("See", "true".into()),
        ("Speak", member.speaks.to_string()),
        ("Talking", "false".into()),
        ("Mute-Detect", "false".into()),
        ("Hold", "false".into()),
        ("Member-ID", number.to_string()),
        ("Member-Type", "member".into()),
        ("Member-Ghost", "false".into()),
        ("Energy-Level", member.energy.to_string()),
        ("Current-Energy", "0".into()),
    ];
    headers.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

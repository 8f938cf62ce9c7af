//! Playing and recording, as far as time and events tell of it.

use std::time::Duration;

use super::Started;
use crate::cause::Cause;
use crate::channel::{Doing, Uuid};
use crate::config::Config;
use crate::custom::{Contents, Origin};
use crate::event::EventName;
use crate::ledger::HungUpBy;
use crate::limits::TAPS_MAX;
use crate::switch::Switch;
use crate::time::Time;

/// Samples a second of the emulated audio.
const SAMPLES_PER_MS: u64 = 8;

/// Longest recording of `record` without a limit of its own, in seconds. Its caller may hang up or be interrupted
/// long before.
const RECORD_MAX_SECONDS: u64 = 3_600;

/// What can sit on a channel's sound (a media bug).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tap {
    SessionRecord,
    Displace,
}

impl Tap {
    /// `Media-Bug-Function`.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::SessionRecord => "session_record",
            Self::Displace => "displace",
        }
    }
}

impl Switch {
    /// Puts a tap on a channel's sound, and tells it (transcript
    /// m_transfer/uuid_transfer_inline_broadcast_record_schedhangup).
    pub(crate) fn tap(&mut self, uuid: &Uuid, tap: Tap, path: &str) {
        if self.channels.get(uuid).is_some_and(|channel| channel.taps.len() < TAPS_MAX) {
            self.modify(uuid, |channel| channel.taps.push((tap, path.to_owned())));
            let origin = ("switch_core_media_bug.c", "switch_core_media_bug_add", "1014");
            self.tell_tap(uuid, "MEDIA_BUG_START", origin, tap, path);
        }
    }

    /// Takes a tap off, if it is there, and tells it.
    pub(crate) fn untap(&mut self, uuid: &Uuid, tap: Tap, path: &str) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let position = channel.taps.iter().position(|(own, file)| *own == tap && file == path);
        let Some(position) = position else { return };
        channel.taps.remove(position);
        let origin = ("switch_core_media_bug.c", "switch_core_media_bug_destroy", "84");
        self.tell_tap(uuid, "MEDIA_BUG_STOP", origin, tap, path);
    }

    /// A channel ends: so does all that sits on its sound.
    pub(crate) fn untap_all(&mut self, uuid: &Uuid) {
        self.stop_recordings(uuid);
        let taps = self.channels.get(uuid).map(|channel| channel.taps.clone()).unwrap_or_default();
        for (tap, path) in taps {
            self.untap(uuid, tap, &path);
        }
    }

    fn tell_tap(&mut self, uuid: &str, name: EventName, origin: Origin, tap: Tap, path: &str) {
        let before = [("Media-Bug-Function", tap.function()), ("Media-Bug-Target", path)];
        let contents =
            Contents { before: &before, channel: Some(uuid), variables: true, ..Contents::default() };
        self.fire_with(name, None, origin, contents);
    }

    fn tell_record(&mut self, uuid: &str, name: EventName, origin: Origin, after: &[(&str, &str)]) {
        let contents = Contents { channel: Some(uuid), variables: true, after, ..Contents::default() };
        self.fire_with(name, None, origin, contents);
    }

    pub(super) fn start_playback(&mut self, uuid: &Uuid, path: &str, endless: bool) -> Started {
        if path.is_empty() || self.is_missing(path) {
            return Started::Done(Some("FILE NOT FOUND"));
        }
        let length = duration_of(path, &self.config);
        self.fire_channel(uuid, "PLAYBACK_START", &[], &[("Playback-File-Path", path)]);
        let until = length.filter(|_| !endless).map(|length| self.now + length);
        let length_ms = length.map_or(0, |length| length.as_millis() as u64);
        Started::Runs(Doing::Playback { path: path.to_owned(), length_ms, since: self.now }, until)
    }

    /// Tells that a playback ended, and gives its response.
    pub(super) fn end_playback(
        &mut self,
        uuid: &Uuid,
        path: &str,
        length_ms: u64,
        since: Time,
        interrupted: bool,
    ) -> &'static str {
        let played_ms = self.now.micros_since(since) / 1000;
        let length_ms = if length_ms == 0 { played_ms } else { length_ms };
        let Some(channel) = self.channels.get_mut(uuid) else { return "PLAYBACK ERROR" };
        let leaving = channel.hangup.is_some() || channel.next.is_some();
        let variables = &mut channel.variables;
        variables.set(
            "playback_last_offset_pos",
            played_ms.min(length_ms).saturating_mul(SAMPLES_PER_MS).to_string(),
        );
        variables.set("playback_seconds", (length_ms / 1000).to_string());
        variables.set("playback_ms", length_ms.to_string());
        variables.set("playback_samples", length_ms.saturating_mul(SAMPLES_PER_MS).to_string());
        let status = if interrupted { "break" } else { "done" };
        let after = [("Playback-File-Path", path), ("Playback-Status", status)];
        self.fire_channel(uuid, "PLAYBACK_STOP", &[], &after);
        if leaving { "PLAYBACK ERROR" } else { "FILE PLAYED" }
    }

    /// `record <path> [<time limit s>] [<silence threshold>] [<silence hits s>]`. The callers of the emulated switch
    /// are silent, so silence hits end it when they are given.
    pub(super) fn start_record(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let mut words = argument.split_ascii_whitespace();
        let path = words.next().unwrap_or_default();
        if self.cannot_record(uuid, path) {
            return Started::Done(None);
        }
        let mut number =
            || words.next().and_then(|word| word.parse::<u64>().ok()).filter(|&number| number > 0);
        let limit = number().unwrap_or(RECORD_MAX_SECONDS);
        let silence = number().and_then(|_| number()).unwrap_or(limit);
        let origin = ("switch_ivr_play_say.c", "switch_ivr_record_file_event", "770");
        self.tell_record(uuid, "RECORD_START", origin, &[("Record-File-Path", path)]);
        let until = self.now + Duration::from_secs(limit.min(silence));
        Started::Runs(Doing::Record { path: path.to_owned(), since: self.now }, Some(until))
    }

    pub(super) fn end_record(&mut self, uuid: &Uuid, path: &str, since: Time) {
        let recorded_ms = self.now.micros_since(since) / 1000;
        let samples = recorded_ms * SAMPLES_PER_MS;
        let size = file_size_bytes(samples).to_string();
        for (name, value) in [
            ("silence_hits_exhausted", "false"),
            ("record_record_file_size", &size),
            ("record_file_size", &size),
            ("record_seconds", &(recorded_ms / 1000).to_string()),
            ("record_ms", &recorded_ms.to_string()),
            ("record_samples", &samples.to_string()),
        ] {
            self.set_variable(uuid, name, value);
        }
        let origin = ("switch_ivr_play_say.c", "switch_ivr_record_file_event", "1033");
        self.tell_record(uuid, "RECORD_STOP", origin, &[("Record-File-Path", path)]);
    }

    /// `record_session`.
    pub(super) fn start_recording(&mut self, uuid: &Uuid, path: &str) -> Started {
        self.record_in_background(uuid, path);
        Started::Done(None)
    }

    /// Records until the call ends or the recording is stopped.
    pub(crate) fn record_in_background(&mut self, uuid: &Uuid, path: &str) {
        let path = path.split_ascii_whitespace().next().unwrap_or_default();
        if !self.cannot_record(uuid, path) {
            let now = self.now;
            self.modify(uuid, |channel| channel.recordings.push((path.to_owned(), now)));
            let origin = ("switch_ivr_async.c", "record_callback", "1482");
            self.tell_record(uuid, "RECORD_START", origin, &[("Record-File-Path", path)]);
            self.tap(uuid, Tap::SessionRecord, path);
        }
    }

    pub(crate) fn stop_recording(&mut self, uuid: &Uuid, path: &str) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let all = path.trim() == "all";
        let (stopped, kept) =
            channel.recordings.drain(..).partition(|(recording, _)| all || recording == path.trim());
        channel.recordings = kept;
        let stopped: Vec<(String, Time)> = stopped;
        for (path, since) in stopped {
            let recorded_ms = self.now.micros_since(since) / 1000;
            self.set_record_variables(uuid, recorded_ms);
            let after = [("Record-File-Path", path.as_str()), ("Record-Completion-Cause", "success-maxtime")];
            let origin = ("switch_ivr_async.c", "send_record_stop_event", "1241");
            self.tell_record(uuid, "RECORD_STOP", origin, &after);
            self.untap(uuid, Tap::SessionRecord, &path);
        }
    }

    pub(crate) fn stop_recordings(&mut self, uuid: &Uuid) {
        self.stop_recording(uuid, "all");
    }

    fn set_record_variables(&mut self, uuid: &Uuid, recorded_ms: u64) {
        let samples = recorded_ms * SAMPLES_PER_MS;
        self.modify(uuid, |channel| {
            channel.variables.set("record_file_size", file_size_bytes(samples).to_string());
            channel.variables.set("record_samples", samples.to_string());
            channel.variables.set("record_seconds", (recorded_ms / 1000).to_string());
            channel.variables.set("record_ms", recorded_ms.to_string());
            channel.variables.set("record_completion_cause", "success-maxtime");
        });
    }

    /// A recording whose file cannot be opened hangs the call up (freeswitch README "Commands that bite").
    fn cannot_record(&mut self, uuid: &Uuid, path: &str) -> bool {
        let cannot = path.is_empty() || self.is_missing(path);
        if cannot {
            self.hang_up(uuid, Cause::named("DESTINATION_OUT_OF_ORDER"), HungUpBy::Switch);
        }
        cannot
    }

    pub(crate) fn is_missing(&self, path: &str) -> bool {
        self.config.missing_paths.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }
}

/// A WAV file: 44 bytes of header and two bytes a sample.
fn file_size_bytes(samples: u64) -> u64 {
    samples.saturating_mul(2).saturating_add(44)
}

/// How long a file plays: `tone_stream://%(on,off,freq...)` with `;loops=N`, `silence_stream://ms`,
/// `file_string://a!b`, else as the configuration says. `None` has no end.
pub(crate) fn duration_of(path: &str, config: &Config) -> Option<Duration> {
    if let Some(tones) = path.strip_prefix("tone_stream://") {
        return tone_duration(tones);
    }
    if let Some(silence) = path.strip_prefix("silence_stream://") {
        let milliseconds = silence.split(',').next().unwrap_or_default().trim();
        return milliseconds.parse().ok().map(Duration::from_millis);
    }
    if let Some(files) = path.strip_prefix("file_string://") {
        // A list in a list plays nothing.
        let mut files = files.split('!').filter(|file| !file.starts_with("file_string://"));
        return files
            .try_fold(Duration::ZERO, |sum, file| Some(sum.saturating_add(duration_of(file, config)?)));
    }
    Some(config.playback_of(path))
}

fn tone_duration(tones: &str) -> Option<Duration> {
    let (tones, options) = tones.split_once(';').unwrap_or((tones, ""));
    let loops = options.split(';').find_map(|option| option.strip_prefix("loops="));
    let loops: i64 = loops.and_then(|loops| loops.trim().parse().ok()).unwrap_or(1);
    let milliseconds: u64 = tones
        .split("%(")
        .skip(1)
        .flat_map(|tone| tone.split(')').next().unwrap_or_default().split(',').take(2))
        .filter_map(|part| part.trim().parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    u64::try_from(loops).ok().map(|loops| Duration::from_millis(milliseconds.saturating_mul(loops)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_files() {
        let files = vec![("/sounds/bye.wav".into(), Duration::from_millis(823))];
        let config = Config { files, ..Config::default() };
        let of = |path| duration_of(path, &config).map(|length| length.as_millis());
        assert_eq!(of("tone_stream://%(1500,500,440)"), Some(2000));
        assert_eq!(of("tone_stream://%(100,0,440);loops=3"), Some(300));
        assert_eq!(of("tone_stream://%(2000,4000,440,480);loops=-1"), None);
        assert_eq!(of("silence_stream://750,1400"), Some(750));
        assert_eq!(of("silence_stream://-1"), None);
        assert_eq!(of("file_string://a.wav!silence_stream://500"), Some(2500));
        assert_eq!(of("/sounds/hello.wav"), Some(2000));
        assert_eq!(of("/sounds/bye.wav"), Some(823));
    }
}

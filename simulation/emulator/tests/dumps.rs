//! `uuid_dump` of a call before, during and after each step of a flow, against that of a real switch: what a taker reads.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::collections::BTreeMap;

use common::{Bench, FIRST, fixture};
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::{Config, InboundCall};

type Dump = BTreeMap<String, String>;

fn parse(text: &str) -> Dump {
    serde_json::from_str(text).unwrap()
}

fn recorded(name: &str) -> Dump {
    parse(&String::from_utf8(fixture(&format!("takeover_dumps/{name}.json"))).unwrap())
}

/// The machine of the dumps.
fn lab() -> Config {
    let extension = |destination: &str, actions: &[(&str, &str)]| Extension {
        destination: destination.into(),
        actions: actions.iter().map(|(application, argument)| Action::new(*application, *argument)).collect(),
    };
    let far = extension("9015", &[("answer", ""), ("sleep", "3000"), ("hangup", "NORMAL_CLEARING")]);
    Config {
        dialplan: Dialplan { extensions: vec![extension("9007", &[("park", "")]), far] },
        ..Config::default()
    }
}

struct Stage {
    bench: Bench,
    uuid: String,
    differences: Vec<String>,
}

/// Begins of the names of what a SIP leg and its media have of their own; the replay of the recordings compares that.
const OF_SIP: &[&str] = &[
    "advertised",
    "audio_",
    "dtmf_type",
    "ep_codec",
    "local_media",
    "recovery",
    "remote_",
    "rtp_",
    "sip_",
    "sofia_",
    "switch_r_sdp",
    "text_",
    "video_",
];

fn is_of_sip(name: &str) -> bool {
    let name = name.strip_prefix("variable_").unwrap_or(name);
    OF_SIP.iter().any(|prefix| name.starts_with(prefix))
}

/// Parts of the names of what each machine and each call has of its own: times, uuids, sizes, who is shown.
const OWN: &[&str] = &[
    "-Time",
    "Date-",
    "UUID",
    "Unique-ID",
    "Sequence",
    "Callee-ID",
    "Channel-Name",
    "Orig-",
    "Other-",
    "_uuid",
    "variable_uuid",
    "session_id",
    "channel_name",
    "originate_causes",
    "originated_legs",
    "bridge_to",
    "signal_bond",
    "record_file_size",
    "record_ms",
    "record_samples",
];

fn is_own(name: &str) -> bool {
    OWN.iter().any(|part| name.contains(part))
}

/// A recording file reads its sound unpacked; the emulated leg keeps its codec.
const KNOWN: &[&str] = &[
    "5-record-during: Channel-Read-Codec-Bit-Rate is 64000, not 128000",
    "5-record-during: Channel-Read-Codec-Name is PCMU, not L16",
    "5-record-during: variable_read_codec is PCMU, not L16",
    // Set when it begins, in the real one.
    "5-record-during: variable_silence_hits_exhausted is missing, false",
];

impl Stage {
    fn execute(&mut self, application: &str, argument: &str) {
        let uuid = self.uuid.clone();
        assert_eq!(self.bench.execute(&uuid, application, argument, "\nevent-lock: true"), "+OK");
    }

    fn compare(&mut self, name: &str) {
        let uuid = &self.uuid;
        let actual = parse(&self.bench.ask(&format!("api uuid_dump {uuid} json")));
        let expected = recorded(name);
        let named =
            |dump: &Dump| -> Vec<String> { dump.keys().filter(|key| !is_of_sip(key)).cloned().collect() };
        for key in named(&expected) {
            match actual.get(&key) {
                None => self.differences.push(format!("{name}: {key} is missing, {}", expected[&key])),
                Some(value) if *value != expected[&key] && !is_own(&key) => {
                    self.differences.push(format!("{name}: {key} is {value}, not {}", expected[&key]));
                }
                Some(_) => {}
            }
        }
        let surplus = named(&actual).into_iter().filter(|key| !expected.contains_key(key));
        self.differences.extend(surplus.map(|key| format!("{name}: {key} is surplus")));
    }
}

#[test]
fn a_taker_reads_what_it_would_read_from_a_real_switch() {
    let mut bench = Bench::connected(lab());
    bench.say(FIRST, "auth ClueCon");
    let call = InboundCall::new("0000000000", "9007");
    let uuid = bench.switch.inbound_call(bench.now, &call).unwrap().to_string();
    bench.wait_ms(40);
    let mut stage = Stage { bench, uuid, differences: Vec::new() };
    stage.compare("0-parked");
    stage.execute("answer", "");
    stage.compare("1-answer-after");
    stage.bench.wait_ms(100);
    stage.execute("playback", "tone_stream://%(3000,0,440)");
    stage.bench.wait_ms(1_000);
    stage.compare("2-playback-during");
    stage.bench.wait_ms(3_000);
    stage.compare("2-playback-after");
    stage.execute(
        "play_and_get_digits",
        r"4 4 1 3000 # tone_stream://%(1500,0,660) silence_stream://100 fdigits \d+ 2000",
    );
    stage.bench.wait_ms(500);
    stage.compare("3-play_and_get_digits-during");
    stage.bench.wait_ms(760);
    stage.bench.switch.caller_dtmf(stage.bench.now, &stage.uuid, "1234").unwrap();
    stage.bench.wait_ms(500);
    stage.compare("3-play_and_get_digits-after");
    let file = "/srv/pbx1/takeover/rec/3d712627-9174-4f45-a28d-2e26d293d916";
    stage.execute("record_session", &format!("{file}.wav"));
    stage.compare("4-record_session-after");
    stage.execute("record", &format!("{file}-b.wav 2"));
    stage.bench.wait_ms(1_000);
    stage.compare("5-record-during");
    stage.bench.wait_ms(2_000);
    stage.compare("5-record-after");
    stage.execute("bridge", "loopback/9015/default");
    stage.bench.wait_ms(1_500);
    stage.compare("6-bridge-during");
    stage.bench.wait_ms(4_000);
    stage.compare("6-bridge-after");
    stage.execute("playback", "tone_stream://%(1000,0,880)");
    stage.bench.wait_ms(500);
    stage.compare("7-playback-during");
    stage.bench.wait_ms(1_000);
    stage.compare("7-playback-after");
    assert_eq!(stage.differences, KNOWN, "{:#?}", stage.differences);
}

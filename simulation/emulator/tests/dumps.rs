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

/// What belongs to a SIP leg and its media, which other recordings are compared for.
fn is_of_sip(name: &str) -> bool {
    let name = name.strip_prefix("variable_").unwrap_or(name);
    [
        "sip_",
        "rtp_",
        "remote_",
        "local_media",
        "advertised",
        "switch_r_sdp",
        "video_",
        "text_",
        "audio_",
        "sofia_",
        "recovery",
        "ep_codec",
        "dtmf_type",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// What each machine and each call has of its own.
fn is_own(name: &str) -> bool {
    let ends = ["-Time", "Timestamp", "Date-Local", "Date-GMT", "-UUID", "Unique-ID", "Sequence"];
    ends.iter().any(|end| name.ends_with(end))
        || [
            "variable_uuid",
            "variable_call_uuid",
            "variable_session_id",
            "variable_originated_legs",
            "variable_originate_causes",
        ]
        .contains(&name)
        || name.contains("bridge_to")
        || name.contains("bridge_uuid")
        || name.contains("signal_bond")
        || name.starts_with("Other-")
        || name.contains("Channel-Name")
        || name.contains("channel_name")
        || name.contains("Orig-")
        || name.contains("Caller")
}

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
    stage.execute("record_session", "/srv/rec/a.wav");
    stage.compare("4-record_session-after");
    stage.execute("record", "/srv/rec/b.wav 2");
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
    assert_eq!(stage.differences, [""; 0], "{:#?}", stage.differences);
}

//! Whatever controllers and callers do at once, the switch goes on, and every call comes to its end.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::time::Duration;

use common::{Bench, FIRST};
use fipple_emulator::InboundCall;
use fipple_emulator::far_end::{Act, Step};
use fipple_emulator::random::Random;
use fipple_emulator::registrar::Phone;

/// Commands about calls; `U` and `V` stand for channels.
const COMMANDS: &[&str] = &[
    "originate {origination_uuid=U}null/x &park()",
    "originate sofia/e/1@h,sofia/e/busy@h|null/y V",
    "originate loopback/V/default &bridge(loopback/U/default)",
    "originate {ignore_early_media=true}sofia/e/early1@h &conference(room)",
    "uuid_bridge U V",
    "uuid_bridge U U",
    "uuid_transfer U V",
    "uuid_transfer U -both 'bridge:loopback/V,park:' inline",
    "uuid_transfer U -bleg V XML default",
    "uuid_dual_transfer U V/XML/default U",
    "uuid_kill U",
    "uuid_park U",
    "uuid_hold U",
    "uuid_hold toggle V",
    "uuid_break U all",
    "uuid_broadcast U tone_stream://%(100,0,440) both",
    "uuid_broadcast U conference::room both",
    "uuid_record U start /a.wav",
    "uuid_record U stop all",
    "uuid_displace U start /b.wav",
    "uuid_recv_dtmf U 12#",
    "uuid_setvar U park_after_bridge true",
    "uuid_setvar U transfer_after_bridge V:XML:default",
    "uuid_setvar U park_timeout 1:USER_BUSY",
    "uuid_answer U",
    "uuid_pre_answer U",
    "conference room kick all",
    "conference room play tone_stream://%(50,0,440)",
    "conference room lock",
    "conference room unlock",
    "conference xml_list",
    "hupall",
    "show detailed_calls as xml",
    "sofia recover",
    "expand uuid_dump ${create_uuid()} ${expand(eval x)}",
    "fsctl pause outbound",
    "fsctl resume",
];

/// Applications with their arguments.
const APPLICATIONS: &[(&str, &str)] = &[
    ("bridge", "sofia/e/1@h,sofia/e/2@h|loopback/V"),
    ("bridge", "{origination_uuid=U}null/x"),
    ("att_xfer", "null/z"),
    ("intercept", "V"),
    ("intercept", "-bleg V"),
    ("conference", "room@default+flags{mute}"),
    ("fifo", "queue in"),
    ("valet_park", "lot auto in 1 3"),
    ("read", "1 2 silence_stream://10 keys 100 #"),
    ("record_session", "/c.wav"),
    ("playback", "silence_stream://200"),
    ("park", ""),
    ("nosuch", ""),
];

fn abuse(seed: u64) -> (usize, Vec<u8>) {
    let mut random = Random::new(seed);
    let mut pick = |count: usize| random.in_range(&(0..=count as u64 - 1)) as usize;
    let mut bench = Bench::subscribed();
    let mut channels: Vec<String> = vec!["nobody".into()];
    let mut heard = Vec::new();
    for _ in 0..400 {
        let (one, another) = (channels[pick(channels.len())].clone(), channels[pick(channels.len())].clone());
        match pick(6) {
            0 => {
                let script = vec![
                    Step::new(Duration::from_millis(pick(500) as u64), Act::Holds),
                    Step::new(Duration::from_millis(pick(500) as u64), Act::Transfers(another)),
                    Step::new(Duration::from_millis(pick(2_000) as u64), Act::HangsUp),
                ];
                let call = InboundCall { script, ..InboundCall::new("1", one) };
                if let Ok(uuid) = bench.switch.inbound_call(bench.now, &call) {
                    channels.push(uuid.to_string());
                }
            }
            1 => {
                let (application, argument) = APPLICATIONS[pick(APPLICATIONS.len())];
                let argument = argument.replace('U', "fresh").replace('V', &another);
                let lock = ["", "\nevent-lock: true"][pick(2)];
                bench.say(FIRST, &format!(
                    "sendmsg {one}\ncall-command: execute\nexecute-app-name: {application}\nexecute-app-arg: {argument}{lock}"
                ));
            }
            2 => bench.switch.register(bench.now, &Phone::new("1", "d")).unwrap(),
            _ => {
                let command = COMMANDS[pick(COMMANDS.len())].replace('U', &one).replace('V', &another);
                bench.say(FIRST, &format!("bgapi {command}"));
            }
        }
        bench.collect();
        bench.wait_ms(pick(100) as u64);
        if channels.len() < 30 && bench.switch.ledger().call("fresh").is_some() {
            channels.push("fresh".into());
        }
        heard.extend(bench.take(FIRST));
    }
    for _ in 0..3 {
        // Whatever was being dialled or sent elsewhere ends too.
        bench.say(FIRST, "bgapi fsctl pause\n\nbgapi hupall");
        bench.wait_ms(70_000);
    }
    assert_eq!(bench.ask("api echo alive"), "alive");
    (bench.switch.counts().channels, heard)
}

#[test]
fn every_call_ends_whatever_was_done_to_it() {
    for seed in 0..8 {
        let (left, heard) = abuse(seed);
        assert_eq!(left, 0, "channels are left over with seed {seed}");
        assert!(heard.len() > 100_000, "seed {seed} did next to nothing");
    }
}

#[test]
fn the_same_abuse_gives_the_same_bytes() {
    assert!(abuse(7) == abuse(7), "two runs of the same inputs differ");
}

#[test]
fn a_chain_of_bridges_ends() {
    let mut bench = Bench::subscribed();
    let names: Vec<String> = (0..300).map(|number| format!("u{number}")).collect();
    names.iter().for_each(|name| bench.park(name));
    bench.events();
    // All of them at once, before any of the channels had its turn.
    let script: String =
        names.windows(2).map(|pair| format!("api uuid_bridge {} {}\n\n", pair[0], pair[1])).collect();
    bench.write(FIRST, script.as_bytes());
    bench.wait_ms(100);
    bench.ask("api hupall");
    bench.wait_ms(100);
    assert_eq!(bench.switch.counts().channels, 0);
}

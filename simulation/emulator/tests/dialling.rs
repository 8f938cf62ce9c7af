//! Dialling: several legs, what becomes of each, and what their far ends do.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::time::Duration;

use common::{Bench, FIRST, frames};
use fipple_emulator::config::{Answer, CalleeScript, Destination};
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::far_end::{Act, Step};
use fipple_emulator::{Cause, Config, InboundCall};

fn destination(pattern: &str, answer: Answer) -> Destination {
    Destination { pattern: pattern.into(), answer }
}

fn answers_after(milliseconds: u64) -> Answer {
    Answer::Answers {
        ring_after: Duration::from_millis(10),
        answer_after: Duration::from_millis(milliseconds),
    }
}

/// Destinations that behave by their names, and an extension for each way in which a loopback's other half ends.
fn config() -> Config {
    let extension = |destination: &str, application: &str, argument: &str| Extension {
        destination: destination.into(),
        actions: vec![Action::new(application, argument), Action::new("sleep", "1000")],
    };
    let mut destinations =
        vec![destination("slow", answers_after(400)), destination("fast", answers_after(200))];
    destinations.extend(Destination::well_known());
    let dialplan = Dialplan {
        extensions: vec![
            extension("echo", "answer", ""),
            extension("refuse", "hangup", "USER_BUSY"),
            extension("park", "park", ""),
        ],
    };
    Config { destinations, dialplan, ..Config::default() }
}

fn bench() -> Bench {
    let mut bench = Bench::connected(config());
    bench.say(FIRST, "auth ClueCon\n\nevent plain ALL");
    bench.take(FIRST);
    bench
}

/// The reply to `originate`, and what became of each leg by the ledger.
fn originate(dial_string: &str) -> (String, Vec<(String, &'static str)>) {
    let mut bench = bench();
    bench.say(FIRST, &format!("api originate {dial_string} &park()"));
    bench.wait_ms(3_000);
    let replies = frames(&bench.take(FIRST));
    let reply = replies.iter().find(|frame| frame.content_type() == "api/response").unwrap().body.clone();
    let calls = bench.switch.ledger().calls();
    let mut legs: Vec<_> = calls.map(|call| (call.created, call.destination.clone(), call.cause)).collect();
    legs.sort();
    (reply, legs.into_iter().map(|(_, destination, cause)| (destination, cause)).collect())
}

#[test]
fn the_first_to_answer_wins_and_the_others_lose_the_race() {
    let (reply, mut legs) = originate("{origination_uuid=won}sofia/e/slow@h,sofia/e/fast@h,sofia/e/busy@h");
    legs.sort();
    // The uuid went to the first leg; the one that won has its own.
    assert!(reply.starts_with("+OK ") && reply != "+OK won\n", "{reply}");
    let expected = [("busy", "USER_BUSY"), ("fast", ""), ("slow", "LOSE_RACE")];
    assert_eq!(legs, expected.map(|(destination, cause)| (destination.to_owned(), cause)));
}

#[test]
fn groups_are_dialled_one_after_the_other() {
    let (reply, legs) =
        originate("sofia/e/busy@h|error/CALL_REJECTED|[origination_uuid=third]sofia/e/fast@h|null/x");
    assert_eq!(reply, "+OK third\n");
    assert_eq!(legs, [("busy".to_owned(), "USER_BUSY"), ("fast".to_owned(), "")]);
    let (reply, legs) = originate("sofia/e/busy@h|sofia/e/reject1@h,sofia/e/busy@h");
    assert_eq!(reply, "-ERR CALL_REJECTED\n");
    assert_eq!(legs.len(), 3);
}

#[test]
fn each_group_rings_for_the_whole_time_and_a_leg_for_its_own() {
    let mut bench = bench();
    bench.say(FIRST, "api originate {originate_timeout=2}sofia/e/noanswer1@h|sofia/e/noanswer2@h &park()");
    bench.wait_ms(3_900);
    assert_eq!(bench.switch.counts().channels, 1);
    bench.wait_ms(200);
    assert_eq!(bench.switch.counts().channels, 0);
    bench.take(FIRST);
    bench.say(FIRST, "api originate [leg_timeout=1]sofia/e/noanswer1@h,sofia/e/noanswer2@h &park()");
    bench.wait_ms(1_100);
    let ended = bench.switch.ledger().calls().filter(|call| call.ended.is_some()).count();
    assert_eq!((bench.switch.counts().channels, ended), (1, 3));
}

#[test]
fn early_media_is_an_answer_unless_it_is_ignored() {
    for (ignored, replies_at_once) in [("false", true), ("true", false)] {
        let mut bench = bench();
        let variables = format!("{{origination_uuid=u,ignore_early_media={ignored}}}");
        bench.say(FIRST, &format!("api originate {variables}sofia/e/early1@h &park()"));
        bench.wait_ms(100);
        assert_eq!(String::from_utf8(bench.take(FIRST)).unwrap().contains("+OK u\n"), replies_at_once);
        bench.wait_ms(1_000);
        let names: Vec<String> = bench.events().iter().map(|event| event.name().to_owned()).collect();
        let position = |name: &str| names.iter().position(|other| other == name);
        // Parked for its early media, the leg is answered later.
        let parked_before = position("CHANNEL_PARK").is_none() && position("CHANNEL_ANSWER").is_some();
        assert_eq!(parked_before, replies_at_once, "{names:?}");
        assert_eq!(bench.ask("api uuid_getvar u endpoint_disposition"), "ANSWER");
    }
}

#[test]
fn a_caller_hears_its_callee_ring_and_its_early_media() {
    let mut bench = bench();
    let caller = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "park")).unwrap();
    bench.collect();
    bench.events();
    bench.execute(&caller, "bridge", "{origination_uuid=b}sofia/e/early1@h", "");
    bench.wait_ms(100);
    let of_caller = |bench: &mut Bench| -> Vec<String> {
        let events = bench.events();
        let own = events.iter().filter(|event| event.get("Unique-ID") == &*caller);
        own.map(|event| format!("{} {}", event.name(), event.get("Answer-State"))).collect()
    };
    assert_eq!(
        of_caller(&mut bench)[1..],
        [
            "CHANNEL_PROGRESS_MEDIA early",
            "CHANNEL_CALLSTATE early",
            "CHANNEL_BRIDGE early",
            "CALL_UPDATE early"
        ]
    );
    bench.wait_ms(1_000);
    assert_eq!(of_caller(&mut bench), ["CHANNEL_ANSWER answered", "CHANNEL_CALLSTATE answered"]);
}

#[test]
fn the_halves_of_a_loopback_leg_live_and_die_together() {
    let mut bench = bench();
    assert_eq!(bench.ask("api originate {origination_uuid=a}loopback/echo/default &park()"), "+OK a\n");
    let other = bench.ask("api uuid_getvar a other_loopback_leg_uuid");
    assert_eq!(bench.ask(&format!("api uuid_getvar {other} other_loopback_leg_uuid")), "a");
    // The dialplan of the other half comes to its end: it hangs up, and so does the leg.
    bench.wait_ms(1_000);
    assert_eq!(bench.switch.counts().channels, 0);
    let causes: Vec<_> = bench.switch.ledger().calls().map(|call| (call.outbound, call.cause)).collect();
    assert_eq!(causes.len(), 2);
    assert!(causes.iter().all(|(_, cause)| *cause == "NORMAL_CLEARING"), "{causes:?}");
    assert_eq!(bench.ask("api originate loopback/refuse &park()"), "-ERR USER_BUSY\n");
    assert_eq!(bench.ask("api originate loopback/nowhere &park()"), "-ERR NO_ROUTE_DESTINATION\n");
    // A half that parks unanswered lets whoever dialled wait.
    bench.say(FIRST, "bgapi originate {origination_uuid=c,originate_timeout=5}loopback/park &park()");
    bench.wait_ms(4_900);
    assert_eq!(bench.switch.counts().channels, 2);
    bench.wait_ms(200);
    assert_eq!(bench.switch.ledger().call("c").unwrap().cause, "NO_ANSWER");
    assert_eq!(bench.switch.counts().channels, 0);
}

#[test]
fn a_callee_does_what_its_script_says() {
    let steps = vec![
        Step::new(Duration::from_millis(500), Act::Presses("12#".into())),
        Step::new(Duration::from_millis(500), Act::HangsUp),
    ];
    let scripts = vec![CalleeScript { pattern: "fast".into(), steps }];
    let mut bench = Bench::connected(Config { scripts, ..config() });
    bench.say(FIRST, "auth ClueCon\n\nbgapi originate {origination_uuid=u}sofia/e/fast@h &park()");
    bench.wait_ms(300);
    bench.execute("u", "play_and_get_digits", "1 9 1 5000 # silence_stream://1 silence_stream://1 keys", "");
    bench.wait_ms(450);
    assert_eq!(bench.ask("api uuid_getvar u keys"), "12");
    bench.wait_ms(500);
    let call = bench.switch.ledger().call("u").unwrap();
    assert_eq!((call.cause, call.ended.is_some()), ("NORMAL_CLEARING", true));
}

#[test]
fn a_caller_waits_for_the_answer_before_it_goes_on() {
    let mut bench = bench();
    let script = vec![
        Step::new(Duration::ZERO, Act::WaitsForAnswer),
        Step::new(Duration::from_millis(100), Act::Holds),
        Step::new(Duration::from_millis(100), Act::Resumes),
        Step::new(Duration::from_millis(100), Act::HangsUp),
    ];
    let call = InboundCall { script, ..InboundCall::new("1", "park") };
    let uuid = bench.switch.inbound_call(bench.now, &call).unwrap();
    bench.collect();
    bench.wait_ms(1_000);
    bench.events();
    bench.ask(&format!("api uuid_answer {uuid}"));
    bench.wait_ms(250);
    let told: Vec<String> = bench
        .events()
        .iter()
        .filter(|event| event.name() != "API")
        .map(|event| format!("{} {}", event.name(), event.get("Channel-Call-State")).trim().to_owned())
        .collect();
    // As in transcript b_formats_call_life/hold_unhold_plain.
    let expected = [
        "CHANNEL_ANSWER RINGING",
        "CHANNEL_CALLSTATE ACTIVE",
        "CHANNEL_CALLSTATE HELD",
        "CHANNEL_HOLD HELD",
        "CUSTOM",
        "CHANNEL_CALLSTATE UNHELD",
        "CHANNEL_UNHOLD UNHELD",
        "CUSTOM",
        "CHANNEL_CALLSTATE ACTIVE",
    ];
    assert_eq!(told, expected);
    bench.wait_ms(100);
    assert_eq!(bench.switch.ledger().call(&uuid).unwrap().cause, "NORMAL_CLEARING");
}

#[test]
fn a_refusal_of_every_leg_is_told_to_the_bridging_channel() {
    let refuses = Answer::Refuses { after: Duration::from_millis(10), cause: Cause::named("NUMBER_CHANGED") };
    let mut bench = Bench::connected(Config { destinations: vec![destination("*", refuses)], ..config() });
    bench.say(FIRST, "auth ClueCon");
    bench.take(FIRST);
    bench.ask("api originate {origination_uuid=a,continue_on_fail=22}loopback/echo &park()");
    let caller = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "park")).unwrap();
    bench.collect();
    bench.ask(&format!("api uuid_setvar {caller} continue_on_fail USER_BUSY,NUMBER_CHANGED"));
    bench.execute(&caller, "bridge", "sofia/e/1@h,sofia/e/2@h", "");
    bench.wait_ms(50);
    assert_eq!(bench.ask(&format!("api uuid_getvar {caller} originate_disposition")), "NUMBER_CHANGED");
    let causes = bench.ask(&format!("api uuid_getvar {caller} originate_causes"));
    assert_eq!(causes.matches("NUMBER_CHANGED").count(), 2, "{causes}");
    assert_eq!(bench.ask(&format!("api uuid_exists {caller}")), "true");
}

#[test]
fn an_originated_leg_goes_to_an_extension() {
    let mut bench = bench();
    assert_eq!(bench.ask("api originate {origination_uuid=u}null/x park XML default Name 123 5"), "+OK u\n");
    assert_eq!(bench.ask("api uuid_getvar u current_application"), "park");
    assert_eq!(bench.ask("api uuid_getvar u origination_caller_id_number"), "123");
    // An extension that is not there is found out after the reply.
    assert_eq!(bench.ask("api originate {origination_uuid=v}null/x nowhere"), "+OK v\n");
    assert_eq!(bench.switch.ledger().call("v").unwrap().cause, "NO_ROUTE_DESTINATION");
}

#[test]
fn a_background_originate_blocks_nobody() {
    let mut bench = bench();
    bench.say(FIRST, "bgapi originate {originate_timeout=2}sofia/e/noanswer1@h &park()\nJob-UUID: dial");
    assert_eq!(bench.ask("api echo meanwhile"), "meanwhile");
    bench.wait_ms(2_100);
    let job = bench.events().into_iter().find(|event| event.name() == "BACKGROUND_JOB").unwrap();
    assert_eq!(job.get("Job-UUID"), "dial");
    bench.say(FIRST, "api originate {originate_timeout=2}sofia/e/noanswer1@h &park()\n\napi echo late");
    bench.wait_ms(1_900);
    assert!(!String::from_utf8(bench.take(FIRST)).unwrap().contains("late"));
    bench.wait_ms(200);
    assert!(String::from_utf8(bench.take(FIRST)).unwrap().contains("late"));
}

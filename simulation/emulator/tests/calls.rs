//! What controllers do with calls, and how the switch takes it.

mod common;

use std::time::Duration;

use common::{Bench, FIRST, Frame, SECOND, frames};
use fipple_emulator::config::{Answer, Destination};
use fipple_emulator::ledger::HungUpBy;
use fipple_emulator::{Cause, Config, ConnectionId, InboundCall, Input};

const TONE: &str = "tone_stream://%(200,0,440)";

fn names(bench: &mut Bench) -> Vec<String> {
    bench.events().iter().map(|event| event.name().to_owned()).collect()
}

#[test]
fn executes_nest_without_event_lock() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    bench.execute("u", "playback", TONE, "\nEvent-UUID: outer");
    bench.wait_ms(50);
    bench.execute("u", "set", "x=1", "\nEvent-UUID: inner");
    bench.wait_ms(500);
    assert_eq!(bench.executions(), ["+playback outer", "+set inner", "-set inner", "-playback outer"]);
}

#[test]
fn executes_queue_with_event_lock() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    bench.execute("u", "playback", TONE, "\nevent-lock: true\nEvent-UUID: first");
    bench.execute("u", "set", "x=1", "\nevent-lock: true\nEvent-UUID: second");
    bench.execute("u", "playback", TONE, "\nEvent-UUID: third");
    bench.wait_ms(1_000);
    let expected = [
        "+playback first",
        "-playback first",
        "+set second",
        "-set second",
        "+playback third",
        "-playback third",
    ];
    assert_eq!(bench.executions(), expected);
}

#[test]
fn loops_run_again_under_uuids_of_their_own() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    bench.execute("u", "playback", "tone_stream://%(600,0,440)", "\nloops: 3");
    bench.wait_ms(2_000);
    let events = bench.events();
    let runs: Vec<_> = events.iter().filter(|event| event.name() == "CHANNEL_EXECUTE").collect();
    let loops: Vec<_> = runs.iter().map(|event| event.get("variable_current_loop")).collect();
    assert_eq!(loops, ["1", "2", "3"]);
    assert!(runs[0].get("Application-UUID") != runs[1].get("Application-UUID"));
    assert_eq!(bench.ask("api uuid_getvar u current_loop"), "_undef_");
}

#[test]
fn what_ends_soon_or_is_broken_off_is_not_looped() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    bench.execute("u", "playback", TONE, "\nloops: 3\nEvent-UUID: short");
    bench.execute("u", "set", "x=1", "\nloops: 3\nEvent-UUID: set");
    bench.wait_ms(1_000);
    bench.execute("u", "playback", "silence_stream://60000", "\nloops: 3\nEvent-UUID: broken");
    bench.wait_ms(1_000);
    bench.ask("api uuid_break u");
    bench.wait_ms(1_000);
    let expected = [
        "+playback short",
        "+set set",
        "-set set",
        "-playback short",
        "+playback broken",
        "-playback broken",
    ];
    assert_eq!(bench.executions(), expected);
}

#[test]
fn an_argument_may_come_in_a_body_of_plain_text() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    for (content_type, value) in [("", "_undef_"), ("content-type: text/plain\n", "line1\nline2")] {
        let head = "sendmsg u\ncall-command: execute\nexecute-app-name: set";
        let message = format!("{head}\n{content_type}content-length: 16\n\nfoo2=line1\nline2");
        bench.write(FIRST, message.as_bytes());
        assert_eq!(bench.ask("api uuid_getvar u foo2"), value);
    }
}

#[test]
fn what_is_broadcast_waits_its_turn_and_nothing_runs_inside_it() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    assert_eq!(bench.ask(&format!("api uuid_broadcast u {TONE} aleg")), "+OK Message sent\n");
    bench.wait_ms(50);
    bench.execute("u", "set", "x=1", "\nEvent-UUID: behind");
    assert_eq!(bench.ask("api uuid_broadcast u set::a::b"), "+OK Message sent\n");
    bench.wait_ms(500);
    let runs = bench.executions();
    let runs: Vec<_> = runs.iter().map(|run| run.split(' ').next().unwrap()).collect();
    assert_eq!(runs, ["+playback", "-playback", "+set", "-set", "+set", "-set"]);
    assert_eq!(bench.ask(&format!("api uuid_broadcast nosuch {TONE}")), "-ERR invalid uuid\n");
}

#[test]
fn the_257th_waiting_command_is_lost_and_costs_the_connection() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.execute("u", "playback", "silence_stream://60000", "\nevent-lock: true");
    for _ in 0..256 {
        assert_eq!(bench.execute("u", "set", "n=1", ""), "+OK");
    }
    assert!(!bench.is_closed(FIRST));
    bench.say(FIRST, "sendmsg u\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: n=2");
    assert!(bench.is_closed(FIRST));
    bench.wait_ms(61_000);
    bench.connect(SECOND);
    bench.write(SECOND, b"auth ClueCon\n\napi uuid_getvar u n\n\n");
    let replies = frames(&bench.take(SECOND));
    assert_eq!(replies.last().unwrap().body, "1");
}

#[test]
fn a_dead_controllers_commands_still_run() {
    let mut bench = Bench::subscribed();
    bench.connect(SECOND);
    bench.park("u");
    let play = format!(
        "sendmsg u\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: {TONE}\nevent-lock: true\n\n"
    );
    let set = "sendmsg u\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: late=yes\nevent-lock: true\n\n";
    bench.write(SECOND, format!("auth ClueCon\n\n{play}{set}").as_bytes());
    bench.switch.handle(bench.now, Input::Closed(SECOND));
    bench.wait_ms(300);
    assert_eq!(bench.ask("api uuid_getvar u late"), "yes");
    let call = bench.switch.ledger().call("u").unwrap();
    let executions: Vec<_> = call.executions.iter().map(|run| (&*run.application, run.connection)).collect();
    assert_eq!(executions, [("park", None), ("playback", Some(SECOND)), ("set", Some(SECOND))]);
    assert!(call.executions[0].ended.is_none() && call.executions[1].ended.is_some());
}

#[test]
fn uuid_break_ends_one_playback_and_all_flushes_the_queue() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    let long = "silence_stream://60000";
    bench.execute("u", "playback", long, "\nevent-lock: true\nEvent-UUID: first");
    bench.execute("u", "playback", long, "\nevent-lock: true\nEvent-UUID: second");
    bench.execute("u", "set", "x=1", "\nevent-lock: true\nEvent-UUID: third");
    assert_eq!(bench.ask("api uuid_break u"), "+OK\n");
    assert_eq!(bench.ask("api uuid_break u all"), "+OK\n");
    let events = bench.events();
    let stops = events.iter().filter(|event| event.name() == "PLAYBACK_STOP");
    assert_eq!(stops.map(|event| event.get("Playback-Status")).collect::<Vec<_>>(), ["break", "break"]);
    assert_eq!(bench.ask("api uuid_getvar u x"), "_undef_");
}

#[test]
fn an_api_holds_its_connections_events_back() {
    let mut bench = Bench::subscribed();
    bench.connect(SECOND);
    bench.write(SECOND, b"auth ClueCon\n\nevent plain CHANNEL_CREATE\n\n");
    bench.take(SECOND);
    bench.say(FIRST, "api msleep 300\n\napi echo next");
    bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
    bench.collect();
    assert_eq!(frames(&bench.take(FIRST)), []);
    assert_eq!(frames(&bench.take(SECOND)).len(), 1);
    bench.wait_ms(300);
    let kinds: Vec<String> =
        frames(&bench.take(FIRST)).iter().map(|frame| frame.content_type().to_owned()).collect();
    assert_eq!(kinds.first().unwrap(), "api/response");
    // Transcript c_api_bgapi/api_blocks_connection: the command that waited is read before the events are looked at.
    assert_eq!(kinds[1], "api/response");
    assert!(kinds[2..].iter().filter(|kind| *kind == "text/event-plain").count() > 15, "{kinds:?}");
}

#[test]
fn exit_waits_for_jobs() {
    let mut bench = Bench::logged_in();
    bench.say(FIRST, "bgapi msleep 1500\nJob-UUID: orphan\n\nexit");
    assert!(!bench.is_closed(FIRST));
    bench.wait_ms(1_499);
    assert!(!bench.is_closed(FIRST));
    bench.wait_ms(1);
    assert!(bench.is_closed(FIRST));
    let last = frames(&bench.take(FIRST)).pop().unwrap();
    assert_eq!(last.content_type(), "text/disconnect-notice");
}

#[test]
fn jobs_echo_their_uuid_and_answer_in_an_event() {
    let mut bench = Bench::logged_in();
    bench.say(FIRST, "event plain BACKGROUND_JOB");
    bench.take(FIRST);
    bench.say(FIRST, "bgapi echo a b\nJob-UUID: mine");
    bench.say(FIRST, "bgapi global_getvar nosuch\nJob-UUID: empty");
    let frames: Vec<Frame> = frames(&bench.take(FIRST));
    assert_eq!(frames[0].header("Reply-Text"), "+OK Job-UUID: mine");
    assert_eq!(frames[0].header("Job-UUID"), "mine");
    assert!(
        frames[1]
            .body
            .ends_with("Job-UUID: mine\nJob-Command: echo\nJob-Command-Arg: a%20b\nContent-Length: 3\n\na b")
    );
    assert!(frames[3].body.ends_with("Job-Command: global_getvar\nJob-Command-Arg: nosuch\n\n"));
}

#[test]
fn show_channels_lags_behind_birth_and_death() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    assert_eq!(bench.ask("api uuid_exists u"), "true");
    assert_eq!(bench.ask("api show channels as json"), "{\"row_count\": 0}\n");
    bench.wait_ms(89);
    assert_eq!(bench.ask("api show channels count"), "\n0 total.\n");
    bench.wait_ms(311);
    let listed: serde_json::Value = serde_json::from_str(&bench.ask("api show channels as json")).unwrap();
    assert_eq!(listed["row_count"], 1);
    assert_eq!(listed["rows"][0]["uuid"], "u");
    assert_eq!(listed["rows"][0]["application"], "park");
    bench.ask("api uuid_kill u");
    assert_eq!(bench.ask("api uuid_exists u"), "false");
    bench.wait_ms(89);
    assert_eq!(bench.ask("api show calls count"), "\n1 total.\n");
    bench.wait_ms(311);
    assert_eq!(bench.ask("api show calls as json"), "{\"row_count\": 0}\n");
}

#[test]
fn originate_has_the_outcomes_that_the_destination_says() {
    let mut bench = Bench::logged_in();
    let mut outcome = |dial: &str| {
        bench.say(FIRST, &format!("api originate {{originate_timeout=3}}{dial} &park()"));
        bench.wait_ms(4_000);
        frames(&bench.take(FIRST)).pop().map(|frame| frame.body).unwrap_or_default()
    };
    assert_eq!(outcome("sofia/external/busy@host"), "-ERR USER_BUSY\n");
    assert_eq!(outcome("sofia/external/noanswer1@host"), "-ERR NO_ANSWER\n");
    assert_eq!(outcome("user/reject"), "-ERR CALL_REJECTED\n");
    assert_eq!(outcome("error/UNALLOCATED_NUMBER"), "-ERR UNALLOCATED_NUMBER\n");
    assert_eq!(outcome("foo/bar"), "-ERR CHAN_NOT_IMPLEMENTED\n");
    assert_eq!(outcome("sofia/gateway/none/123"), "-ERR INVALID_GATEWAY\n");
    assert!(outcome("user/1000@lab").starts_with("+OK "));
    // Its other half parks unanswered.
    assert_eq!(outcome("loopback/9001/default"), "-ERR NO_ANSWER\n");
}

#[test]
fn a_taken_origination_uuid_gives_a_second_call_under_another() {
    let mut bench = Bench::logged_in();
    bench.park("same");
    let second = bench.ask("api originate {origination_uuid=same}null/x &park()");
    assert!(second.starts_with("+OK ") && second != "+OK same\n");
    assert_eq!(bench.switch.counts().channels, 2);
}

#[test]
fn an_unwritable_recording_hangs_up() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    assert_eq!(bench.execute("u", "record_session", "/nonexistent/a.wav", ""), "+OK");
    assert_eq!(bench.ask("api uuid_exists u"), "false");
    let record = bench.switch.ledger().call("u").unwrap();
    assert_eq!((record.cause, record.hung_up_by), ("DESTINATION_OUT_OF_ORDER", Some(HungUpBy::Switch)));
}

#[test]
fn the_ledger_knows_who_hung_up() {
    let mut bench = Bench::logged_in();
    let by = |bench: &Bench, uuid: &str| {
        let call = bench.switch.ledger().call(uuid).unwrap();
        (call.cause, call.hung_up_by.unwrap(), call.ended.is_some())
    };
    let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
    bench.switch.caller_hangup(bench.now, &uuid).unwrap();
    assert_eq!(by(&bench, &uuid), ("ORIGINATOR_CANCEL", HungUpBy::Remote, true));
    assert!(bench.switch.caller_hangup(bench.now, &uuid).is_err());
    bench.park("u");
    bench.ask("api uuid_kill u CALL_REJECTED");
    assert_eq!(by(&bench, "u"), ("CALL_REJECTED", HungUpBy::Controller(Some(FIRST)), true));
    bench.park("v");
    bench.ask("sendmsg v\ncall-command: hangup\nhangup-cause: NOSUCH");
    assert_eq!(by(&bench, "v"), ("NORMAL_CLEARING", HungUpBy::Controller(Some(FIRST)), true));
}

#[test]
fn scheduled_tasks_run_and_can_be_deleted() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.execute("u", "sched_transfer", "+3 FALLBACK XML default", "");
    let tasks: serde_json::Value = serde_json::from_str(&bench.ask("api show tasks as json")).unwrap();
    assert_eq!(tasks["rows"][0]["task_group"], "u");
    assert_eq!(bench.ask("api sched_del u"), "+OK Deleted: 1\n");
    bench.execute("u", "sched_transfer", "+3 FALLBACK XML default", "");
    assert_eq!(bench.ask("api sched_api +2 group uuid_setvar u at two"), "+OK Added: 6\n");
    bench.wait_ms(2_000);
    assert_eq!(bench.ask("api uuid_getvar u at"), "two");
    assert_eq!(bench.ask("api uuid_getvar u destination_number"), "x");
    bench.wait_ms(1_000);
    assert_eq!(bench.ask("api uuid_getvar u destination_number"), "FALLBACK");
}

#[test]
fn digits_are_collected_or_time_out() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    let arguments = "2 4 1 1000 # silence_stream://500 silence_stream://100 pin \\d+";
    bench.execute("u", "play_and_get_digits", arguments, "");
    bench.wait_ms(300);
    assert_eq!(bench.ask("api uuid_recv_dtmf u 12#9"), "+OK u received DTMF 12#9.\n");
    assert_eq!(bench.ask("api uuid_getvar u pin"), "12");
    assert_eq!(bench.ask("api uuid_getvar u read_result"), "success");
    bench.execute("u", "play_and_get_digits", &arguments.replace("pin", "other"), "");
    bench.wait_ms(1_000);
    // The 9 that was left over came first; too short is no result.
    bench.wait_ms(2_000);
    assert_eq!(bench.ask("api uuid_getvar u other"), "_undef_");
    assert_eq!(bench.ask("api uuid_getvar u read_result"), "timeout");
}

#[test]
fn a_key_ends_the_question_and_wrong_keys_are_complained_of() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.say(FIRST, "event plain PLAYBACK_START PLAYBACK_STOP CHANNEL_EXECUTE_COMPLETE");
    bench.take(FIRST);
    bench.execute("u", "play_and_get_digits", "2 4 2 1000 # /ask.wav /wrong.wav pin \\d+", "");
    bench.wait_ms(300);
    bench.ask("api uuid_recv_dtmf u 1#");
    // The complaint plays to its end, whatever is pressed meanwhile.
    bench.wait_ms(500);
    bench.ask("api uuid_recv_dtmf u 47#");
    bench.wait_ms(2_000);
    let told = bench.events();
    let told: Vec<String> = told
        .iter()
        .map(|event| format!("{} {}", event.name(), event.get("Playback-File-Path")).trim().to_owned())
        .collect();
    let expected = [
        "PLAYBACK_START /ask.wav",
        "PLAYBACK_STOP /ask.wav",
        "PLAYBACK_START /wrong.wav",
        "PLAYBACK_STOP /wrong.wav",
        "CHANNEL_EXECUTE_COMPLETE",
    ];
    assert_eq!(told, expected);
    assert_eq!(bench.ask("api uuid_getvar u pin"), "47");
    assert_eq!(bench.ask("api uuid_getvar u read_terminator_used"), "#");
}

#[test]
fn an_extension_runs_inside_execute_extension() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    bench.execute(
        "u",
        "execute_extension",
        "'set:a=1,set:b=${caller_id_number}2' inline",
        "\nEvent-UUID: step",
    );
    assert_eq!(
        bench.executions(),
        ["+execute_extension step", "+set", "-set", "+set", "-set", "-execute_extension step"]
    );
    // Variables are expanded when the outer application begins.
    assert_eq!(bench.ask("api uuid_getvar u b"), "x2");
}

#[test]
fn destinations_can_be_scripted() {
    let refuses = Answer::Refuses { after: Duration::from_millis(10), cause: Cause::named("NUMBER_CHANGED") };
    let config = Config {
        destinations: vec![Destination { pattern: "55*".into(), answer: refuses }],
        ..Config::default()
    };
    let mut bench = Bench::connected(config);
    bench.say(FIRST, "auth ClueCon\n\napi originate user/5501 &park()");
    bench.wait_ms(10);
    assert_eq!(frames(&bench.take(FIRST)).pop().unwrap().body, "-ERR NUMBER_CHANGED\n");
}

#[test]
fn many_pieces_and_strange_commands_do_no_harm() {
    let mut bench = Bench::subscribed();
    let bytes = "sendmsg\n\nsendmsg x\ncall-command:\n\nuuid_kill\n\napi uuid_setvar\n\napi hash\n\napi originate {{{\n\n\
                 bgapi originate null/x &\n\nfilter\n\nevent\n\nsendevent\n\napi uuid_dump  \n\napi sched_api\n\n\
                 api uuid_broadcast\n\napi show\n\nlog 99\n\n\u{0}\n\n";
    for byte in bytes.as_bytes() {
        bench.write(FIRST, &[*byte]);
    }
    assert_eq!(bench.ask("api echo alive"), "alive");
    assert!(!bench.is_closed(FIRST));
    bench.switch.handle(bench.now, Input::Received(ConnectionId(99), b"nobody"));
    assert_eq!(names(&mut bench).iter().filter(|name| *name == "SHUTDOWN").count(), 0);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let run = |seed_call: &str| {
        let mut bench = Bench::subscribed();
        bench.say(FIRST, "event json ALL");
        for number in 0..20 {
            let call = InboundCall::new(format!("{seed_call}{number}"), "9001");
            let uuid = bench.switch.inbound_call(bench.now, &call).unwrap();
            bench.collect();
            bench.execute(&uuid, "bridge", "sofia/external/1000@host", "");
            bench.wait_ms(137);
            bench.say(FIRST, "api show channels as json");
        }
        bench.wait_ms(1_000);
        bench.say(FIRST, "api hupall");
        bench.take(FIRST)
    };
    let first = run("1");
    assert!(first.len() > 1_000_000);
    assert!(first == run("1"), "two runs of the same inputs differ");
    assert!(first != run("2"));
}

#[test]
fn a_command_is_known_by_its_beginning() {
    let mut bench = Bench::logged_in();
    assert_eq!(bench.ask("events json ALL"), "+OK event listener enabled json");
}

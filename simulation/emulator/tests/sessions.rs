//! Connections that control a channel: `myevents`, and the application `socket`.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, FIRST, SECOND, frames};
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::{Config, InboundCall, Input, Uuid};

/// A call that runs `socket` and then plays something; a watcher listens to everything on the first connection.
fn called(socket: &str) -> (Bench, Uuid) {
    let actions = [("socket", socket), ("set", "after=socket"), ("park", "")];
    let actions = actions.map(|(application, argument)| Action::new(application, argument)).to_vec();
    let dialplan = Dialplan { extensions: vec![Extension { destination: "*".into(), actions }] };
    let mut bench = Bench::connected(Config { dialplan, ..Config::default() });
    bench.log_in(FIRST, "event plain ALL");
    let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("100", "200")).unwrap();
    bench.collect();
    (bench, uuid)
}

/// [`called`], and the controller has said `connect` and `myevents`.
fn controlled(socket: &str) -> (Bench, Uuid) {
    let (mut bench, uuid) = called(socket);
    bench.answer_connect(SECOND);
    bench.say(SECOND, "connect");
    bench.say(SECOND, "myevents");
    assert_eq!(bench.heard(SECOND).last().unwrap(), "+OK Events Enabled");
    (bench, uuid)
}

fn execute(bench: &mut Bench, application: &str, argument: &str) {
    let command = format!("sendmsg\ncall-command: execute\nexecute-app-name: {application}");
    bench.say(SECOND, &format!("{command}\nexecute-app-arg: {argument}"));
}

/// Names of the watcher's events, those that every call has left out.
fn watched(bench: &mut Bench) -> Vec<String> {
    let told =
        ["CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_PARK", "CHANNEL_UNPARK", "CHANNEL_DESTROY"];
    let events = bench.events();
    let events = events.iter().filter(|event| told.contains(&event.name()));
    events
        .map(|event| format!("{} {}", event.name(), event.get("Application")).trim_end().to_owned())
        .collect()
}

#[test]
fn the_answer_to_connect_is_one_block_of_headers() {
    let (mut bench, uuid) = called("192.0.2.9:8084 async full");
    assert_eq!(bench.wanted[0].1, "192.0.2.9:8084");
    bench.answer_connect(SECOND);
    assert!(bench.take(SECOND).is_empty(), "the controller speaks first");
    bench.say(SECOND, "connect");
    let block = String::from_utf8(bench.take(SECOND)).unwrap();
    assert!(block.starts_with("Event-Name: CHANNEL_DATA\nCore-UUID: "));
    assert!(block.contains(&format!("\nUnique-ID: {uuid}\n")) && !block.contains("Content-Length"));
    assert!(block.contains("\nChannel-Destination-Number: 200\n") && block.contains("\nCaller-ANI: 100\n"));
    assert!(block.ends_with(
        "variable_socket_host: 192.0.2.9\nContent-Type: command/reply\nReply-Text: %2BOK%0A\n\
         Socket-Mode: async\nControl: full\n\n"
    ));
    assert_eq!(block.matches("\n\n").count(), 1);
}

/// Transcript f_outbound/async_first_not_connect.
#[test]
fn commands_before_connect_count_and_are_not_answered() {
    let (mut bench, _) = called("127.0.0.1:8084 async full");
    bench.answer_connect(SECOND);
    bench.say(SECOND, "myevents");
    bench.say(SECOND, "api echo hello");
    bench.say(SECOND, "bgapi echo hello");
    bench.wait_ms(15_000);
    assert!(bench.take(SECOND).is_empty());
    assert_eq!(watched(&mut bench), ["CHANNEL_EXECUTE socket"], "the call waits");
    bench.say(SECOND, "connect");
    assert_eq!(watched(&mut bench), ["CHANNEL_PARK"]);
    execute(&mut bench, "answer", "");
    let heard = bench.heard(SECOND);
    assert_eq!(heard[1..4], ["CHANNEL_PARK", "+OK", "CHANNEL_EXECUTE"], "{heard:?}");
}

#[test]
fn the_dialplan_goes_on_when_the_controller_leaves_drops_or_is_not_there() {
    let after = ["CHANNEL_EXECUTE_COMPLETE socket", "CHANNEL_EXECUTE set"];
    let parked = ["CHANNEL_UNPARK", after[0], after[1]];
    let (mut bench, _) = controlled("127.0.0.1:8084 async full");
    watched(&mut bench);
    bench.say(SECOND, "exit");
    assert_eq!(bench.heard(SECOND), ["+OK bye", "notice disconnect"]);
    assert_eq!(watched(&mut bench)[..3], parked);
    let (mut bench, _) = controlled("127.0.0.1:8084 async full");
    watched(&mut bench);
    bench.drop_connection(SECOND);
    assert_eq!(watched(&mut bench)[..3], parked);
    let (mut bench, _) = called("127.0.0.1:8084 async full");
    watched(&mut bench);
    let (request, _) = bench.wanted.remove(0);
    bench.switch.handle(bench.now, Input::ConnectFailed(request));
    bench.collect();
    assert_eq!(watched(&mut bench)[..2], after);
    let (mut bench, _) = controlled("127.0.0.1:8084 full");
    watched(&mut bench);
    bench.say(SECOND, "exit");
    assert_eq!(watched(&mut bench)[..2], after, "it was not parked");
}

#[test]
fn a_connection_that_comes_after_the_call_is_closed() {
    let (mut bench, uuid) = called("127.0.0.1:8084 async full");
    bench.switch.caller_hangup(bench.now, &uuid).unwrap();
    bench.collect();
    bench.answer_connect(SECOND);
    assert!(bench.is_closed(SECOND) && bench.take(SECOND).is_empty());
}

/// Transcript f_outbound/sync_full: the channel's thread is the listener.
#[test]
fn without_async_a_command_is_answered_when_it_is_done() {
    let (mut bench, _) = controlled("127.0.0.1:8084 full");
    bench.say(SECOND, "sendmsg\ncall-command: execute\nexecute-app-name: sleep\nexecute-app-arg: 800");
    bench.say(SECOND, "getvar uuid");
    bench.wait_ms(799);
    assert_eq!(bench.heard(SECOND), [""; 0]);
    bench.wait_ms(1);
    let heard = bench.heard(SECOND);
    assert_eq!((heard[0].as_str(), heard[1].len()), ("+OK", 36), "{heard:?}");
    assert_eq!(heard[2..], ["CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE"]);
    execute(&mut bench, "nosuchapp", "x");
    assert_eq!(bench.heard(SECOND), ["+OK", "CHANNEL_HANGUP", "notice disconnect"]);
}

#[test]
fn without_async_the_end_of_the_call_ends_the_connection() {
    let (mut bench, uuid) = controlled("127.0.0.1:8084 full");
    bench.switch.caller_hangup(bench.now, &uuid).unwrap();
    bench.collect();
    assert_eq!(bench.heard(SECOND), ["CHANNEL_HANGUP", "notice disconnect"]);
    assert_eq!(watched(&mut bench).last().unwrap(), "CHANNEL_DESTROY");
    let (mut bench, uuid) = controlled("127.0.0.1:8084 full");
    execute(&mut bench, "sleep", "5000");
    bench.wait_ms(1_000);
    bench.switch.caller_hangup(bench.now, &uuid).unwrap();
    bench.collect();
    let heard = bench.heard(SECOND);
    assert_eq!(heard[..3], ["+OK", "CHANNEL_EXECUTE", "CHANNEL_HANGUP"], "{heard:?}");
    assert_eq!(heard.last().unwrap(), "notice disconnect");
    let (mut bench, uuid) = controlled("127.0.0.1:8084 full");
    bench.say(FIRST, &format!("api uuid_transfer {uuid} sleep:100,hangup: inline"));
    assert_eq!(bench.heard(SECOND).last().unwrap(), "notice disconnect", "its thread goes elsewhere");
    bench.wait_ms(200);
    assert_eq!(watched(&mut bench).last().unwrap(), "CHANNEL_DESTROY");
}

#[test]
fn a_socket_can_run_as_a_command_and_more_than_once() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    assert_eq!(bench.execute("u", "socket", "192.0.2.9 async full", ""), "+OK");
    assert_eq!(bench.wanted[0].1, "192.0.2.9:8084", "the port that FreeSWITCH takes");
    bench.answer_connect(SECOND);
    bench.say(SECOND, "connect");
    bench.say(SECOND, "exit");
    assert!(bench.is_closed(SECOND));
    watched(&mut bench);
    bench.execute("u", "socket", "192.0.2.9:9 full", "");
    let (request, address) = bench.wanted.remove(0);
    assert_eq!(address, "192.0.2.9:9");
    bench.ask("api uuid_kill u");
    bench.switch.handle(bench.now, Input::ConnectFailed(request));
    bench.collect();
    assert_eq!(watched(&mut bench).last().unwrap(), "CHANNEL_DESTROY");
}

/// Transcript f_outbound/sync_restricted_not_full.
#[test]
fn a_connection_that_is_not_full_commands_its_channel_only() {
    let (mut bench, _) = controlled("127.0.0.1:8084");
    for command in
        ["api status", "bgapi status", "event plain ALL", "linger", "sendevent CUSTOM", "divert_events on"]
    {
        bench.say(SECOND, command);
        assert_eq!(bench.heard(SECOND), ["-ERR command not found"], "{command}");
    }
    for command in ["filter Event-Name X", "resume", "getvar uuid"] {
        bench.say(SECOND, command);
        assert!(!bench.heard(SECOND)[0].starts_with("-ERR"), "{command}");
    }
    bench.say(SECOND, "sendmsg other\ncall-command: hangup");
    assert_eq!(bench.heard(SECOND), ["-ERR invalid session id [other]"]);
}

/// Transcripts f_outbound/async_full_caller_hangup_linger3 and async_full_dtmf.
#[test]
fn a_connection_that_lingers_hears_the_end_and_holds_the_channel() {
    let (mut bench, uuid) = controlled("127.0.0.1:8084 async full");
    bench.say(SECOND, "linger 3");
    assert_eq!(bench.heard(SECOND), ["+OK will linger 3 seconds"]);
    bench.wait_ms(500);
    bench.switch.caller_hangup(bench.now, &uuid).unwrap();
    bench.collect();
    let bytes = bench.take(SECOND);
    let told = frames(&bytes);
    let last = told.last().unwrap();
    let name = "Channel-Name: sofia/external/100@127.0.0.1:6060\nLinger-Time: 3\nContent-Length: 0\n\n";
    assert!(String::from_utf8_lossy(&bytes).ends_with(name), "{last:?}");
    assert_eq!(told[told.len() - 2].event().name(), "CHANNEL_HANGUP_COMPLETE");
    assert!(!watched(&mut bench).contains(&"CHANNEL_DESTROY".to_owned()));
    // Hung up in the first half of a second of the wall clock: more than three whole ones are over after 3.5 s.
    bench.wait_ms(3_400);
    assert!(!bench.is_closed(SECOND));
    bench.wait_ms(200);
    assert_eq!(bench.heard(SECOND), ["notice disconnect"]);
    assert_eq!(watched(&mut bench), ["CHANNEL_DESTROY"]);
}

/// Transcript f_outbound/async_uuid_transfer_away.
#[test]
fn a_connection_stays_with_a_channel_that_is_transferred_away() {
    let (mut bench, uuid) = controlled("127.0.0.1:8084 async full");
    bench.say(SECOND, "linger");
    bench.say(SECOND, &format!("api uuid_transfer {uuid} set:a=b,sleep:100,hangup: inline"));
    let heard = bench.heard(SECOND);
    assert_eq!(
        heard[..4],
        ["+OK will linger", "+OK\n", "CHANNEL_UNPARK", "CHANNEL_EXECUTE_COMPLETE"],
        "{heard:?}"
    );
    bench.wait_ms(200);
    assert_eq!(bench.heard(SECOND).last().unwrap(), "notice linger");
    bench.wait_ms(100_000);
    bench.say(SECOND, "exit");
    assert_eq!(bench.heard(SECOND), ["+OK bye", "notice disconnect"]);
}

/// Transcripts e_filter_subscriptions/myevents_nolinger and myevents_inbound.
#[test]
fn an_inbound_listener_loses_the_end_of_its_channel_unless_it_lingers() {
    let mut bench = Bench::logged_in();
    bench.park("my-4");
    bench.take(FIRST);
    bench.say(FIRST, "myevents my-4");
    bench.say(FIRST, "api uuid_kill my-4");
    assert_eq!(bench.heard(FIRST), ["+OK Events Enabled", "+OK\n", "CHANNEL_HANGUP", "notice disconnect"]);
    let mut bench = Bench::logged_in();
    bench.park("my-1");
    bench.take(FIRST);
    bench.say(FIRST, "myevents my-1");
    bench.say(FIRST, "linger 2");
    bench.say(FIRST, "api uuid_kill my-1");
    let heard = bench.heard(FIRST);
    assert_eq!(heard[2..5], ["+OK\n", "notice linger", "CHANNEL_HANGUP"], "{heard:?}");
    assert_eq!(heard.last().unwrap(), "CHANNEL_HANGUP_COMPLETE");
    bench.wait_ms(3_000);
    assert_eq!(bench.heard(FIRST), ["notice disconnect"]);
}

#[test]
fn an_inbound_listener_commands_its_channel_without_naming_it() {
    let mut bench = Bench::logged_in();
    bench.park("my-1");
    bench.take(FIRST);
    for (command, reply) in [
        ("linger", "-ERR not controlling a session"),
        ("myevents nosuch", "+OK Events Enabled"),
        ("divert_events on", "-ERR not controlling a session."),
    ] {
        assert_eq!(bench.ask(command), reply);
    }
    let mut bench = Bench::logged_in();
    bench.park("my-1");
    for (command, reply) in [
        ("myevents my-1 json", "+OK Events Enabled"),
        ("myevents my-1", "-ERR aready enabled."),
        ("divert_events on", "+OK events diverted"),
        ("sendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: a=b", "+OK"),
        ("getvar a", "b"),
        ("getvar nosuch", "-ERR command not found"),
        ("nolinger", "+OK will not linger"),
    ] {
        assert_eq!(bench.ask(command), reply, "{command}");
    }
    assert!(bench.heard(FIRST).contains(&"CHANNEL_EXECUTE".to_owned()), "plain, whatever was asked for");
}

#[test]
fn a_command_before_connect_does_not_hold_its_connection() {
    let (mut bench, _) = called("192.0.2.9:8084 full");
    bench.answer_connect(SECOND);
    bench.say(SECOND, "sendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: a=b");
    assert!(bench.take(SECOND).is_empty());
    bench.say(SECOND, "connect");
    assert!(!bench.take(SECOND).is_empty());
    bench.say(SECOND, "getvar a");
    assert_eq!(bench.heard(SECOND), ["b"]);
}

#[test]
fn who_waits_for_a_command_that_is_broken_off_is_answered() {
    let (mut bench, uuid) = called("192.0.2.9:8084 full");
    bench.answer_connect(SECOND);
    bench.say(SECOND, "connect");
    bench.take(SECOND);
    bench.execute(&uuid, "echo", "", "\nevent-lock: true");
    bench.say(SECOND, "sendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: a=b");
    assert!(bench.take(SECOND).is_empty(), "it waits behind the lock");
    bench.ask(&format!("api uuid_break {uuid} all"));
    assert_eq!(bench.heard(SECOND), ["+OK"]);
}

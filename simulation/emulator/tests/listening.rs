//! How events reach their listeners: how late, in which order, and what happens when one does not read.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::time::Duration;

use common::{Bench, FIRST, SECOND};
use fipple_emulator::journal::Entry;
use fipple_emulator::{Config, ConnectionId, Disorder, Error, InboundCall, Input};

const THIRD: ConnectionId = ConnectionId(3);

/// The sizes of a socket and a queue that fill quickly.
fn narrow() -> Config {
    Config { listener_queue_max: 50, unwritten_max_bytes: 1_000, ..Config::default() }
}

/// The switch's clock steps until an event has come; gives how long that took.
fn wait_for_event(bench: &mut Bench, id: ConnectionId) -> u64 {
    for waited_ms in 0..1_000 {
        if !bench.heard(id).is_empty() {
            return waited_ms;
        }
        bench.wait_ms(1);
    }
    panic!("no event came");
}

#[test]
fn an_idle_listener_sees_events_late_and_a_busy_one_with_its_replies() {
    let mut bench = Bench::lagging(Config { disorder: Disorder::default(), ..Config::default() });
    bench.log_in(FIRST, "event plain CUSTOM x");
    bench.log_in(SECOND, "noevents");
    let mut lags_ms = Vec::new();
    for _ in 0..50 {
        bench.say(SECOND, "sendevent CUSTOM\nEvent-Subclass: x");
        lags_ms.push(wait_for_event(&mut bench, FIRST));
    }
    assert!(lags_ms.iter().all(|lag_ms| (17..=54).contains(lag_ms)), "{lags_ms:?}");
    assert!(lags_ms.iter().max().unwrap() - lags_ms.iter().min().unwrap() > 10, "{lags_ms:?}");
    bench.say(SECOND, "sendevent CUSTOM\nEvent-Subclass: x");
    bench.say(FIRST, "api echo now");
    assert_eq!(bench.heard(FIRST), ["now", "CUSTOM"]);
}

#[test]
fn late_events_are_overtaken_and_none_is_lost() {
    let disorder = Disorder { late_per_million: 100_000, repeated_sequence_per_million: 0 };
    let mut bench = Bench::lagging(Config { event_lag_ms: 0..=0, disorder, ..Config::default() });
    bench.log_in(FIRST, "event plain ALL");
    for _ in 0..20 {
        let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
        bench.wait_ms(10);
        bench.switch.caller_hangup(bench.now, &uuid).unwrap();
        bench.wait_ms(10);
    }
    let numbers = |bench: &mut Bench| -> Vec<u64> {
        bench.events().iter().map(|event| event.get("Event-Sequence").parse().unwrap()).collect()
    };
    let heard = numbers(&mut bench);
    let inversions = heard.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(inversions > 10, "{inversions} inversions in {} events", heard.len());
    let mut sorted = heard.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), heard.len());
    let last = *sorted.last().unwrap();
    assert_eq!(sorted, (last + 1 - sorted.len() as u64..=last).collect::<Vec<_>>(), "all came");
}

#[test]
fn numbers_of_events_repeat_now_and_then() {
    let disorder = Disorder { late_per_million: 0, repeated_sequence_per_million: 100_000 };
    let mut bench = Bench::lagging(Config { event_lag_ms: 0..=0, disorder, ..Config::default() });
    bench.log_in(FIRST, "event plain ALL");
    for _ in 0..10 {
        bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
    }
    bench.collect();
    let events = bench.events();
    let numbers: Vec<&str> = events.iter().map(|event| event.get("Event-Sequence")).collect();
    assert!(numbers.windows(2).any(|pair| pair[0] == pair[1]));
}

/// A slow reader that stops, another controller, and a third one.
fn frozen() -> Bench {
    let mut bench = Bench::connected(narrow());
    bench.switch.keep_journal();
    bench.log_in(FIRST, "event plain ALL");
    bench.log_in(SECOND, "event plain CHANNEL_CREATE");
    bench.stalled.push(FIRST);
    for _ in 0..20 {
        bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
        bench.collect();
    }
    assert!(bench.switch.is_frozen());
    bench.take(SECOND);
    bench
}

#[test]
fn a_reader_that_stops_freezes_the_others_and_then_the_calls() {
    let mut bench = frozen();
    let mut journal = std::iter::from_fn(|| bench.switch.take_journal());
    assert!(journal.any(|entry| entry == Entry::ListenerQueueFull { connection: FIRST }));
    bench.say(SECOND, "api echo hello");
    bench.connect(THIRD);
    assert!(bench.take(SECOND).is_empty() && bench.take(THIRD).is_empty(), "nobody is served");
    let call = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
    bench.wait_ms(14_000);
    assert_eq!(bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")), Err(Error::Frozen));
    bench.switch.caller_hangup(bench.now, &call).unwrap();
    bench.wait_ms(1_000);
    assert!(bench.switch.ledger().call(&call).unwrap().ended.is_none(), "the call does not complete");
    bench.drop_connection(FIRST);
    assert!(!bench.switch.is_frozen());
    assert_eq!(bench.heard(SECOND)[..2], ["hello", "CHANNEL_CREATE"]);
    assert_eq!(bench.take(THIRD), b"Content-Type: auth/request\n\n");
    assert!(bench.switch.ledger().call(&call).unwrap().ended.is_some());
}

#[test]
fn a_reader_that_goes_on_is_told_goodbye_and_the_others_go_on() {
    let mut bench = frozen();
    bench.stalled.clear();
    bench.switch.handle(bench.now, Input::Written(FIRST, usize::MAX));
    bench.collect();
    assert!(!bench.switch.is_frozen() && bench.is_closed(FIRST));
    assert!(bench.take(FIRST).ends_with(b"http://www.cluecon.com/\n"));
    let heard = bench.heard(SECOND);
    assert!(heard.len() > 10 && heard.iter().all(|name| name == "CHANNEL_CREATE"), "what waited: {heard:?}");
    bench.say(SECOND, "api echo hello");
    assert_eq!(bench.heard(SECOND), ["hello"]);
}

#[test]
fn a_frozen_switch_loses_patience_after_ten_minutes() {
    let mut bench = frozen();
    bench.wait_ms(600_000 - 1);
    assert!(bench.switch.is_frozen());
    bench.wait_ms(1);
    assert!(!bench.switch.is_frozen() && bench.is_closed(FIRST));
}

#[test]
fn calls_stand_still_sooner_when_many_events_wait() {
    let config = Config { dispatch_queue_max: 30, ..narrow() };
    let mut bench = Bench::connected(config);
    bench.log_in(FIRST, "event plain ALL");
    bench.stalled.push(FIRST);
    let refused = (0..50).find(|_| {
        let call = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2"));
        bench.collect();
        call == Err(Error::Frozen)
    });
    assert!(refused.is_some());
}

#[test]
fn a_queue_that_fills_behind_an_api_costs_the_connection_only() {
    let mut bench = Bench::connected(narrow());
    bench.log_in(FIRST, "event plain ALL");
    bench.log_in(SECOND, "noevents");
    bench.say(FIRST, "api msleep 5000");
    for _ in 0..20 {
        bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
        bench.collect();
    }
    assert!(bench.is_closed(FIRST) && !bench.switch.is_frozen());
    assert_eq!(bench.heard(FIRST), ["notice "], "its socket had room: it hears of it");
    bench.say(SECOND, "api echo hello");
    assert_eq!(bench.heard(SECOND), ["hello"]);
}

#[test]
fn a_stuck_listener_reads_no_commands_and_loses_nothing() {
    let mut bench = Bench::connected(Config { unwritten_max_bytes: 100, ..Config::default() });
    bench.log_in(FIRST, "event plain CUSTOM x");
    bench.stalled.push(FIRST);
    let event = "sendevent CUSTOM\nEvent-Subclass: x\n\n";
    bench.write(FIRST, event.repeat(10).as_bytes());
    let before = bench.heard(FIRST).len();
    assert!(before < 5, "{before} frames went out though nothing was taken");
    bench.stalled.clear();
    bench.switch.handle(bench.now, Input::Written(FIRST, usize::MAX));
    bench.collect();
    assert_eq!(before + bench.heard(FIRST).len(), 20, "ten replies and ten events");
}

#[test]
fn the_257th_command_of_a_channel_costs_the_connection() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.execute("u", "playback", "silence_stream://10000", "\nevent-lock: true");
    for _ in 0..256 {
        assert_eq!(bench.execute("u", "set", "a=b", "\nevent-lock: true"), "+OK");
    }
    bench.say(FIRST, "sendmsg u\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: a=c");
    assert!(bench.is_closed(FIRST));
}

#[test]
fn a_shutdown_says_goodbye_and_a_kill_does_not() {
    let mut bench = Bench::subscribed();
    bench.switch.shutdown(bench.now);
    bench.wait_ms(10_000);
    let heard = bench.take(FIRST);
    let word =
        b"Content-Type: text/disconnect-notice\nContent-Length: 31\n\nThe system is being shut down.\n";
    assert!(heard.ends_with(word) && bench.is_closed(FIRST));
    let mut bench = Bench::subscribed();
    bench.switch.restart(bench.now, 7, false);
    bench.collect();
    assert!(bench.is_closed(FIRST) && bench.take(FIRST).is_empty());
}

#[test]
fn the_heartbeat_comes_by_the_clock() {
    let config = Config { event_lag_ms: 0..=0, heartbeat: Duration::from_secs(20), ..Config::default() };
    let mut switch = fipple_emulator::Switch::new(config, 7);
    assert_eq!(switch.next_timeout().map(|at| at.0 % 20_000_000), Some(0));
    switch.on_timeout(fipple_emulator::Time(60_000_000));
    assert!(switch.counts().events_fired >= 6, "three heartbeats, each with its RE_SCHEDULE");
}

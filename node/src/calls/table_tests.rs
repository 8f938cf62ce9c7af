use fipple_protocol::call::step_uuid;
use fipple_protocol::esl::Decoder;
use fipple_protocol::peer::StepResult;
use serde_json::json;

use super::*;
use crate::calls::channel::Claim;

/// A call with a bridge, recorded from a FreeSWITCH.
const SIP_CALLS: &[u8] =
    include_bytes!("../../../tests/fixtures/freeswitch/b_formats_call_life/sip_call_plain.s2c.bin");
const SENT_EVENTS: &[u8] =
    include_bytes!("../../../tests/fixtures/freeswitch/h_encoding_misc/sendevent_values_plain.s2c.bin");

const OWNER: NodeId = NodeId::from_bytes([7; 16]);

/// Feeds a recording, or events of our own, and shows the table after each event.
fn feed(table: &mut Table, mut bytes: &[u8], mut seen: impl FnMut(&str, &mut Table, Change)) {
    let mut decoder = Decoder::new();
    while !bytes.is_empty() {
        bytes = &bytes[decoder.feed(bytes)..];
        while let Some(mut frame) = decoder.next_frame().unwrap() {
            let Ok(event) = frame.event() else { continue };
            let name = event.name().map(|name| name.text().into_owned()).unwrap_or_default();
            let change = table.apply(event);
            seen(&name, table, change);
        }
    }
}

fn event(name: &str, uuid: &str, headers: &str) -> Vec<u8> {
    let body = format!(
        "Event-Name: {name}\nUnique-ID: {uuid}\nEvent-Date-Timestamp: 1000\n{CREATED_TIME}: 1\n{headers}\n"
    );
    format!("Content-Length: {}\nContent-Type: text/event-plain\n\n{body}", body.len()).into_bytes()
}

fn apply(table: &mut Table, name: &str, uuid: &str, headers: &str) -> Change {
    let mut last = Change::default();
    feed(table, &event(name, uuid, headers), |_, _, change| last = change);
    last
}

fn claimed(table: &mut Table, uuid: &str) {
    let change = apply(table, "CHANNEL_PARK", uuid, "variable_fipple_epoch: 0\nvariable_fipple_done: 0\n");
    assert!(change.unowned);
    let claim = table.channels.get_mut(uuid).unwrap();
    claim.claim = Some(Claim { owner: Some(OWNER), ..Claim::default() });
}

#[test]
fn recorded_calls_come_and_go() {
    let mut table = Table::new("pbx");
    let (mut most, mut bridged) = (0, 0);
    feed(&mut table, SIP_CALLS, |name, table, change| {
        most = most.max(table.len());
        assert_eq!(change, Change::default(), "nobody has asked fipple to control these calls");
        if name == "CHANNEL_BRIDGE" {
            let legs: Vec<_> = table.all().filter(|leg| leg.info.bridged_to.is_some()).collect();
            assert_eq!(legs.len(), 2);
            assert_eq!(legs[0].info.call, legs[1].info.call, "a B leg bears the A leg's uuid");
            assert_eq!(legs[0].info.bridged_to.as_ref(), Some(&legs[1].info.uuid));
            bridged += 1;
        }
        for channel in table.all() {
            assert!(channel.info.created_at_ms > 1_795_000_000_000);
            assert!(["inbound", "outbound"].contains(&channel.info.direction.as_str()));
        }
    });
    assert_eq!((table.len(), bridged), (0, 1));
    assert!(most >= 3, "the bridge goes through the switch itself: {most}");
}

#[test]
fn what_a_client_sends_is_no_fact() {
    let mut table = Table::new("pbx");
    let mut events = 0;
    feed(&mut table, SENT_EVENTS, |_, table, change| {
        events += 1;
        assert_eq!((table.len(), change), (0, Change::default()));
    });
    assert!(events > 0);
    let spoof = "Command: sendevent CHANNEL_PARK\nvariable_fipple_epoch: 0\n";
    assert_eq!(apply(&mut table, "CHANNEL_PARK", "a", spoof), Change::default());
    assert_eq!(table.len(), 0);
}

#[test]
fn a_call_is_claimed_when_it_parks_and_asks_for_it() {
    let mut table = Table::new("pbx");
    assert!(!apply(&mut table, "CHANNEL_PARK", "foreign", "").unowned);
    assert!(!apply(&mut table, "CHANNEL_PARK", "wrong", "variable_fipple_epoch: x\n").unowned);
    let headers = "variable_fipple_epoch: 0\nvariable_fipple_done: 2\nvariable_fipple_flow: night\n";
    assert!(apply(&mut table, "CHANNEL_PARK", "a", headers).unowned);
    let snapshot = table.snapshot("a").unwrap();
    assert_eq!((snapshot.channel.done, snapshot.channel.flow.as_deref()), (2, Some("night")));
    assert_eq!(table.take_unowned(Instant::now()).as_deref(), Some("a"));
    assert_eq!(table.take_unowned(Instant::now()), None);
}

#[test]
fn the_owner_hears_of_its_steps_and_of_the_end_once() {
    let mut table = Table::new("pbx");
    claimed(&mut table, "a");
    assert_eq!(table.begin_step("a", OWNER, 0, 1), Ok(true));
    assert_eq!(table.begin_step("a", OWNER, 0, 1), Ok(false), "the switch has it already");
    assert!(table.begin_step("a", OWNER, 0, 2).is_err(), "one step at a time");
    assert_eq!(table.snapshot("a").unwrap().running, Some(1));
    let headers = format!("Application: playback\nApplication-UUID: {}\n", step_uuid("a", 1, 0));
    let begun = apply(&mut table, "CHANNEL_EXECUTE", "a", &headers).tell.unwrap();
    assert!(matches!(begun.1.kind, CallEventKind::Executing { .. }));
    assert_eq!(table.info("a").unwrap().application.as_deref(), Some("playback"));
    let ended = apply(&mut table, "CHANNEL_EXECUTE_COMPLETE", "a", &headers).tell.unwrap();
    assert_eq!(ended.0, OWNER);
    let snapshot = table.snapshot("a").unwrap();
    assert_eq!((snapshot.channel.done, snapshot.running), (1, None));
    assert_eq!(table.begin_step("a", OWNER, 0, 1), Ok(false), "it is done");
    assert!(table.begin_step("a", OWNER, 1, 2).is_err(), "another epoch");
    assert!(table.begin_step("a", NodeId::from_bytes([8; 16]), 0, 2).is_err(), "another node");
    // The order in which a switch may say it.
    let cause = "Hangup-Cause: USER_BUSY\n";
    let told = apply(&mut table, "CHANNEL_HANGUP_COMPLETE", "a", cause).tell.unwrap();
    assert_eq!(told.1.kind, CallEventKind::HungUp { cause: "USER_BUSY".to_owned() });
    assert_eq!(apply(&mut table, "CHANNEL_HANGUP", "a", cause), Change::default());
    assert_eq!(apply(&mut table, "CHANNEL_DESTROY", "a", cause), Change::default());
    assert_eq!(apply(&mut table, "CHANNEL_UNPARK", "a", ""), Change::default(), "late, and of the dead");
    assert_eq!(table.len(), 0);
}

#[test]
fn an_owner_that_knows_of_more_steps_than_the_table_goes_on() {
    let mut table = Table::new("pbx");
    claimed(&mut table, "a");
    assert_eq!(table.begin_step("a", OWNER, 0, 3), Ok(true));
    let snapshot = table.snapshot("a").unwrap();
    assert_eq!((snapshot.channel.done, snapshot.running), (2, Some(3)));
    assert_eq!(table.begin_step("a", OWNER, 0, 2), Ok(false), "it is done");
}

#[test]
fn a_b_leg_is_its_a_legs_owners() {
    let mut table = Table::new("pbx");
    claimed(&mut table, "a");
    apply(&mut table, "CHANNEL_CREATE", "b", "Channel-Call-UUID: a\n");
    assert_eq!(table.info("b").unwrap().owner, Some(OWNER));
    let (owner, event) = apply(&mut table, "CHANNEL_ANSWER", "b", "").tell.unwrap();
    assert_eq!((owner, event.call.as_str(), event.channel.as_str()), (OWNER, "a", "b"));
}

#[test]
fn a_dump_that_is_older_than_an_event_changes_nothing() {
    let mut table = Table::new("pbx");
    let dump = |at_us: u64| {
        let text = format!(
            r#"{{"Event-Date-Timestamp":"{at_us}","Channel-Call-State":"ACTIVE","Caller-Channel-Created-Time":"5000000",
                "variable_current_application":"park","variable_fipple_epoch":"3","variable_fipple_owner":"{OWNER}"}}"#
        );
        ChannelDump::parse(&text).unwrap()
    };
    apply(&mut table, "CHANNEL_CREATE", "a", "Channel-Call-State: RINGING\n");
    assert!(!table.refresh("a", &dump(999), false).unowned);
    assert_eq!(table.info("a").unwrap().state, "ringing");
    assert!(table.refresh("a", &dump(1001), false).unowned);
    let info = table.info("a").unwrap();
    assert_eq!((info.state.as_str(), info.epoch, info.owner, info.parked), ("active", 3, Some(OWNER), true));
    apply(&mut table, "CHANNEL_DESTROY", "a", "");
    assert!(!table.refresh("a", &dump(2000), false).unowned);
    assert_eq!(table.len(), 0, "the dead stay dead");
}

#[test]
fn a_dump_tells_who_is_parked_and_who_is_bridged() {
    let mut table = Table::new("pbx");
    let mut expected = Vec::new();
    // As FreeSWITCH 1.11.3 shows them: what is over leaves its traces.
    for (uuid, state, application, bond, parked, stands) in [
        ("parked", "CS_EXECUTE", "park", "", true, false),
        ("parked-by-uuid_park", "CS_PARK", "set", "", true, false),
        ("parked-after-uuid_bridge", "CS_PARK", "park", "ended", true, false),
        ("played-to-after-bridge", "CS_PARK", "playback", "ended", true, false),
        ("bridged-by-uuid_bridge", "CS_SOFT_EXECUTE", "park", "its-partner", false, true),
        ("its-partner", "CS_EXCHANGE_MEDIA", "park", "bridged-by-uuid_bridge", false, true),
        ("bridged-by-bridge", "CS_EXECUTE", "bridge", "its-partner", false, true),
        ("elsewhere", "CS_EXECUTE", "playback", "", false, false),
    ] {
        let mut dump = json!({
            "Channel-State": state, "variable_current_application": application, "variable_signal_bond": bond,
            "variable_bridge_uuid": bond, "Caller-Channel-Bridged-Time": "1",
        });
        if stands {
            dump["variable_bridge_to"] = bond.into();
        }
        table.refresh(uuid, &ChannelDump::parse(&dump.to_string()).unwrap(), false);
        expected.push((uuid, parked, stands.then(|| bond.to_owned())));
    }
    table.forget_ended_partners();
    for (uuid, parked, bridged_to) in expected {
        let info = table.info(uuid).unwrap();
        assert_eq!((info.parked, info.bridged_to), (parked, bridged_to), "{uuid}");
    }
}

#[test]
fn a_channel_is_parked_again_after_its_bridge() {
    let mut table = Table::new("pbx");
    let parked = |table: &Table| table.info("a").map(|info| (info.parked, info.application)).unwrap();
    let told = |name: &str| Some(name.to_owned());
    let park = "Application: park\nApplication-UUID: 1\n";
    let bridge = "Application: bridge\nApplication-UUID: 2\n";
    let legs = "Bridge-A-Unique-ID: a\nBridge-B-Unique-ID: b\n";
    // The application `bridge` on top of `park`, in the order that FreeSWITCH 1.11.3 tells it.
    apply(&mut table, "CHANNEL_EXECUTE", "a", park);
    apply(&mut table, "CHANNEL_PARK", "a", "");
    apply(&mut table, "CHANNEL_EXECUTE", "a", bridge);
    apply(&mut table, "CHANNEL_BRIDGE", "a", legs);
    assert_eq!(parked(&table), (false, told("bridge")));
    apply(&mut table, "CHANNEL_UNBRIDGE", "a", legs);
    apply(&mut table, "CHANNEL_EXECUTE_COMPLETE", "a", bridge);
    assert_eq!(parked(&table), (true, told("park")));
    // The same, with something played to the caller meanwhile.
    let playback = "Application: playback\nApplication-UUID: 3\n";
    apply(&mut table, "CHANNEL_EXECUTE", "a", bridge);
    apply(&mut table, "CHANNEL_BRIDGE", "a", legs);
    apply(&mut table, "CHANNEL_EXECUTE", "a", playback);
    apply(&mut table, "CHANNEL_EXECUTE_COMPLETE", "a", playback);
    apply(&mut table, "CHANNEL_UNBRIDGE", "a", legs);
    apply(&mut table, "CHANNEL_EXECUTE_COMPLETE", "a", bridge);
    assert_eq!(parked(&table), (true, told("park")));
    // uuid_bridge and then uuid_park.
    apply(&mut table, "CHANNEL_UNPARK", "a", "");
    apply(&mut table, "CHANNEL_EXECUTE_COMPLETE", "a", park);
    apply(&mut table, "CHANNEL_EXECUTE", "a", "Application: uuid_bridge\n");
    apply(&mut table, "CHANNEL_BRIDGE", "a", legs);
    apply(&mut table, "CHANNEL_UNBRIDGE", "a", legs);
    assert_eq!(parked(&table), (false, told("uuid_bridge")));
    apply(&mut table, "CHANNEL_PARK", "a", "");
    assert_eq!(parked(&table), (true, told("park")));
}

#[test]
fn a_call_that_was_first_heard_of_in_mid_life_is_claimed_by_what_the_switch_says() {
    let mut table = Table::new("pbx");
    let dump = |at_us: u64| {
        let text = format!(
            r#"{{"Event-Date-Timestamp":"{at_us}","Channel-Call-State":"DOWN","variable_fipple_flow":"night",
                "variable_fipple_epoch":"3","variable_fipple_done":"1","variable_fipple_owner":"{OWNER}"}}"#
        );
        ChannelDump::parse(&text).unwrap()
    };
    for (uuid, at_us, state) in [("older", 999, "active"), ("newer", 1001, "down")] {
        // The end of a step that the node which was attached before had begun.
        let headers = "Channel-Call-State: ACTIVE\nApplication: playback\n";
        apply(&mut table, "CHANNEL_EXECUTE_COMPLETE", uuid, headers);
        assert!(!table.get(uuid).unwrap().whole, "its variables have to be read");
        assert!(table.refresh(uuid, &dump(at_us), false).unowned, "the call needs its owner");
        let info = table.info(uuid).unwrap();
        assert_eq!(
            (info.epoch, info.done, info.owner, info.flow.as_deref()),
            (3, 1, Some(OWNER), Some("night"))
        );
        assert_eq!(info.state, state, "whoever spoke last is right about the rest");
        assert!(table.get(uuid).unwrap().whole);
    }
    assert!(table.take_unowned(Instant::now()).is_some() && table.take_unowned(Instant::now()).is_some());
}

#[test]
fn a_rename_keeps_the_channel() {
    let mut table = Table::new("pbx");
    apply(&mut table, "CHANNEL_CREATE", "old", "Caller-Destination-Number: 12\n");
    apply(&mut table, "CHANNEL_UUID", "new", "Old-Unique-ID: old\n");
    let info = table.info("new").unwrap();
    assert_eq!(
        (info.uuid.as_str(), info.call.as_str(), info.destination_number.as_str()),
        ("new", "new", "12")
    );
    assert_eq!(table.len(), 1);
}

#[test]
fn a_claimed_call_under_a_new_name_is_offered_to_its_owner_again() {
    let mut table = Table::new("pbx");
    claimed(&mut table, "old");
    assert_eq!(table.take_unowned(Instant::now()).as_deref(), Some("old"), "an appointment is on its way");
    apply(&mut table, "CHANNEL_UUID", "new", "Old-Unique-ID: old\n");
    assert_eq!(table.take_unowned(Instant::now()).as_deref(), Some("new"));
    assert_eq!(table.snapshot("new").unwrap().channel.owner, Some(OWNER));
}

#[test]
fn a_step_that_sets_a_variable_ends_like_any_other() {
    let mut table = Table::new("pbx");
    claimed(&mut table, "a");
    assert_eq!(table.begin_step("a", OWNER, 0, 1), Ok(true));
    let mark = "Application: set\nApplication-UUID: 29014d9-a060\n";
    assert_eq!(apply(&mut table, "CHANNEL_EXECUTE_COMPLETE", "a", mark), Change::default());
    let step = format!("Application: set\nApplication-UUID: {}\n", step_uuid("a", 1, 0));
    assert!(apply(&mut table, "CHANNEL_EXECUTE_COMPLETE", "a", &step).tell.is_some());
    assert_eq!(table.snapshot("a").unwrap().channel.done, 1);
}

#[test]
fn an_answer_does_not_bring_back_a_channel_whose_end_was_all_that_was_heard_of_it() {
    let mut table = Table::new("pbx");
    let dump = ChannelDump::parse(r#"{"variable_current_application":"park","variable_fipple_epoch":"0"}"#);
    apply(&mut table, "CHANNEL_DESTROY", "a", "");
    assert_eq!(table.refresh("a", &dump.unwrap(), false), Change::default());
    assert_eq!(table.len(), 0);
    for number in 0..=TABLE_ENDED_CHANNELS {
        apply(&mut table, "CHANNEL_DESTROY", &number.to_string(), "");
    }
    assert!(!table.ended.contains("a"), "the oldest are forgotten");
    assert_eq!(table.ended.uuids.len(), TABLE_ENDED_CHANNELS);
}

#[test]
fn a_channel_whose_name_no_command_can_bear_is_not_kept() {
    let mut table = Table::new("pbx");
    apply(&mut table, "CHANNEL_CREATE", "old", "");
    let endless = "x".repeat(CHANNEL_TEXT_MAX_BYTES + 1);
    for (encoded, name) in [(&*endless, &*endless), ("a%20b", "a b"), ("-a", "-a"), ("a'b", "a'b"), ("", "")]
    {
        assert!(apply(&mut table, "CHANNEL_CREATE", encoded, "").lost, "{name}");
        assert!(apply(&mut table, "CHANNEL_UUID", encoded, "Old-Unique-ID: old\n").lost, "{name}");
        assert!(table.refresh(name, &ChannelDump::parse("{}").unwrap(), false).lost, "{name}");
    }
    assert!(!apply(&mut table, "CHANNEL_CREATE", "3c26%40192.0.2.7", "").lost, "a Call-ID");
    assert_eq!(table.all().map(|channel| &*channel.info.uuid).collect::<Vec<_>>(), ["3c26@192.0.2.7", "old"]);
}

#[test]
fn texts_of_callers_are_cut() {
    let mut table = Table::new("pbx");
    let name = "%C5%BD".repeat(300);
    apply(&mut table, "CHANNEL_CREATE", "a", &format!("Caller-Caller-ID-Name: {name}\n"));
    assert_eq!(table.info("a").unwrap().caller_id_name, "Ž".repeat(128));
}

/// A fenced table with a call in epoch 4, of which one step is done.
fn fenced(fence: Fence) -> Table {
    let mut table = Table::new("pbx");
    table.fenced_by(fence);
    let headers = "variable_fipple_epoch: 4\nvariable_fipple_done: 1\nvariable_fipple_flow: night\n";
    assert!(apply(&mut table, "CHANNEL_PARK", "a", headers).unowned);
    table.channels.get_mut("a").unwrap().claim.as_mut().unwrap().owner = Some(OWNER);
    table
}

fn step_event(step: &str, epoch: u64, result: &str, current: u64, done: u32, more: &str) -> Vec<u8> {
    let headers = format!(
        "Event-Subclass: fipple%3A%3Astep\nStep: {step}\nEpoch: {epoch}\nResult: {result}\n\
         Current-Epoch: {current}\nDone: {done}\n{more}"
    );
    event("CUSTOM", "a", &headers)
}

fn say(table: &mut Table, bytes: &[u8]) -> Change {
    let mut last = Change::default();
    feed(table, bytes, |_, _, change| last = change);
    last
}

#[test]
fn only_the_channels_own_word_ends_a_fenced_step() {
    for (fence, carrier) in [(Fence::Strict, "lua"), (Fence::Snippet, "execute_extension")] {
        let mut table = fenced(fence);
        assert_eq!(table.begin_step("a", OWNER, 4, 2), Ok(true));
        table.enqueue("a", &step_uuid("a", 2, 4)).unwrap();
        assert_eq!(table.begin_step("a", OWNER, 4, 2), Ok(false), "it waits in the channel's queue already");
        let carried = format!("Application: {carrier}\nApplication-UUID: {}\n", step_uuid("a", 2, 4));
        for name in ["CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE"] {
            assert_eq!(apply(&mut table, name, "a", &carried), Change::default());
        }
        let snapshot = table.snapshot("a").unwrap();
        assert_eq!((snapshot.channel.done, snapshot.running, snapshot.fenced), (1, Some(2), true));
        assert!(!table.get("a").unwrap().is_queued(&step_uuid("a", 2, 4)), "it has begun");
        let inner = "Application: playback\nApplication-UUID: a-2\n";
        apply(&mut table, "CHANNEL_EXECUTE", "a", inner);
        assert_eq!(table.info("a").unwrap().application.as_deref(), Some("playback"));
        let forged = step_event("2", 4, "done", 4, 2, "Command: sendevent CUSTOM\n");
        assert_eq!(say(&mut table, &forged), Change::default());
        assert_eq!(table.info("a").unwrap().done, 1, "a client may say anything");
        let (owner, told) = say(&mut table, &step_event("2", 4, "done", 4, 2, "")).tell.unwrap();
        let kind = CallEventKind::Step { step: 2, epoch: 4, result: StepResult::Done, done: 2 };
        assert_eq!((owner, told.kind), (OWNER, kind));
        let snapshot = table.snapshot("a").unwrap();
        assert_eq!((snapshot.channel.done, snapshot.running), (2, None));
    }
}

#[test]
fn a_step_that_is_refused_runs_no_more_and_a_higher_epoch_is_read() {
    let mut table = fenced(Fence::Strict);
    assert_eq!(table.begin_step("a", OWNER, 4, 2), Ok(true));
    say(&mut table, &step_event("2", 4, "duplicate", 4, 1, ""));
    assert_eq!(table.snapshot("a").unwrap().running, Some(2), "the one that was sent first");
    say(&mut table, &step_event("2", 3, "stale", 4, 1, ""));
    assert_eq!(table.snapshot("a").unwrap().running, Some(2), "that one was another node's");
    assert_eq!(table.take_outdated(), None);
    let change = say(&mut table, &step_event("2", 4, "stale", 6, 1, ""));
    assert!(change.unowned && matches!(change.tell, Some((OWNER, _))));
    assert_eq!((table.snapshot("a").unwrap().running, table.take_outdated().as_deref()), (None, Some("a")));
    let key = step_event("k00000000000000ff", 4, "stale", 7, 1, "");
    let change = say(&mut table, &key);
    assert!(change.tell.is_none() && table.take_outdated().is_some(), "of a command only the epoch is news");
    // What was sent to the fallback is nobody's call any more, and an epoch that is known is no news.
    let dump = |epoch: u64, owner: &str| {
        let text = format!(
            r#"{{"Channel-State":"CS_EXECUTE","variable_fipple_epoch":"{epoch}","variable_fipple_owner":"{owner}"}}"#
        );
        ChannelDump::parse(&text).unwrap()
    };
    let later = Instant::now() + std::time::Duration::from_secs(1);
    assert!(!table.read_again("a", &dump(4, &OWNER.to_string()), later).unowned);
    assert!(table.read_again("a", &dump(6, &OWNER.to_string()), later).unowned);
    assert_eq!(table.take_unowned(Instant::now()), None, "somebody else may be at it");
    assert_eq!(table.info("a").unwrap().epoch, 6);
    table.read_again("a", &dump(7, ""), later);
    assert_eq!((table.info("a").unwrap().owner, table.snapshot("a")), (None, None));
}

#[test]
fn a_call_that_parks_with_less_done_or_another_flow_begins_anew_under_a_higher_epoch() {
    let parks = |done: u32, flow: &str| {
        let mut table = fenced(Fence::Strict);
        assert!(table.take_unowned(Instant::now()).is_some());
        let claim = |table: &Table| table.get("a").unwrap().claim.clone().unwrap();
        table.channels.get_mut("a").unwrap().claim.as_mut().unwrap().appointing = false;
        table.channels.get_mut("a").unwrap().info.done = 2;
        let headers =
            format!("variable_fipple_epoch: 4\nvariable_fipple_done: {done}\nvariable_fipple_flow: {flow}\n");
        let unowned = apply(&mut table, "CHANNEL_PARK", "a", &headers).unowned;
        let info = table.info("a").unwrap();
        (unowned, claim(&table).renew, info.done, info.flow.unwrap())
    };
    assert_eq!(parks(2, "night"), (false, false, 2, "night".to_owned()), "after a bridge");
    assert_eq!(parks(2, "park"), (false, false, 2, "night".to_owned()), "its flow was ended by a command");
    assert_eq!(parks(0, "night"), (true, true, 0, "night".to_owned()));
    assert_eq!(parks(2, "day"), (true, true, 2, "day".to_owned()));
}

#[test]
fn a_claim_that_was_not_raised_or_is_of_another_run_of_the_switch_is_renewed() {
    let read = |fence, raised, core: &str| {
        let mut table = Table::new("pbx");
        table.fenced_by(fence);
        let text = format!(
            r#"{{"Core-UUID":"now","variable_fipple_epoch":"4","variable_fipple_owner":"{OWNER}",
                "variable_fipple_done":"1","variable_fipple_run":"2:3","variable_fipple_core":"{core}"}}"#
        );
        table.refresh("a", &ChannelDump::parse(&text).unwrap(), raised);
        let claim = table.get("a").unwrap().claim.clone().unwrap();
        (claim.renew, claim.running)
    };
    assert_eq!(read(Fence::Strict, true, "now"), (false, Some((2, 3))));
    assert_eq!(read(Fence::Snippet, false, "now"), (true, Some((2, 3))));
    assert_eq!(read(Fence::Strict, true, "before"), (true, None), "what ran has ended with the switch");
    assert_eq!(read(Fence::None, false, "now"), (false, None), "only the attached node knows what runs");
}

#[test]
fn a_command_names_its_channel_and_the_call_that_this_belongs_to() {
    let mut table = fenced(Fence::Strict);
    apply(&mut table, "CHANNEL_CREATE", "b", "Channel-Call-UUID: a\nvariable_fipple_call: a\n");
    apply(&mut table, "CHANNEL_CREATE", "c", "Channel-Call-UUID: c\n");
    let named = |channels: &[&str]| -> Vec<String> {
        let all = table.in_epochs(channels);
        all.into_iter().map(|one| format!("{}:{:?}", one.channel, one.epoch)).collect()
    };
    assert_eq!(named(&["a"]), ["a:Some(4)"]);
    assert_eq!(named(&["b"]), ["a:Some(4)", "b:None"]);
    assert_eq!(named(&["b", "a"]), ["a:Some(4)", "b:None"]);
    assert_eq!(named(&["a", "c"]), ["a:Some(4)", "c:None"]);
    assert_eq!(["a", "b", "c"].map(|uuid| table.epoch_in(uuid)), [Some(4), Some(4), None]);
}

//! Conferences: who comes and goes, and what can be done to them.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::Bench;

/// Three parked legs, all but the last of them in the conference `room`, as members 1 and 2.
fn bench() -> Bench {
    let mut bench = Bench::subscribed();
    for uuid in ["a", "b", "c"] {
        bench.park(uuid);
    }
    bench.events();
    bench.execute("a", "conference", "room@default", "");
    bench.execute("b", "conference", "room@default", "");
    bench.wait_ms(50);
    bench
}

fn actions(bench: &mut Bench) -> Vec<String> {
    let events = bench.events();
    let own = events.iter().filter(|event| event.get("Event-Subclass") == "conference::maintenance");
    own.map(|event| format!("{} {}", event.get("Action"), event.get("Member-ID")).trim().to_owned()).collect()
}

#[test]
fn members_come_and_go() {
    let mut bench = bench();
    // As in transcript g_custom_events/conference_plain.
    let joined = ["conference-create", "add-member 1", "add-member 2", "floor-change 2"];
    assert_eq!(actions(&mut bench), joined);
    assert_eq!(bench.ask("api conference room get count"), "2");
    assert_eq!(bench.ask("api conference room kick 2"), "+OK kicked 2\n");
    bench.wait_ms(50);
    let left = ["kick-member 2", "floor-change", "del-member 2", "floor-change 1"];
    assert_eq!(actions(&mut bench), left);
    // Whoever was kicked goes on where it was.
    assert_eq!(bench.ask("api uuid_exists b"), "true");
    bench.ask("api uuid_kill a");
    assert_eq!(actions(&mut bench), ["floor-change", "del-member 1", "conference-destroy"]);
    assert_eq!(bench.ask("api conference room list"), "-ERR Conference room not found\n");
    assert_eq!(bench.ask("api conference list"), "+OK No active conferences.\n");
}

#[test]
fn members_are_muted_and_listed() {
    let mut bench = bench();
    actions(&mut bench);
    assert_eq!(bench.ask("api conference room mute 1"), "+OK mute 1\n");
    assert_eq!(bench.ask("api conference room deaf all"), "+OK deaf 1\n+OK deaf 2\n");
    assert_eq!(bench.ask("api conference room kick 9"), "-ERR Non-Existant ID 9\n");
    assert_eq!(bench.ask("api conference room floor 1"), "-ERR floor is held by 2\n");
    assert_eq!(
        bench.ask("api conference room list"),
        "2;null/x;b;Outbound Call;x;speak|floor;0;0;100\n1;null/x;a;Outbound Call;x;;0;0;100\n"
    );
    assert_eq!(actions(&mut bench), ["mute-member 1", "deaf-member 1", "deaf-member 2"]);
    let list: serde_json::Value = serde_json::from_str(&bench.ask("api conference json_list")).unwrap();
    assert_eq!(list[0]["members"][1]["flags"]["can_speak"], false);
    assert_eq!(list[0]["member_count"], 2);
}

#[test]
fn a_locked_conference_lets_nobody_in() {
    let mut bench = bench();
    assert_eq!(bench.ask("api conference room lock"), "+OK room locked\n");
    bench.execute("c", "conference", "room", "");
    assert_eq!(bench.ask("api conference room get count"), "2");
    assert_eq!(bench.ask("api conference room unlock"), "+OK room unlocked\n");
    bench.execute("c", "conference", "room+flags{mute}", "");
    assert_eq!(bench.ask("api conference room get count"), "3");
    actions(&mut bench);
    // A member's transfer takes it out.
    bench.ask("api uuid_transfer c 9");
    assert_eq!(actions(&mut bench), ["del-member 3"]);
}

#[test]
fn files_are_played_to_and_recorded_of_a_conference() {
    let mut bench = bench();
    actions(&mut bench);
    let played = bench.ask("api conference room play tone_stream://%(300,0,440)");
    assert_eq!(played, "+OK (play) Playing file tone_stream://%(300,0,440)\n");
    assert_eq!(bench.ask("api conference room record /r.wav"), "+OK Record file /r.wav\n");
    bench.wait_ms(1_000);
    bench.ask("api conference room norecord all");
    let told = ["play-file", "start-recording", "play-file-done", "stop-recording"];
    assert_eq!(actions(&mut bench), told);
}

#[test]
fn each_file_of_a_conference_is_over_in_its_own_time() {
    let mut bench = bench();
    for length_ms in [5_000, 1_000, 3_000] {
        bench.ask(&format!("api conference room play tone_stream://%({length_ms},0,440)"));
    }
    actions(&mut bench);
    for (moment_ms, told) in [(900, 0), (200, 1), (1_800, 0), (200, 1), (1_800, 0), (200, 1)] {
        bench.wait_ms(moment_ms);
        assert_eq!(actions(&mut bench), vec!["play-file-done"; told]);
    }
}

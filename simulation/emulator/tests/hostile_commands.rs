//! Commands that would never end, or bring a program down.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, FIRST};

#[test]
fn commands_inside_each_other_are_bounded() {
    let mut bench = Bench::logged_in();
    let deep = format!("api {}echo x", "bgapi ".repeat(100_000));
    assert!(bench.ask(&deep).starts_with("+OK Job-UUID: "));
    let mut expanded = String::from("echo x");
    for _ in 0..40 {
        expanded = format!("expand ${{{}}}", expanded.replacen(' ', "(", 1) + ")");
    }
    bench.ask(&format!("api {expanded}"));
    assert_eq!(bench.ask("api echo alive"), "alive");
}

#[test]
fn lists_of_files_have_a_length_however_they_are_written() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    let nested = "file_string://".repeat(60_000);
    let endless = ["silence_stream://18446744073709551615"; 1_200].join("!");
    for file in [nested, format!("file_string://{endless}"), "silence_stream://18446744073709551615".into()] {
        assert_eq!(bench.execute("u", "playback", &file, "\nevent-lock: true"), "+OK");
        bench.ask("api uuid_break u all");
        bench.wait_ms(100);
    }
    assert_eq!(bench.ask("api uuid_exists u"), "true");
}

#[test]
fn a_task_that_adds_itself_leaves_time_for_everything_else() {
    let mut bench = Bench::logged_in();
    bench.ask("api global_setvar again=sched_api +0 g expand ${again}");
    bench.ask("api sched_api +0 g expand ${again}");
    bench.wait_ms(5_000);
    assert_eq!(bench.ask("api echo alive"), "alive");
}

#[test]
fn a_restart_brings_global_variables_back() {
    let mut bench = Bench::logged_in();
    bench.ask("api global_setvar gate=node1");
    assert_eq!(bench.ask("api global_getvar gate"), "node1");
    bench.switch.restart(bench.now, 8, false);
    bench.collect();
    bench.connect(FIRST);
    bench.say(FIRST, "auth ClueCon");
    assert_ne!(bench.ask("api global_getvar gate"), "node1");
}

#[test]
fn what_is_evaluated_matched_and_kept_is_bounded() {
    let mut bench = Bench::logged_in();
    assert_eq!(bench.ask(&format!("api global_setvar g={}", "x".repeat(8_000))), "+OK");
    assert!(
        bench.ask(&format!("api eval {}", "${g}".repeat(200_000))).starts_with("-ERR the result is too long")
    );
    let text = "a".repeat(900_000);
    assert_eq!(bench.ask(&format!("api regex {text}|(a{{0,400}}){{10}}b")), "-ERR");
    assert_eq!(bench.ask(&format!("api regex {text}|b")), "false");
    for command in ["hash insert/r/k/", "sched_api +9 g status ", "db insert/r/k/"] {
        assert!(bench.ask(&format!("api {command}{text}")).starts_with("-ERR"), "{command}");
    }
    bench.ask(&format!("api global_setvar large={text}"));
    assert_ne!(bench.ask("api global_getvar large"), text);
}

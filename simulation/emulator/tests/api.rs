//! API commands that work on text, tell about the switch, or change something beside its calls.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, FIRST};

#[test]
fn text_is_evaluated_and_commands_are_expanded() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.ask("api uuid_setvar u owner me");
    for (command, reply) in [
        ("eval ${local_ip_v4}", "127.0.0.1"),
        ("eval a b  c", "a b  c"),
        ("eval ${nosuch}x", "x"),
        // With a uuid, names are those of the channel's headers.
        ("eval uuid:u ${owner}", "-ERR no reply\n"),
        ("eval uuid:u ${variable_owner} ${Channel-Name}", "me null/x"),
        ("eval ${uuid_getvar(u owner)}", "me"),
        ("expand uuid_getvar u ${eval(owner)}", "me"),
        ("expr 2*(3+4)", "14"),
        ("cond 1 == 1 ? yes : no", "yes"),
        ("regex abc|^a(.)|<$1>", "<b>"),
        ("url_decode a%20b", "a b"),
        ("strftime 0|%Y-%m-%d %H:%M:%S", "1970-01-01 00:00:00"),
        ("module_exists mod_sofia", "true"),
        ("module_exists mod_nosuch", "false"),
    ] {
        assert_eq!(bench.ask(&format!("api {command}")), reply, "{command}");
    }
    // Whoever nests without end gets an end.
    bench.say(FIRST, &format!("api {} echo x", "expand ".repeat(200)));
    assert_eq!(bench.ask("api echo alive"), "alive");
}

#[test]
fn a_global_variable_can_be_compared_and_set() {
    let mut bench = Bench::logged_in();
    assert_eq!(bench.ask("api global_setvar owner=a"), "+OK");
    assert_eq!(bench.ask("api global_setvar owner=b=wrong"), "+OK");
    assert_eq!(bench.ask("api global_getvar owner"), "a");
    assert_eq!(bench.ask("api global_setvar owner=b=a"), "+OK");
    assert_eq!(bench.ask("api global_getvar owner"), "b");
    assert_eq!(bench.ask("api global_setvar owner"), "+OK");
    assert_eq!(bench.ask("api global_getvar owner"), "-ERR no reply\n");
    assert_eq!(bench.ask("api global_setvar owner=c=b"), "+OK");
    assert_eq!(bench.ask("api global_getvar owner"), "-ERR no reply\n");
}

#[test]
fn a_limit_counts_the_channels_that_live() {
    let mut bench = Bench::logged_in();
    bench.park("a");
    bench.park("b");
    assert_eq!(bench.ask("api uuid_limit a hash lab line 1"), "+OK");
    assert_eq!(bench.ask("api uuid_limit b hash lab line 1"), "-ERR");
    assert_eq!(bench.ask("api limit_usage hash lab line"), "1");
    bench.ask("api uuid_kill a");
    assert_eq!(bench.ask("api limit_usage hash lab line"), "0");
    assert_eq!(bench.ask("api uuid_limit b hash lab line 1"), "+OK");
    assert_eq!(bench.ask("api uuid_limit_release b hash lab line"), "+OK");
    assert_eq!(bench.ask("api limit_usage hash lab line"), "0");
}

#[test]
fn what_sits_on_a_channels_sound_is_told_and_listed() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    assert_eq!(bench.ask("api uuid_displace u start /a.wav 0 mux"), "+OK Success\n");
    assert_eq!(bench.ask("api uuid_record u start /b.wav"), "+OK Success\n");
    assert_eq!(bench.ask("api uuid_record u mask /b.wav"), "+OK Success\n");
    assert_eq!(bench.ask("api uuid_record u mask /c.wav"), "-ERR Operation failed\n");
    assert!(bench.ask("api uuid_buglist u").contains("<function>session_record</function>"));
    bench.wait_ms(1_000);
    assert_eq!(bench.ask("api uuid_record u stop /b.wav"), "+OK Success\n");
    bench.ask("api uuid_kill u");
    let events = bench.events();
    let told: Vec<String> = events
        .iter()
        .filter(|event| event.name().starts_with("MEDIA_BUG") || event.name().starts_with("RECORD"))
        .map(|event| format!("{} {}", event.name(), event.get("Media-Bug-Function")).trim().to_owned())
        .collect();
    // As in transcript m_transfer/uuid_transfer_inline_broadcast_record_schedhangup.
    let expected = [
        "MEDIA_BUG_START displace",
        "RECORD_START",
        "MEDIA_BUG_START session_record",
        "RECORD_STOP",
        "MEDIA_BUG_STOP session_record",
        "MEDIA_BUG_STOP displace",
    ];
    assert_eq!(told, expected);
    let stop = events.iter().find(|event| event.name() == "RECORD_STOP").unwrap();
    assert_eq!((stop.get("variable_record_ms"), stop.get("variable_record_seconds")), ("1000", "1"));
}

#[test]
fn hold_by_command_fires_the_event_alone() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    assert_eq!(bench.ask("api uuid_hold u"), "+OK Success\n");
    // As in transcript m_transfer/park_sendmsg_uuid_park.
    assert_eq!(bench.ask("api uuid_hold off u"), "-ERR Operation failed\n");
    let names: Vec<String> = bench.events().iter().map(|event| event.name().to_owned()).collect();
    assert_eq!(names.iter().filter(|name| *name != "API").collect::<Vec<_>>(), ["CHANNEL_HOLD"]);
}

#[test]
fn a_command_inside_another_is_told_like_any() {
    let mut bench = Bench::subscribed();
    assert_eq!(bench.ask("api expand echo ${toupper(a)}"), "A");
    let told: Vec<String> = bench.events().iter().map(|event| event.get("API-Command").to_owned()).collect();
    assert_eq!(told, ["toupper", "echo", "expand"]);
}

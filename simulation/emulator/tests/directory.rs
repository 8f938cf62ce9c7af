//! Phones that register, what is told of them, and who can be dialled because of it.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::time::Duration;

use common::{Bench, Event, FIRST};
use fipple_emulator::Config;
use fipple_emulator::config::DirectoryUser;
use fipple_emulator::registrar::Phone;

fn user(id: &str) -> DirectoryUser {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    DirectoryUser {
        id: id.into(),
        domain: "lab.local".into(),
        group: "default".into(),
        params: vec![pair("password", "1234")],
        variables: vec![
            pair("user_context", "default"),
            pair("effective_caller_id_name", &format!("Ext {id}")),
            pair("effective_caller_id_number", id),
        ],
    }
}

fn bench() -> Bench {
    let config = Config { directory: vec![user("1001"), user("1002")], ..Config::default() };
    let mut bench = Bench::connected(config);
    bench.say(FIRST, "auth ClueCon\n\nevent plain ALL");
    bench.take(FIRST);
    bench
}

fn subclasses(events: &[Event]) -> Vec<&str> {
    let told = events.iter().map(|event| match event.name() {
        "CUSTOM" => event.get("Event-Subclass"),
        name => name,
    });
    told.collect()
}

#[test]
fn a_phone_registers_and_takes_it_back() {
    let mut bench = bench();
    let phone = Phone { expires: Duration::from_secs(60), ..Phone::new("1001", "lab.local") };
    bench.switch.register(bench.now, &phone).unwrap();
    bench.collect();
    bench.wait_ms(200);
    let events = bench.events();
    // As in transcript g_custom_events/sofia_register_json.
    let expected = [
        "sofia::pre_register",
        "sofia::register_attempt",
        "sofia::register",
        "MESSAGE_QUERY",
        "MESSAGE_WAITING",
    ];
    assert_eq!(subclasses(&events), expected);
    assert_eq!(events[2].get("contact"), "\"\" <sip:1001@127.0.0.1:6060>");
    assert_eq!(events[2].get("effective_caller_id_name"), "Ext 1001");
    let contact = "sofia/internal/sip:1001@127.0.0.1:6060";
    assert_eq!(bench.ask("api sofia_contact 1001@lab.local"), contact);
    let listed: serde_json::Value =
        serde_json::from_str(&bench.ask("api show registrations as json")).unwrap();
    assert_eq!((&listed["row_count"], &listed["rows"][0]["url"]), (&1.into(), &contact.into()));
    bench.switch.register(bench.now, &phone).unwrap();
    bench.switch.unregister(bench.now, &phone);
    bench.collect();
    let events = bench.events();
    assert_eq!(subclasses(&events).last(), Some(&"sofia::unregister"));
    assert!(!subclasses(&events).contains(&"MESSAGE_QUERY"), "a refresh asks for no messages");
    assert_eq!(bench.ask("api sofia_contact 1001@lab.local"), "error/user_not_registered");
}

#[test]
fn who_may_not_register_is_refused() {
    let mut bench = bench();
    let forgetful = Phone { knows_password: false, ..Phone::new("1001", "lab.local") };
    for phone in [forgetful, Phone::new("4444", "lab.local")] {
        bench.switch.register(bench.now, &phone).unwrap();
        bench.collect();
        let events = bench.events();
        let expected = ["sofia::pre_register", "sofia::register_attempt", "sofia::register_failure"];
        assert_eq!(subclasses(&events), expected);
        assert_eq!(events[1].get("auth-result"), "FORBIDDEN");
    }
    assert_eq!(bench.ask("api show registrations count"), "\n0 total.\n");
}

#[test]
fn a_registration_is_found_to_be_over_late() {
    let mut bench = bench();
    let phone = Phone { expires: Duration::from_secs(3), ..Phone::new("1002", "lab.local") };
    bench.switch.register(bench.now, &phone).unwrap();
    bench.collect();
    bench.wait_ms(4_000);
    // The core's table has forgotten it, sofia has not (transcript g_custom_events/sofia_register_plain).
    assert_eq!(bench.ask("api show registrations count"), "\n0 total.\n");
    assert!(bench.ask("api sofia status profile internal reg").contains("User:       \t1002@lab.local\n"));
    bench.wait_ms(58_000);
    assert!(!subclasses(&bench.events()).contains(&"sofia::expire"));
    bench.wait_ms(22_000);
    assert_eq!(subclasses(&bench.events()), ["sofia::expire"]);
    assert!(bench.ask("api sofia status profile internal reg").contains("Total items returned: 0"));
}

#[test]
fn only_a_registered_user_can_be_dialled() {
    let mut bench = bench();
    assert_eq!(bench.ask("api originate user/1001@lab.local &park()"), "-ERR USER_NOT_REGISTERED\n");
    bench.switch.register(bench.now, &Phone::new("1001", "lab.local")).unwrap();
    bench.say(FIRST, "api originate {origination_uuid=u}user/1001@lab.local &park()");
    bench.wait_ms(500);
    assert_eq!(bench.ask("api uuid_getvar u channel_name"), "sofia/internal/1001@127.0.0.1:6060");
}

#[test]
fn the_directory_can_be_asked() {
    let mut bench = bench();
    for (command, reply) in [
        ("user_exists id 1001 lab.local", "true"),
        ("user_exists id 1003 lab.local", "false"),
        ("user_data 1001@lab.local var effective_caller_id_name", "Ext 1001"),
        ("user_data 1001@lab.local param password", "1234"),
        ("domain_exists lab.local", "true"),
        ("domain_exists other", "false"),
        ("in_group 1001@lab.local default", "false"),
    ] {
        assert_eq!(bench.ask(&format!("api {command}")), reply, "{command}");
    }
    assert!(
        bench
            .ask("api list_users")
            .ends_with("\n1002|default|lab.local|default|error/user_not_registered||Ext 1002|1002\n\n+OK\n")
    );
}

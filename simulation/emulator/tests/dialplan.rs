//! The part of the XML dialplan that the emulated switch reads: which actions a call runs.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, FIRST};
use fipple_emulator::{Config, InboundCall, XmlDialplan};

/// What a call to `number` runs in context `test`, and why it ended.
fn call(extensions: &str, number: &str) -> (Vec<String>, String) {
    let mut xml_dialplan = XmlDialplan::default();
    let text = format!("<document><section><context name='test'>{extensions}</context></section></document>");
    xml_dialplan.add(&text, "default").unwrap();
    let mut bench = Bench::connected(Config { xml_dialplan, ..Config::default() });
    bench.say(FIRST, "auth ClueCon");
    let call = InboundCall { context: "test".into(), ..InboundCall::new("100", number) };
    let uuid = bench.switch.inbound_call(bench.now, &call).unwrap();
    bench.wait_ms(100);
    let record = bench.switch.ledger().call(&uuid).unwrap();
    let runs = record.executions.iter().map(|run| format!("{} {}", run.application, run.argument));
    (runs.map(|run| run.trim_end().to_owned()).collect(), record.cause.to_owned())
}

fn extension(conditions: &str) -> String {
    format!("<extension name='x'>{conditions}</extension>")
}

/// A condition on the destination that logs whether it was true.
fn condition(expression: &str, breaks: &str, name: &str) -> String {
    format!(
        "<condition field='destination_number' expression='{expression}' break='{breaks}'>\
         <action application='log' data='INFO {name} true'/>\
         <anti-action application='log' data='INFO {name} false'/></condition>"
    )
}

/// What three conditions log, of which the first two are true as told.
fn logged(first: (&str, &str), second: (&str, &str)) -> String {
    let conditions = condition(first.0, first.1, "a")
        + &condition(second.0, second.1, "b")
        + &condition("1", "never", "c");
    let (runs, _) = call(&extension(&conditions), "1");
    runs.iter().map(|run| run.replace("log INFO ", "")).collect::<Vec<_>>().join(", ")
}

#[test]
fn conditions_break_as_they_say() {
    let (yes, no) = ("^1$", "^2$");
    assert_eq!(logged((yes, "on-false"), (yes, "on-false")), "a true, b true, c true");
    assert_eq!(logged((no, "on-false"), (yes, "on-false")), "a false");
    assert_eq!(logged((yes, "on-true"), (yes, "never")), "a true");
    assert_eq!(logged((no, "on-true"), (no, "never")), "a false, b false, c true");
    assert_eq!(logged((yes, "never"), (no, "always")), "a true, b false");
}

#[test]
fn the_first_extension_that_serves_is_the_last_unless_it_continues() {
    let serves = |attributes: &str, expression: &str, name: &str| {
        format!(
            "<extension {attributes}><condition field='destination_number' expression='{expression}'>\
             <action application='log' data='{name}'/></condition></extension>"
        )
    };
    let extensions = serves("", "^9", "no")
        + &serves("continue='true'", "^1", "first")
        + &serves("", "^1", "second")
        + &serves("", "^1", "third");
    let (runs, cause) = call(&extensions, "123");
    assert_eq!((runs, &*cause), (vec!["log first".into(), "log second".into()], "NORMAL_CLEARING"));
    let (runs, cause) = call(&extensions, "5");
    assert_eq!((runs, &*cause), (Vec::new(), "NO_ROUTE_DESTINATION"));
}

#[test]
fn groups_variables_and_inline_actions_come_into_their_own() {
    let extensions = extension(
        "<condition field='destination_number' expression='^(\\d)(\\d+)$'>\
         <action application='set' data='kind=k$1' inline='true'/></condition>\
         <condition field='${kind}-${caller_id_number}' expression='^k4-100$'>\
         <action application='log'>INFO ${kind} ${destination_number:1}</action></condition>\
         <condition><action application='park'/></condition>",
    );
    let (runs, cause) = call(&extensions, "456");
    assert_eq!((runs, &*cause), (vec!["set kind=k4".into(), "log INFO k4 56".into(), "park".into()], ""));
    let (runs, _) = call(&extensions, "556");
    assert_eq!(runs, ["set kind=k5"]);
}

#[test]
fn what_an_included_file_does_not_serve_the_rest_of_its_context_does() {
    let mut xml_dialplan = XmlDialplan::deployed();
    xml_dialplan.add(include_str!("../../../deploy/freeswitch/fipple.xml"), "default").unwrap();
    let mut bench = Bench::connected(Config { xml_dialplan, ..Config::default() });
    bench.say(FIRST, "auth ClueCon");
    for (number, flow) in [("5000", "welcome"), ("777", "_undef_")] {
        let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("100", number)).unwrap();
        bench.collect();
        assert_eq!(bench.ask(&format!("api uuid_getvar {uuid} fipple_flow")), flow);
        assert_eq!(bench.ask(&format!("api uuid_getvar {uuid} fipple_epoch")), "0");
    }
}

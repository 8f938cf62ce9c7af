//! The flows that calls of the workload follow, and the switches' side of them: the deployed extension for each, and the
//! phones that they call.

use std::collections::BTreeMap;
use std::time::Duration;

use fipple_emulator::XmlDialplan;
use fipple_emulator::config::CalleeScript;
use fipple_emulator::far_end::{Act, Step};
use fipple_protocol::call::Flow;
use serde::Deserialize;

use crate::error::Error;

/// The number that is dialled for a flow, and the flow's name.
pub(crate) const FLOWS: [(&str, &str); 7] = [
    ("5001", "welcome"),
    ("5002", "tour"),
    (PARKED, "park"),
    ("5004", "menu"),
    ("5005", "desk"),
    ("5006", "voicemail"),
    ("5007", "busy"),
];

/// The number of calls that wait for commands.
pub(crate) const PARKED: &str = "5003";

/// A phone that is answered, talks for a while and hangs up.
pub(crate) const DESK: &str = "sofia/external/desk@pbx";

/// What a call's thread sets when it has come to the operator's fallback.
pub(crate) const FALLBACK_REACHED: &str = "fallback=reached";

/// The flows that not every node knows by itself: short steps and long ones, digits, recordings and bridges.
const CONFIGURED: &str = r##"
[[flows]]
name = "tour"
steps = [
  { do = "answer" },
  { do = "play", file = "silence_stream://700" },
  { do = "execute", application = "set", argument = "tour_stop=1" },
  { do = "play", file = "silence_stream://1300" },
  { do = "execute", application = "sleep", argument = "400" },
  { do = "play", file = "silence_stream://6000" },
  { do = "hangup" },
]
[[flows]]
name = "menu"
steps = [
  { do = "answer" },
  { do = "collect_digits", min = 1, max = 3, timeout_ms = 1500, terminators = "#", prompt = "silence_stream://900", variable = "choice" },
  { do = "play", file = "silence_stream://500" },
  { do = "hangup" },
]
[[flows]]
name = "desk"
steps = [
  { do = "answer" },
  { do = "bridge", to = "sofia/external/desk@pbx", timeout_seconds = 20 },
  { do = "play", file = "silence_stream://400" },
  { do = "hangup" },
]
[[flows]]
name = "voicemail"
steps = [
  { do = "answer" },
  { do = "record_session", path = "/recordings/${uuid}.wav" },
  { do = "play", file = "silence_stream://600" },
  { do = "record", path = "/recordings/${uuid}-message.wav", limit_seconds = 2 },
  { do = "hangup" },
]
[[flows]]
name = "busy"
steps = [
  { do = "answer" },
  { do = "bridge", to = "sofia/external/busy@pbx", timeout_seconds = 20 },
  { do = "play", file = "silence_stream://400" },
  { do = "hangup" },
]
"##;

/// What fipple asks an operator to install.
const DEPLOYED: &str = include_str!("../../deploy/freeswitch/fipple.xml");

/// The flows that nodes are configured with.
pub(crate) fn configured() -> Vec<Flow> {
    #[derive(Deserialize)]
    struct Configured {
        flows: Vec<Flow>,
    }
    // A test holds that it can be read.
    toml::from_str::<Configured>(CONFIGURED).map(|configured| configured.flows).unwrap_or_default()
}

/// The applications that a call to each number goes through, but for those that wait for commands.
pub(crate) fn steps_by_number() -> BTreeMap<String, Vec<String>> {
    let known = Flow::built_in().into_iter().chain(configured());
    let by_name: BTreeMap<String, Flow> = known.map(|flow| (flow.name.clone(), flow)).collect();
    let steps = FLOWS.iter().filter_map(|(number, name)| {
        let steps = by_name.get(*name)?.steps.iter().map(|step| step.application.clone()).collect::<Vec<_>>();
        (!steps.is_empty()).then(|| ((*number).to_owned(), steps))
    });
    steps.collect()
}

/// The deployed dialplan, with an extension for each number, and a fallback that shows when a call has come to it.
///
/// # Errors
/// If the emulated switch does not understand what is deployed.
pub(crate) fn dialplan() -> Result<XmlDialplan, Error> {
    let mut dialplan = XmlDialplan::deployed();
    for (number, flow) in FLOWS {
        let ours = DEPLOYED
            .replace("^5000$", &format!("^{number}$"))
            .replace("fipple_flow=welcome", &format!("fipple_flow={flow}"))
            .replace(
                r#"<action application="answer"/>"#,
                &format!(
                    r#"<action application="set" data="{FALLBACK_REACHED}"/><action application="answer"/>"#
                ),
            );
        dialplan
            .add(&ours, "default")
            .map_err(|error| Error::Scenario { problem: format!("the deployed dialplan: {error}") })?;
    }
    Ok(dialplan)
}

/// What the phones do that calls are bridged to.
pub(crate) fn phones() -> Vec<CalleeScript> {
    let steps = vec![
        Step::new(Duration::ZERO, Act::WaitsForAnswer),
        Step::new(Duration::from_millis(3_500), Act::HangsUp),
    ];
    vec![CalleeScript { pattern: "desk*".into(), steps }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_flow_and_its_extension() {
        let steps = steps_by_number();
        let numbers: Vec<&str> = FLOWS.iter().map(|(number, _)| *number).collect();
        assert!(numbers.iter().all(|number| steps.contains_key(*number) || *number == PARKED));
        assert!(DEPLOYED.contains("^5000$") && DEPLOYED.contains("fipple_flow=welcome"));
        assert_eq!(DEPLOYED.matches(r#"<action application="answer"/>"#).count(), 1, "that of the fallback");
        dialplan().unwrap();
    }
}

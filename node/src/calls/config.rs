//! What an operator says about calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fipple_protocol::call::Flow;
use serde::Deserialize;

use crate::Error;
use crate::switch::SwitchConfig;
use crate::switch::commands::name as check_name;

/// The switches of a node, and the flows that its calls may follow besides the built-in ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallsConfig {
    /// The switches that this node may attach to.
    pub switches: Vec<SwitchConfig>,
    /// Flows; one that bears the name of a built-in one takes its place.
    pub flows: Vec<Flow>,
}

impl CallsConfig {
    /// Checks it, and yields all flows by their names.
    pub(super) fn check(&self) -> Result<BTreeMap<String, Arc<Flow>>, Error> {
        let wrong = |origin: String, detail: String| Err(Error::Configuration { origin, detail });
        let mut names = BTreeSet::new();
        for switch in &self.switches {
            let origin = format!("switch {:?}", switch.name);
            if let Err(refusal) = check_name("name", &switch.name) {
                return wrong(origin, refusal.to_string());
            }
            if let Err((key, detail)) = switch.fallback.check() {
                return wrong(format!("{key} of {origin}"), detail);
            }
            if !names.insert(&switch.name) {
                return wrong(origin, "there is another one of this name".to_owned());
            }
        }
        let mut flows: BTreeMap<_, _> =
            Flow::built_in().into_iter().map(|flow| (flow.name.clone(), Arc::new(flow))).collect();
        let mut names = BTreeSet::new();
        for flow in &self.flows {
            let origin = format!("flow {:?}", flow.name);
            if let Err(invalid) = flow.validate() {
                return wrong(origin, invalid.problem);
            }
            if !names.insert(&flow.name) {
                return wrong(origin, "there is another one of this name".to_owned());
            }
            flows.insert(flow.name.clone(), Arc::new(flow.clone()));
        }
        Ok(flows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::Fallback;

    #[test]
    fn names_are_unique_and_flows_can_be_run() {
        let switch = |name: &str| SwitchConfig {
            name: name.to_owned(),
            zone: String::new(),
            address: "127.0.0.1:8021".to_owned(),
            password: "ClueCon".to_owned(),
            fallback: Fallback::default(),
            fence: None,
        };
        let config = |switches, flows| CallsConfig { switches, flows };
        let flow = |name: &str| Flow { name: name.to_owned(), steps: Vec::new() };
        assert_eq!(config(vec![switch("a"), switch("b")], vec![flow("x")]).check().unwrap().len(), 3);
        assert_eq!(config(vec![], vec![flow("welcome")]).check().unwrap()["welcome"].steps.len(), 0);
        for wrong in [
            config(vec![switch("a"), switch("a")], vec![]),
            config(vec![switch("a b")], vec![]),
            config(vec![], vec![flow("x"), flow("x")]),
            config(vec![], vec![flow("")]),
        ] {
            assert!(matches!(wrong.check(), Err(Error::Configuration { .. })));
        }
    }
}

//! When all is quiet, every node has the same documents, and what a node acknowledged as written is in them.

use super::{Checker, Finding, Rest, Verdict};
use crate::engine::Place;
use crate::workload::WRITTEN_FIELD;

pub(super) struct ReplicasConverge;

impl Checker for ReplicasConverge {
    fn invariant(&self) -> &'static str {
        "replicas converge"
    }

    fn at_rest(&mut self, rest: &Rest<'_>) -> Verdict {
        let Some((first, Some(expected))) = rest.documents.first() else {
            return Err(Finding::new("the first node does not show its documents".to_owned()));
        };
        for (node, documents) in &rest.documents {
            let node = Place::Node(*node);
            let Some(documents) = documents else {
                return Err(Finding::new(format!("{node} does not show its documents")));
            };
            if documents != expected {
                let first = Place::Node(*first);
                return Err(Finding::new(format!(
                    "{node} and {first} have other documents: {documents:?} and {expected:?}"
                )));
            }
        }
        for (node, number) in rest.acknowledged {
            let document = format!("member.{}", rest.world.node_id(*node));
            let found = expected.iter().find(|entry| entry.document == document);
            let value = found.and_then(|entry| entry.fields.get(WRITTEN_FIELD)?.as_u64());
            if value.is_none_or(|value| value < *number) {
                let node = Place::Node(*node);
                return Err(Finding::new(format!("{node} acknowledged {number}, and {value:?} is there")));
            }
        }
        Ok(())
    }
}

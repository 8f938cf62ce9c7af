//! Bugs that the simulator plants in nodes, for its checkers to find. All of this exists only with the feature `planted`, which
//! the simulator's crate enables: a program that is released is built without, and CI looks for [`MARK`] in it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::net::Host;
use fipple_protocol::peer::{CallEvent, CallEventKind, CallSnapshot, Response, StepResult};

/// Stands in every program in which a bug can be planted, and in no other.
pub const MARK: &str = "fipple-with-planted-bugs";

/// A bug in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A node that attaches reads the calls before it raises their epochs.
    SnapshotBeforeEpoch,
    /// A step that was seen running when a call was taken over counts as running until it is done.
    FinalAdoption,
    /// A node goes on appointing owners after it has lost the gate.
    AppointsAfterLoss,
}

impl Host {
    /// Whether a node on this machine goes on appointing owners after it has lost the gate.
    pub(crate) fn appoints_after_loss(&self) -> bool {
        self.planted == Some(Planted::AppointsAfterLoss)
    }
}

/// Says once that a bug is planted.
pub(crate) fn admit(planted: Option<Planted>) {
    if let Some(planted) = planted {
        tracing::warn!("{MARK}: {planted:?}");
    }
}

/// The calls of which a step was adopted, for a node that takes adoptions for final.
#[derive(Default)]
pub(crate) struct FinalAdoptions {
    calls: Mutex<BTreeSet<String>>,
}

impl FinalAdoptions {
    /// A call was taken over.
    pub(crate) fn take(&self, snapshot: &CallSnapshot) {
        if snapshot.running.is_some() {
            self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(snapshot.channel.uuid.clone());
        }
    }

    /// Whether an event is passed over: the channel says that it has refused a step.
    pub(crate) fn passes_over(&self, event: &CallEvent) -> bool {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            CallEventKind::Step { result: StepResult::Done, .. } => {
                calls.remove(&event.call);
                false
            }
            CallEventKind::Step { .. } => calls.contains(&event.call),
            _ => false,
        }
    }

    /// Whether an answer is passed over: the channel runs no step.
    pub(crate) fn disbelieves(&self, response: &Response) -> bool {
        let Response::Snapshot(Some(snapshot)) = response else { return false };
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.running.is_none() && calls.contains(&snapshot.channel.uuid)
    }
}

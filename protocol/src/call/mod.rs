//! A call under control: the flow that runs on it, and the machine that takes it from step to step.
//!
//! The switch is the memory of a call: how many steps are done stands in the channel variable `fipple_done`,
//! so that any node can go on where another one stopped. What is here is pure; `fipple` carries the machine's
//! requests to the node that is attached to the switch, and brings back answers and events.

mod action;
mod cause;
mod flow;
mod machine;
mod step;

pub use action::{Action, CollectDigits, InvalidField};
pub use flow::{Flow, InvalidFlow, Step};
pub use machine::{CallEffect, CallInput, CallMachine, StepOutcome};
pub use step::{parse_step_application, parse_step_uuid, step_uuid};

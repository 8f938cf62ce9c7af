//! The name of a step's execution.

/// The `Event-UUID` under which a step is sent, which the switch repeats as `Application-UUID` in the events of
/// its execution: the call, the step's number and the epoch of the node that sent it.
pub fn step_uuid(call: &str, step: u32, epoch: u64) -> String {
    format!("{call}-{step}-{epoch}")
}

/// The step's number and the epoch, if `uuid` names a step of this call.
pub fn parse_step_uuid(call: &str, uuid: &str) -> Option<(u32, u64)> {
    let (step, epoch) = uuid.strip_prefix(call)?.strip_prefix('-')?.split_once('-')?;
    Some((step.parse().ok()?, epoch.parse().ok()?))
}

/// The step's number, if `uuid` is what the channel itself calls the application of a step of this call,
/// `<call>-<step>`: the step's own execution is an application that bears [`step_uuid`], and runs this one.
pub fn parse_step_application(call: &str, uuid: &str) -> Option<u32> {
    uuid.strip_prefix(call)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_step_of_which_call() {
        let uuid = step_uuid("a-1", 3, 12);
        assert_eq!(parse_step_uuid("a-1", &uuid), Some((3, 12)));
        assert_eq!(parse_step_uuid("a", &uuid), None, "1-3-12 is not a step and an epoch");
        for other in ["", "a-1", "a-1-3", "a-1-x-2", "a-1-3-2-1", "29014d9-a060"] {
            assert_eq!(parse_step_uuid("a-1", other), None, "{other}");
        }
        assert_eq!(parse_step_application("a-1", "a-1-3"), Some(3));
        for other in ["a-1-3-12", "a-1-k0123456789abcdef", "a-1", "b-1-3"] {
            assert_eq!(parse_step_application("a-1", other), None, "{other}");
        }
    }
}

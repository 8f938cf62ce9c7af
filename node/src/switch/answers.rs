//! The answers to commands, by the ids under which they were asked for: where the switch itself does not know whether one
//! has run.

use std::collections::{BTreeMap, VecDeque};

use fipple_protocol::peer::Refusal;

use crate::limits::COMMAND_IDS_KEPT;

/// Commands by their ids, and their answers once there are any. They outlive the connection over which they were sent: a
/// command that may have run before it broke is not run again after it.
#[derive(Default)]
pub(crate) struct Answers {
    by_id: BTreeMap<u64, Option<Result<String, Refusal>>>,
    oldest_first: VecDeque<u64>,
}

impl Answers {
    /// Notes that a command begins; its answer, or that it has none yet, if it has begun before.
    pub(super) fn begin(&mut self, id: u64) -> Option<Option<Result<String, Refusal>>> {
        if let Some(answer) = self.by_id.get(&id) {
            return Some(answer.clone());
        }
        if self.oldest_first.len() == COMMAND_IDS_KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(id, None);
        self.oldest_first.push_back(id);
        None
    }

    pub(super) fn end(&mut self, id: u64, answer: &Result<String, Refusal>) {
        match answer {
            // The switch has not had it, or would not do it: it may be tried again.
            Err(
                Refusal::SwitchUnavailable { .. }
                | Refusal::Overloaded { .. }
                | Refusal::InvalidArgument { .. }
                | Refusal::SwitchRefused { .. },
            ) => self.forget(id),
            // One that ran for so long that its id has been dropped is not remembered: nothing would drop it again.
            _ => {
                if let Some(known) = self.by_id.get_mut(&id) {
                    *known = Some(answer.clone());
                }
            }
        }
    }

    fn forget(&mut self, id: u64) {
        self.by_id.remove(&id);
        self.oldest_first.retain(|kept| *kept != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_up_to_a_limit_even_those_of_commands_that_run_for_long() {
        let mut answers = Answers::default();
        assert_eq!(answers.begin(0), None);
        assert_eq!(answers.begin(0), Some(None), "it still runs");
        for id in 1..=COMMAND_IDS_KEPT as u64 {
            assert_eq!(answers.begin(id), None);
            answers.end(id, &Ok("+OK".to_owned()));
        }
        answers.end(0, &Ok("+OK late".to_owned()));
        assert_eq!((answers.by_id.len(), answers.oldest_first.len()), (COMMAND_IDS_KEPT, COMMAND_IDS_KEPT));
        assert_eq!(answers.begin(1), Some(Some(Ok("+OK".to_owned()))));
        answers.end(1, &Err(Refusal::Overloaded { detail: String::new() }));
        assert_eq!(answers.begin(1), None, "the switch has not had it");
    }
}

//! Epochs and owners, as they are written into calls: raised only, many calls at a time.

use fipple_protocol::esl::Command;
use fipple_protocol::peer::Refusal;

use super::attachment::{Attachment, job_timeout};
use super::commands::{judge, word};
use super::fence::{Fence, Taken, raise_script, take_script, taken};
use crate::calls::channel::{CORE_VARIABLE, EPOCH_VARIABLE, FORMAT_VARIABLE, OWNER_VARIABLE};
use crate::limits::{SCRIPT_CALLS_MAX, SNAPSHOT_CONCURRENCY, SWITCH_REPLY_TIMEOUT_MS};

/// The version of the variables that fipple keeps in a call (`fipple_format`).
const FORMAT: u32 = 1;

impl Attachment {
    /// Raises the epochs of calls to these and names their owner. What became of each, in their order.
    ///
    /// # Errors
    /// If the switch does not answer; some may have been taken then.
    pub(crate) async fn take(&self, owner: &str, calls: &[(&str, u64)]) -> Result<Vec<Taken>, Refusal> {
        for (call, _) in calls {
            word("call", call)?;
        }
        if self.fence() != Fence::Strict {
            return self.take_by_variables(owner, calls).await;
        }
        let mut all = Vec::with_capacity(calls.len());
        for calls in calls.chunks(SCRIPT_CALLS_MAX) {
            let line = take_script(owner, calls);
            let names: Vec<_> = calls.iter().map(|(call, _)| *call).collect();
            all.extend(taken(&names, &self.script(&line, calls.len()).await?));
        }
        Ok(all)
    }

    /// Raises the epochs of those calls that have an owner, so that nothing counts any more that was sent before. What became
    /// of each, in their order.
    ///
    /// # Errors
    /// If the switch does not answer; some may have been raised then.
    pub(super) async fn raise(&self, calls: &[&str]) -> Result<Vec<Taken>, Refusal> {
        if self.fence() != Fence::Strict {
            return self.raise_by_variables(calls).await;
        }
        let mut all = Vec::with_capacity(calls.len());
        for calls in calls.chunks(SCRIPT_CALLS_MAX) {
            all.extend(taken(calls, &self.script(&raise_script(calls), calls.len()).await?));
        }
        Ok(all)
    }

    /// Runs a script for so many calls: at once for one, which is quickest, and beside everything else for more.
    async fn script(&self, line: &str, calls: usize) -> Result<String, Refusal> {
        match calls {
            1 => self.connection().api(line).await,
            _ => self.connection().background(line, job_timeout(SWITCH_REPLY_TIMEOUT_MS)).await,
        }
    }

    /// Without a lock: only the node that holds the gate does this, and it looks before it writes.
    async fn take_by_variables(&self, owner: &str, calls: &[(&str, u64)]) -> Result<Vec<Taken>, Refusal> {
        let mut all = Vec::with_capacity(calls.len());
        for calls in calls.chunks(SNAPSHOT_CONCURRENCY) {
            let questions = calls.iter().map(|(call, _)| format!("uuid_getvar {call} {EPOCH_VARIABLE}"));
            let present = self.ask_all(questions).await?;
            let mut verdicts: Vec<_> = calls
                .iter()
                .zip(&present)
                .map(|((call, epoch), present)| match epoch_of(call, present) {
                    Ok(current) if current < *epoch => Taken::Ok(*epoch),
                    Ok(current) => Taken::Epoch(current),
                    Err(verdict) => verdict,
                })
                .collect();
            let chosen: Vec<_> =
                (0..calls.len()).filter(|index| matches!(verdicts[*index], Taken::Ok(_))).collect();
            let core = self.core_uuid();
            let writes = chosen.iter().map(|index| {
                let (call, epoch) = calls[*index];
                format!(
                    "uuid_setvar_multi {call} {OWNER_VARIABLE}={owner};{EPOCH_VARIABLE}={epoch};\
                     {CORE_VARIABLE}={core};{FORMAT_VARIABLE}={FORMAT}"
                )
            });
            for (index, reply) in chosen.iter().zip(self.ask_all(writes).await?) {
                match judge(calls[*index].0, &reply) {
                    Ok(_) => {}
                    Err(Refusal::UnknownChannel { .. }) => verdicts[*index] = Taken::Gone,
                    Err(_) => verdicts[*index] = Taken::Unknown,
                }
            }
            all.extend(verdicts);
        }
        Ok(all)
    }

    async fn raise_by_variables(&self, calls: &[&str]) -> Result<Vec<Taken>, Refusal> {
        let mut all = Vec::with_capacity(calls.len());
        for calls in calls.chunks(SNAPSHOT_CONCURRENCY) {
            let questions = calls.iter().flat_map(|call| {
                [EPOCH_VARIABLE, OWNER_VARIABLE].map(|name| format!("uuid_getvar {call} {name}"))
            });
            let answers = self.ask_all(questions).await?;
            for (call, answers) in calls.iter().zip(answers.chunks(2)) {
                let [epoch, owner] = answers else { continue };
                let owner = owner.trim();
                let has_owner = !owner.is_empty() && owner != UNDEFINED && !owner.starts_with('-');
                all.push(match epoch_of(call, epoch) {
                    Ok(epoch) if has_owner => {
                        let taken = self.take_by_variables(owner, &[(call, epoch.saturating_add(1))]).await?;
                        taken.into_iter().next().unwrap_or(Taken::Unknown)
                    }
                    Ok(_) => Taken::Unclaimed,
                    Err(verdict) => verdict,
                });
            }
        }
        Ok(all)
    }

    /// The answers to short commands, which go out together.
    pub(super) async fn ask_all(&self, lines: impl Iterator<Item = String>) -> Result<Vec<String>, Refusal> {
        let lines: Vec<_> = lines.collect();
        let commands: Vec<_> = lines.iter().map(|line| Command::Api(line)).collect();
        let mut answers = Vec::with_capacity(lines.len());
        for pending in self.connection().send(&commands)? {
            answers.push(pending.reply().await?);
        }
        Ok(answers)
    }
}

/// What `uuid_getvar` says of a variable that is not there.
pub(super) const UNDEFINED: &str = "_undef_";

/// The epoch that `uuid_getvar` told, 0 for a call that has none.
fn epoch_of(call: &str, answer: &str) -> Result<u64, Taken> {
    match judge(call, answer).as_deref() {
        Ok(UNDEFINED | "") => Ok(0),
        Ok(epoch) => epoch.parse().map_err(|_| Taken::Unknown),
        Err(Refusal::UnknownChannel { .. }) => Err(Taken::Gone),
        Err(_) => Err(Taken::Unknown),
    }
}

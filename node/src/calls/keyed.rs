//! As the attached node: what a client asks for under a key is done once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fipple_protocol::peer::{ChannelCommand, OriginateCommand, Refusal, fingerprint, is_keyed, unkeyed_id};

use super::attached::AttachedSwitch;
use crate::limits::COMMAND_IDS_KEPT;
use crate::switch::attachment::Attachment;
use crate::switch::commands::{name, word};
use crate::switch::identifiers::random_uuid;

/// What came under a key lately.
#[derive(Debug, Default)]
pub(super) struct Keys {
    by_id: BTreeMap<u64, Seen>,
    oldest_first: VecDeque<u64>,
    /// Calls that are being started.
    starting: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    fingerprint: u64,
    /// Whether it is known that it was done.
    done: bool,
}

impl Keys {
    /// Whether this was done under this id.
    ///
    /// # Errors
    /// `KeyReused` if it was something else.
    fn was_done(&self, id: u64, fingerprint: u64) -> Result<bool, Refusal> {
        match self.by_id.get(&id) {
            Some(seen) if seen.fingerprint != fingerprint => Err(Refusal::KeyReused { id }),
            seen => Ok(seen.is_some_and(|seen| seen.done)),
        }
    }

    fn remember(&mut self, id: u64, seen: Seen) {
        if self.by_id.insert(id, seen).is_some() {
            return;
        }
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > COMMAND_IDS_KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }
}

/// Carries a command, unless it has a key and ran before.
///
/// # Errors
/// `Repeated` if it ran, `KeyReused` if another one did; otherwise as `carried` says.
pub(super) async fn once(
    switch: &AttachedSwitch,
    id: u64,
    channel: &str,
    command: &ChannelCommand,
    carried: impl Future<Output = Result<String, Refusal>>,
) -> Result<String, Refusal> {
    if !is_keyed(id) {
        return carried.await;
    }
    let fingerprint = fingerprint(command);
    let was_done = switch.keys().was_done(id, fingerprint)?;
    let attachment = switch.attachment()?;
    // What was queued may have been refused in the end, as stale: only the channel knows.
    let ran = match attachment.keeps_keys() {
        true => is_kept(switch, &attachment, channel, id).await?,
        false => was_done,
    };
    if ran {
        return Err(Refusal::Repeated { id });
    }
    let answer = carried.await;
    // What was refused may come again, in other words.
    if let Ok(_) | Err(Refusal::Repeated { .. } | Refusal::TimedOut { .. }) = answer {
        let done = !matches!(answer, Err(Refusal::TimedOut { .. }));
        switch.keys().remember(id, Seen { fingerprint, done });
    }
    answer
}

/// Whether the channel remembers the id, or the call that it is a leg of.
async fn is_kept(
    switch: &AttachedSwitch,
    attachment: &Attachment,
    channel: &str,
    id: u64,
) -> Result<bool, Refusal> {
    let call = switch.call_of(channel);
    if call != channel && attachment.ran_before(&call, id).await.unwrap_or(false) {
        return Ok(true);
    }
    attachment.ran_before(channel, id).await
}

/// Starts a call: once, where its uuid was given. Its A leg's uuid.
///
/// # Errors
/// `Repeated` if there is such a channel or was one; otherwise why the call was not started.
pub(super) async fn originate(
    switch: &AttachedSwitch,
    originate: &OriginateCommand,
    uuid: Option<String>,
) -> Result<String, Refusal> {
    let attachment = switch.attachment()?;
    let Some(uuid) = uuid else {
        return attachment.originate(&random_uuid(&switch.host)?, originate).await;
    };
    name("uuid", &uuid)?;
    let (id, fingerprint) = (unkeyed_id(fingerprint(&uuid)), fingerprint(originate));
    if switch.keys().was_done(id, fingerprint)? {
        return Err(Refusal::Repeated { id });
    }
    let Some(_starting) = Starting::begin(switch, id) else {
        return Err(Refusal::Overloaded { detail: "the same call is being started".to_owned() });
    };
    if attachment.api(&format!("uuid_exists {uuid}")).await?.trim() == "true" {
        return Err(Refusal::Repeated { id });
    }
    let answer = attachment.originate(&uuid, originate).await;
    let answer = match answer {
        Err(Refusal::SwitchRefused { reply }) => Err(undo_double(&attachment, id, reply).await),
        answer => answer,
    };
    // One of which nobody knows what became is asked after at the switch, which has it or has not.
    if answer.is_ok() {
        switch.keys().remember(id, Seen { fingerprint, done: true });
    }
    answer
}

/// The switch gives another uuid to a call whose own is taken: somebody was faster, and this call is one too many.
async fn undo_double(attachment: &Attachment, id: u64, reply: String) -> Refusal {
    match reply.strip_prefix("+OK ") {
        Some(made) if word("uuid", made).is_ok() => {
            match attachment.api(&format!("uuid_kill {made}")).await {
                Ok(_) => Refusal::Repeated { id },
                Err(refusal) => refusal,
            }
        }
        _ => Refusal::SwitchRefused { reply },
    }
}

/// A call that is being started, until it was, or nobody waits for it any more.
struct Starting<'a> {
    switch: &'a AttachedSwitch,
    id: u64,
}

impl<'a> Starting<'a> {
    fn begin(switch: &'a AttachedSwitch, id: u64) -> Option<Self> {
        let is_first = switch.keys().starting.insert(id);
        // Not made where another one stands: its end would be taken for that one's.
        is_first.then(|| Self { switch, id })
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.switch.keys().starting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_remembered_up_to_a_limit_and_another_command_under_one_is_told() {
        let mut keys = Keys::default();
        let seen = |done| Seen { fingerprint: 7, done };
        assert_eq!(keys.was_done(0, 7), Ok(false));
        keys.remember(0, seen(false));
        assert_eq!(keys.was_done(0, 7), Ok(false), "nobody knows whether it was");
        assert_eq!(keys.was_done(0, 8), Err(Refusal::KeyReused { id: 0 }));
        keys.remember(0, seen(true));
        assert_eq!(keys.was_done(0, 7), Ok(true));
        for id in 1..=COMMAND_IDS_KEPT as u64 {
            keys.remember(id, seen(true));
            keys.remember(id, seen(true));
        }
        assert_eq!((keys.by_id.len(), keys.oldest_first.len()), (COMMAND_IDS_KEPT, COMMAND_IDS_KEPT));
        assert_eq!((keys.was_done(0, 8), keys.was_done(1, 7)), (Ok(false), Ok(true)));
    }
}

//! Where the calls of a switch go that no node controls any more, and how soon.

use serde::Deserialize;

use super::commands;
use crate::limits::{
    FALLBACK_SECONDS_DEFAULT, FALLBACK_SECONDS_MAX, FALLBACK_SECONDS_MIN, LEASE_GRANULARITY_SECONDS,
    LEASE_RENEWAL_SECONDS, LEASE_WATCHDOG_SECONDS, NAME_MAX_BYTES, TAKEOVER_WORST_MS,
};

/// The operator's extension for calls whose control plane is dead.
///
/// Calls that are bridged or dialling are left alone until they are not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// The extension.
    pub extension: String,
    /// The dialplan that has it.
    pub dialplan: String,
    /// The context in which it is looked for.
    pub context: String,
    /// Within this time after the last node died a waiting caller is there, in seconds.
    pub seconds: u64,
}

impl Default for Fallback {
    /// What `deploy/freeswitch/fipple.xml` has.
    fn default() -> Self {
        Self {
            extension: "fipple_fallback".to_owned(),
            dialplan: "XML".to_owned(),
            context: "default".to_owned(),
            seconds: FALLBACK_SECONDS_DEFAULT,
        }
    }
}

impl Fallback {
    /// Checks what becomes a part of commands, and that no healthy takeover can take so long.
    ///
    /// # Errors
    /// The key of what is wrong, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let dialled = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+*#".contains(&byte);
        if self.extension.starts_with('-') || !fits(&self.extension) || !self.extension.bytes().all(dialled) {
            let detail = format!(
                "{:?} will not do: use 1 to {NAME_MAX_BYTES} letters, digits and any of -_.+*#, no - at the beginning",
                self.extension
            );
            return Err(("fallback_extension", detail));
        }
        for (key, name) in [("fallback_dialplan", &self.dialplan), ("fallback_context", &self.context)] {
            if !fits(name) || commands::name(key, name).is_err() {
                let detail = format!(
                    "{name:?} will not do: use 1 to {NAME_MAX_BYTES} letters, digits, '-', '_' and '.', no - at the \
                     beginning"
                );
                return Err((key, detail));
            }
        }
        if !(FALLBACK_SECONDS_MIN..=FALLBACK_SECONDS_MAX).contains(&self.seconds) {
            let takeover = TAKEOVER_WORST_MS.div_ceil(1_000);
            let detail = format!(
                "{} will not do: use {FALLBACK_SECONDS_MIN} to {FALLBACK_SECONDS_MAX}. The worst takeover takes \
                 {takeover} s, and a lease has to outlive two of them",
                self.seconds
            );
            return Err(("fallback_seconds", detail));
        }
        Ok(())
    }

    /// How old a lease may become before it has expired, in seconds: what is left of [`Fallback::seconds`] when the
    /// switch takes as long as it may to see that and to transfer the calls.
    pub fn lease_seconds(&self) -> u64 {
        self.seconds
            .saturating_sub(LEASE_WATCHDOG_SECONDS + LEASE_RENEWAL_SECONDS + LEASE_GRANULARITY_SECONDS)
    }
}

fn fits(name: &str) -> bool {
    (1..=NAME_MAX_BYTES).contains(&name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlives_two_takeovers_and_the_caller_is_there_in_time() {
        for seconds in [FALLBACK_SECONDS_MIN, FALLBACK_SECONDS_DEFAULT, FALLBACK_SECONDS_MAX] {
            let fallback = Fallback { seconds, ..Fallback::default() };
            assert_eq!(fallback.check(), Ok(()));
            // The last renewal before a node's death may be a whole interval old.
            let left_ms = (fallback.lease_seconds() - LEASE_RENEWAL_SECONDS) * 1_000;
            assert!(left_ms >= 2 * TAKEOVER_WORST_MS, "{seconds}: {left_ms}");
        }
        let (key, said) =
            Fallback { seconds: FALLBACK_SECONDS_MIN - 1, ..Fallback::default() }.check().unwrap_err();
        assert_eq!(key, "fallback_seconds");
        assert!(said.contains("outlive two"), "{said}");
    }

    #[test]
    fn nothing_that_would_end_an_argument_gets_into_a_command() {
        let extension = |extension: &str| Fallback { extension: extension.to_owned(), ..Fallback::default() };
        for good in ["+4930", "*98", "queue#1", "a.b_c-d"] {
            assert_eq!(extension(good).check(), Ok(()), "{good}");
        }
        for bad in ["", "-bleg", "a b", "a;b", "a/b", "a|b", "${x}", "a'b", "a\nb", "é", &"x".repeat(64)] {
            assert_eq!(extension(bad).check().unwrap_err().0, "fallback_extension", "{bad}");
            let other = || bad.to_owned();
            let context = Fallback { context: other(), ..Fallback::default() };
            assert_eq!(context.check().unwrap_err().0, "fallback_context", "{bad}");
            let dialplan = Fallback { dialplan: other(), ..Fallback::default() };
            assert_eq!(dialplan.check().unwrap_err().0, "fallback_dialplan", "{bad}");
        }
    }
}

//! What an operator says about a switch.

use std::fmt;

use serde::Deserialize;

use super::{Fallback, Fence};

/// A FreeSWITCH that this node may attach to.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchConfig {
    /// The switch's name, the same on all nodes.
    pub name: String,
    /// The zone in which it stands. Nodes of the same zone own its calls first.
    #[serde(default)]
    pub zone: String,
    /// Where its Event Socket listens, `host:port`.
    pub address: String,
    /// The password of its Event Socket.
    pub password: String,
    /// Where its calls go that no node controls any more.
    #[serde(default)]
    pub fallback: Fallback,
    /// The fence that it must have; where it is not set, the best that is there.
    #[serde(default)]
    pub fence: Option<Fence>,
}

/// Without the password: what is printed ends in logs.
impl fmt::Debug for SwitchConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchConfig")
            .field("name", &self.name)
            .field("zone", &self.zone)
            .field("address", &self.address)
            .field("fallback", &self.fallback)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_is_refused_and_the_password_is_not_printed() {
        let text = "name = \"pbx1\"\naddress = \"10.0.0.1:8021\"\npassword = \"ClueCon\"\n";
        let switch: SwitchConfig = toml::from_str(text).unwrap();
        assert_eq!((switch.password.as_str(), switch.zone.as_str()), ("ClueCon", ""));
        assert!(!format!("{switch:?}").contains("ClueCon"));
        assert_eq!(switch.fence, None);
        let strict: SwitchConfig = toml::from_str(&format!("{text}fence = \"strict\"\n")).unwrap();
        assert_eq!(strict.fence, Some(Fence::Strict));
        let error = toml::from_str::<SwitchConfig>(&format!("{text}pasword = \"x\"\n")).unwrap_err();
        assert!(error.to_string().contains("pasword"), "{error}");
    }
}

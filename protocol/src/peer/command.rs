//! What can be asked of a channel, in REST, on the command line and between nodes alike.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A command for one channel. In JSON the field `action` names it: `{"action":"play","file":"..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChannelCommand {
    /// Answer the channel.
    #[n(0)]
    Answer,
    /// End it.
    #[n(1)]
    Hangup {
        /// The Q.850 cause by FreeSWITCH's name, `NORMAL_CLEARING` if left out.
        #[n(0)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
    },
    /// Take it out of whatever it does and let it wait.
    #[n(2)]
    Park,
    /// Play a file or a tone to it.
    #[n(3)]
    Play {
        /// A path on the switch, or any stream it knows: `tone_stream://%(1000,0,440)`.
        #[n(0)]
        file: String,
    },
    /// Send it to an extension of the dialplan.
    #[n(4)]
    Transfer {
        /// The extension.
        #[n(0)]
        extension: String,
        /// The dialplan, `XML` if left out.
        #[n(1)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dialplan: Option<String>,
        /// The context, `default` if left out.
        #[n(2)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<String>,
    },
    /// Connect it with another channel, or dial and connect.
    #[n(5)]
    Bridge {
        /// The uuid of a channel of the same switch, or a dial string (`user/1001`).
        #[n(0)]
        to: String,
    },
    /// Set a channel variable.
    #[n(6)]
    Set {
        /// The variable's name.
        #[n(0)]
        name: String,
        /// Its value; an empty one unsets.
        #[n(1)]
        value: String,
    },
    /// Run any dialplan application.
    #[n(7)]
    Execute {
        /// The application's name. The switch hangs up a call that asks for one it does not know.
        #[n(0)]
        application: String,
        /// Its argument.
        #[n(1)]
        #[serde(default)]
        argument: String,
    },
    /// Stop what is played to it. What was asked for behind it comes next.
    #[n(8)]
    Break,
    /// Take another channel away from whom it talks to, and connect this one with it.
    #[n(9)]
    Intercept {
        /// The other channel's uuid, on the same switch.
        #[n(0)]
        of: String,
    },
}

/// A new call.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginateCommand {
    /// The switch to call from; any attached one if left out.
    #[n(0)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// The dial string: `user/1001`, `sofia/gateway/carrier/4930...`.
    #[n(1)]
    pub endpoint: String,
    /// The flow that controls the call once it is answered; `park` if left out.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// The caller's name that the called party sees.
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id_name: Option<String>,
    /// The caller's number that the called party sees.
    #[n(4)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id_number: Option<String>,
    /// How long it may ring, in seconds; the switch's own limit (60) if left out.
    #[n(5)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

//! The grammar of the command line, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use fipple_protocol::peer::IdempotencyKey;

use crate::config::Settings;

const EXAMPLES: &str = "\
Try it (three nodes, two emulated switches, real calls, nothing to install):
  fipple demo

A cluster of two nodes with one FreeSWITCH:
  fipple init  --data-dir /var/lib/fipple --name west-1
  fipple node  --data-dir /var/lib/fipple --switch fs1=10.0.0.9:8021
  fipple token create --data-dir /var/lib/fipple --out join.token     # take it to the second machine
  fipple node  --data-dir /var/lib/fipple --seed 10.0.0.1:7400 --token-file join.token \\
               --switch fs1=10.0.0.9:8021                             # there

Looking and commanding, on any node:
  fipple members
  fipple calls
  fipple call 5c1d... play tone_stream://%(500,0,440)
  fipple api fs1 sofia status

Exit status: 0 done; 1 failed; 2 wrong command line or configuration; 3 there is no such call, channel or switch;
4 refused: it cannot be done so; 5 not now: nothing was done, try again; 6 no answer in time: it may have been done,
look before you repeat it, or repeat it under the same --key.";

const NODE_EXAMPLES: &str = "\
Examples:
  fipple node --data-dir D                                            a node that has been set up
  fipple node --data-dir D --seed 10.0.0.1:7400 --token-file F        joins a cluster first, if D is new
  FIPPLE_ZONE=west fipple node --data-dir D --config /etc/fipple.toml

Every setting is a flag, a FIPPLE_* variable and a key of the file; the first of these wins.
SIGTERM or Ctrl-C stops the node after it has told the others; a second one stops it at once.";

const CALLS_EXAMPLES: &str = "\
Examples:
  fipple calls                    all channels
  fipple calls trace 5c1d...      what became of this call, and why";

const TRACE_HELP: &str = "\
Times are UTC, each by the clock of the node in its line. Every node keeps the latest 4 MiB of all its calls, also of
those that have ended; what a node remembered that is down is missing, and is named at the end.

Example:
  fipple calls trace 5c1d4f0a-... --json";

/// A telephony control plane without a centre: every node runs this program, finds the others by gossip over
/// QUIC, and can control the calls of every attached FreeSWITCH.
#[derive(Parser)]
#[command(name = "fipple", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Arguments {
    /// The node's data directory; for commands that talk to a node, the one to talk to
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "FIPPLE_DATA_DIR",
        default_value = "/var/lib/fipple"
    )]
    pub(super) data_dir: PathBuf,

    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a new cluster and its first node: identity, cluster key, admin key
    Init(Init),
    /// Run a node; if the data directory is new, join a cluster first
    #[command(after_help = NODE_EXAMPLES)]
    Node(Box<Node>),
    /// Make what another node needs in order to join
    #[command(subcommand)]
    Token(Token),
    /// List the nodes of the cluster
    Members,
    /// List the switches, and which node is attached to which
    Switches,
    /// Prepare a FreeSWITCH
    #[command(subcommand)]
    Switch(Switch),
    /// List the channels of all switches, or tell what became of one call
    #[command(alias = "channels", after_help = CALLS_EXAMPLES)]
    Calls {
        #[command(subcommand)]
        command: Option<Calls>,
    },
    /// Show how the node and its cluster are
    Status,
    /// Command a channel, through any node
    Call {
        /// The channel's uuid, as `fipple calls` lists it
        uuid: String,
        /// A key of your own for this command; given again with it, on any node, it does not run again. The channel
        /// remembers its latest eight commands
        #[arg(long)]
        key: Option<IdempotencyKey>,
        #[command(subcommand)]
        action: Action,
    },
    /// Start a call
    #[command(after_help = "Example:\n  fipple originate user/1001 --switch fs1 --flow welcome")]
    Originate(Originate),
    /// Run any API command of a switch and print its whole result
    #[command(after_help = "Example:\n  fipple api fs1 sofia status profile internal")]
    Api {
        /// The switch's name, as `fipple switches` lists it
        switch: String,
        /// The command, as one would type it in fs_cli; what follows is all part of it, so fipple's own options go before
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Show a cluster at work: node processes, emulated switches, real calls, and a node that dies
    #[cfg(feature = "demo")]
    Demo(crate::demo::DemoArguments),
}

#[derive(Args)]
pub(super) struct Init {
    /// The node's name [default: a part of its id]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The cluster's name, for people
    #[arg(long, default_value = "fipple")]
    pub(super) cluster_name: String,
}

#[derive(Args)]
pub(super) struct Node {
    /// The configuration file [default: fipple.toml in the data directory, if it is there]
    #[arg(long, value_name = "FILE", env = "FIPPLE_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// The token by which a new node joins, made by `fipple token create`
    #[arg(long, value_name = "FILE", env = "FIPPLE_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: Settings,
}

#[derive(Subcommand)]
pub(super) enum Token {
    /// Write a token for further nodes. It is a secret worth the whole cluster
    Create {
        /// Where to write it, readable by you only [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

const INSTALL_EXAMPLES: &str = "\
Example, on the switch's machine (or with its directories mounted):
  fipple switch install --scripts \"$(fs_cli -x 'global_getvar script_dir')\" \\
                        --dialplan \"$(fs_cli -x 'global_getvar conf_dir')/dialplan\"

The scripts check each step and command of a call in the call's own thread; they need mod_lua and mod_hash. A
switch without mod_lua needs the dialplan alone. What is running is not disturbed.";

#[derive(Subcommand)]
pub(super) enum Switch {
    /// Put fipple's scripts and its dialplan where a FreeSWITCH looks for them
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(Install),
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Install {
    /// The switch's directory of Lua scripts
    #[arg(long, value_name = "DIR")]
    pub(super) scripts: Option<PathBuf>,
    /// The switch's directory of dialplans; an extension of fipple's that is there already stays as it is
    #[arg(long, value_name = "DIR")]
    pub(super) dialplan: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum Calls {
    /// List the channels of all switches, as without a command
    List,
    /// Tell what every node remembers of a call: owners and why they changed, epochs, steps, commands, events
    #[command(after_help = TRACE_HELP)]
    Trace {
        /// The call's uuid: that of its first channel. It may have ended
        uuid: String,
    },
}

#[derive(Subcommand)]
pub(super) enum Action {
    /// Answer it
    Answer,
    /// End it
    Hangup {
        /// Why, by FreeSWITCH's name for it [default: NORMAL_CLEARING]
        cause: Option<String>,
    },
    /// Take it out of whatever it does and let it wait
    Park,
    /// Play a file or a tone to it
    Play {
        /// A path on the switch, or any stream it knows: tone_stream://%(500,0,440)
        file: String,
    },
    /// Send it to an extension of the dialplan
    Transfer {
        /// The extension
        extension: String,
        /// The dialplan [default: XML]
        #[arg(long)]
        dialplan: Option<String>,
        /// The context [default: default]
        #[arg(long)]
        context: Option<String>,
    },
    /// Connect it with another channel, or dial and connect
    Bridge {
        /// The uuid of a channel on the same switch, or a dial string such as user/1001
        to: String,
    },
    /// Take another channel away from whom it talks to, and connect this one with it
    Intercept {
        /// The other channel's uuid, on the same switch
        of: String,
    },
    /// Set a channel variable
    Set {
        /// The variable's name
        name: String,
        /// Its value; an empty one unsets
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Run any dialplan application. The switch hangs up a call that asks for one it does not know
    Execute {
        /// The application's name
        application: String,
        /// Its argument
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        argument: Vec<String>,
    },
    /// Stop what is played to it
    Break,
}

#[derive(Args)]
pub(super) struct Originate {
    /// The dial string: user/1001, sofia/gateway/carrier/4930...
    pub(super) endpoint: String,
    /// The switch to call from [default: any that is attached]
    #[arg(long)]
    pub(super) switch: Option<String>,
    /// The flow that controls the call once it is answered [default: park]
    #[arg(long)]
    pub(super) flow: Option<String>,
    /// The caller's name that the called party sees
    #[arg(long)]
    pub(super) caller_id_name: Option<String>,
    /// The caller's number that the called party sees
    #[arg(long)]
    pub(super) caller_id_number: Option<String>,
    /// How many seconds it may ring [default: the switch's own limit]
    #[arg(long, value_name = "SECONDS")]
    pub(super) timeout_seconds: Option<u32>,
    /// A key of your own for this call; given again while the call lasts, on any node, it starts no second one
    #[arg(long)]
    pub(super) key: Option<IdempotencyKey>,
}

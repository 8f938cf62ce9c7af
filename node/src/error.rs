//! What can go wrong, in one type. Messages are for operators: each says what happened and to what, and where
//! there is a way out, names it.

use std::io;

use fipple_protocol::peer::Refusal;

/// Anything that stops a node or a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // --- Configuration and the data directory ---
    /// A setting is wrong. Nothing was started.
    #[error("{origin}: {detail}")]
    Configuration {
        /// Where it was set: a file, an environment variable or a flag.
        origin: String,
        /// What is wrong, and what would be right.
        detail: String,
    },
    /// The data directory holds no node. Nothing was changed.
    #[error(
        "{directory} holds no node yet.\nFor a new cluster:  fipple init --data-dir {directory}\n\
         To join a cluster:  fipple node --data-dir {directory} --seed HOST:7400 --token-file FILE"
    )]
    NotInitialised {
        /// The data directory.
        directory: String,
    },
    /// The data directory already holds a node, which was left as it is.
    #[error("{directory} already holds node {node}. Start it with:  fipple node --data-dir {directory}")]
    AlreadyInitialised {
        /// The data directory.
        directory: String,
        /// The node's name or id.
        node: String,
    },
    /// A file of the data directory, or a join token, cannot be understood. It was left as it is.
    #[error("{file} cannot be understood: {detail}")]
    Damaged {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file that would be made exists already, and was left as it is. Nothing was changed.
    #[error(
        "{file} exists already in the data directory and was left as it is. If it was left behind by an attempt that \
         failed, remove it; otherwise take another data directory"
    )]
    Exists {
        /// The file's name.
        file: String,
    },
    /// The machine refused something: a file, a socket, randomness.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried: "read admin.key", "listen on 0.0.0.0:7400".
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// A certificate or a key cannot be used.
    #[error("cannot use {what}: {detail}")]
    Certificate {
        /// Which certificate or key.
        what: String,
        /// Why not.
        detail: String,
    },

    // --- A running node ---
    /// What was asked for was not done, and why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The replicated documents. Each variant says what is left; a refused write changed nothing.
    #[error("documents: {0}")]
    Documents(#[from] fipple_crdt::Error),
    /// Too many writes wait for the disk; this one was not done.
    #[error("too many writes wait for the disk: try again, more slowly")]
    StoreBusy,

    // --- The command line ---
    /// No node answers where one should run.
    #[error(
        "the node of {directory} does not run{detail}.\nStart it with:  fipple node --data-dir {directory}"
    )]
    NotRunning {
        /// The data directory.
        directory: String,
        /// Where it was looked for and what came of it; empty if it has never run.
        detail: String,
    },
    /// The node's answer was an error, or none that can be understood.
    #[error("{message} ({status})")]
    Answer {
        /// The HTTP status.
        status: u16,
        /// What the node said.
        message: String,
    },
    /// A command line that cannot be carried out; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// The demonstration did not end as it should. Everything that it started has been stopped.
    #[error("{0}")]
    Demo(String),
}

impl Error {
    /// Turns an I/O error into one that says what was tried.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

//! What the end-to-end tests share: real node processes, a client for their REST, emulated switches on real
//! sockets. The tests themselves are in `tests/tests`, each named as the sentence that it proves.

#![expect(
    clippy::disallowed_methods,
    reason = "tests of real processes need the real machine: sockets, files, threads and the time"
)]
#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

mod cluster;
mod http;
mod node_process;
mod switch;
mod wait;

pub use cluster::TestCluster;
pub use http::{Answer, Client};
pub use node_process::NodeProcess;
pub use switch::TestSwitch;
pub use wait::eventually;

//! What the end-to-end tests share: real node processes, a client for their REST, emulated switches on real
//! sockets. The tests themselves are in `tests/tests`, each named as the sentence that it proves.

#![expect(
    clippy::disallowed_methods,
    reason = "tests of real processes need the real machine: sockets, files, threads and the time"
)]
#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

mod cluster;
mod event_socket;
mod http;
mod node_process;
mod proxy;
mod real_switch;
mod steps;
mod switch;
mod trap;
mod wait;

pub use cluster::TestCluster;
pub use event_socket::EventSocket;
pub use http::{Answer, Client};
pub use node_process::{Killer, NodeProcess};
pub use proxy::{Way, proxy};
pub use real_switch::RealSwitch;
pub use steps::{faults_of, step_of, step_runs};
pub use switch::TestSwitch;
pub use trap::{Moment, Sprung, Trap, Victims, Watch, call_and_step};
pub use wait::eventually;

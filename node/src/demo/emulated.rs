//! The emulated switches, served on loopback by the demonstration's own process.

use std::net::{Ipv4Addr, SocketAddr};

use fipple_emulator::dialplan::{Action, Dialplan};
use fipple_emulator::{Config, Counts, InboundCall, Ledger, SwitchHandle, Time, serve};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Error;
use crate::net::{Host, Listener};

/// The flow that the calls' dialplan asks for, and the number that they dial.
const FLOW: &str = "welcome";

/// An emulated switch. Dropping it ends it.
pub(super) struct EmulatedSwitch {
    /// `switch-1` and so on.
    pub(super) name: String,
    /// Its Event Socket.
    pub(super) address: SocketAddr,
    handle: SwitchHandle,
    started_at: Instant,
    _tasks: JoinSet<()>,
}

impl EmulatedSwitch {
    /// Starts one on a port that the system chooses.
    pub(super) async fn start(host: &Host, number: u8) -> Result<Self, Error> {
        let name = format!("switch-{number}");
        let config = Config {
            switch_name: name.clone(),
            wall_clock_at_start_micros: host.clock.unix_ms() * 1000,
            dialplan: dialplan(),
            ..Config::default()
        };
        let listen = || Error::io(format!("listen for {name}"));
        let listener = host.network.listen_tcp((Ipv4Addr::LOCALHOST, 0).into()).await.map_err(listen())?;
        let address = listener.local_address().map_err(listen())?;
        let started_at = Instant::now();
        // The seed makes every switch another: uuids must not repeat between them, nor between demonstrations.
        let mut seed = [0; 8];
        host.random.fill(&mut seed).map_err(Error::io("draw a seed"))?;
        let (handle, switch) = serve(config, u64::from_le_bytes(seed));
        let mut tasks = JoinSet::new();
        tasks.spawn(switch);
        tasks.spawn(accept(listener, handle.clone()));
        Ok(Self { name, address, handle, started_at, _tasks: tasks })
    }

    /// A call comes in and waits for a controller; its uuid.
    pub(super) async fn place_call(&self, caller: &str) -> Result<String, Error> {
        let uuid = self.handle.inbound_call(InboundCall::new(caller, FLOW)).await;
        uuid.map(|uuid| uuid.to_string()).map_err(|error| self.failed(&error))
    }

    /// What really happened to every call.
    pub(super) async fn ledger(&self) -> Result<Ledger, Error> {
        self.handle.ledger().await.map_err(|error| self.failed(&error))
    }

    /// Numbers about it.
    pub(super) async fn counts(&self) -> Result<Counts, Error> {
        self.handle.counts().await.map_err(|error| self.failed(&error))
    }

    /// The moment, by the clock of its ledger.
    pub(super) fn now(&self) -> Time {
        Time::default() + self.started_at.elapsed()
    }

    fn failed(&self, error: &fipple_emulator::Error) -> Error {
        Error::Demo(format!("emulated {}: {error}", self.name))
    }
}

/// Every call asks for the flow and is parked.
fn dialplan() -> Dialplan {
    let mut dialplan = Dialplan::park_everything();
    for extension in &mut dialplan.extensions {
        extension.actions.insert(0, Action::new("set", format!("fipple_flow={FLOW}")));
    }
    dialplan
}

async fn accept(mut listener: Box<dyn Listener>, switch: SwitchHandle) {
    // An error to accept means that the process is out of descriptors, and to connect that the switch has stopped.
    while let Ok((stream, _peer)) = listener.accept().await {
        if switch.connect(stream).await.is_err() {
            return;
        }
    }
}

//! An emulated FreeSWITCH on a real socket.

use std::net::SocketAddr;

use fipple_emulator::{Config, Counts, InboundCall, Ledger, SwitchHandle, Uuid, Watcher, serve};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// An emulated switch that listens on loopback until it is dropped.
pub struct TestSwitch {
    runtime: Runtime,
    handle: SwitchHandle,
    /// Where its Event Socket listens.
    pub address: SocketAddr,
}

/// A switch that hangs as long as this lasts.
pub struct Frozen {
    _thaw: std::sync::mpsc::Sender<()>,
}

impl TestSwitch {
    /// Starts a switch whose chance comes from `seed`.
    pub fn start(seed: u64) -> Self {
        Self::start_with(Config::default(), seed)
    }

    /// Starts a switch of one's own making.
    pub fn start_with(config: Config, seed: u64) -> Self {
        // Not the test's own thread, so that the switch goes on while the test waits.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let (handle, served) = serve(config, seed);
        runtime.spawn(served);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepting = handle.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if accepting.connect(stream).await.is_err() {
                    return;
                }
            }
        });
        Self { runtime, handle, address }
    }

    /// A call comes in and runs the dialplan, which parks it with `fipple_flow` set to `flow`.
    pub fn inbound_call(&self, flow: &str) -> Uuid {
        let mut call = InboundCall::new("1001", "5000");
        call.variables.push(("fipple_flow".into(), flow.into()));
        self.call(call)
    }

    /// A call comes in.
    pub fn call(&self, call: InboundCall) -> Uuid {
        self.runtime.block_on(self.handle.inbound_call(call)).expect("the switch takes a call")
    }

    /// Numbers about it.
    pub fn counts(&self) -> Counts {
        self.runtime.block_on(self.handle.counts()).expect("the switch is there")
    }

    /// The person at the other end of a leg presses keys; nothing if the leg is gone.
    pub fn press(&self, uuid: &str, digits: &str) {
        let _gone = self.runtime.block_on(self.handle.caller_dtmf(uuid, digits));
    }

    /// Lets somebody look on from inside the switch.
    pub fn watch(&self, watcher: impl Watcher) {
        self.runtime.block_on(self.handle.watch(watcher)).expect("the switch is there");
    }

    /// What really happened to every call.
    pub fn ledger(&self) -> Ledger {
        self.runtime.block_on(self.handle.ledger()).expect("the switch is there")
    }

    /// Stops it in the middle of whatever it does, like a machine that hangs, until what this returns is dropped.
    pub fn freeze(&self) -> Frozen {
        let (thaw, thawed) = std::sync::mpsc::channel();
        // It has one thread, which now waits for somebody outside.
        self.runtime.spawn(async move {
            let _dropped: Result<(), _> = thawed.recv();
        });
        Frozen { _thaw: thaw }
    }

    /// Cuts all its connections at once; its calls go on.
    pub fn drop_connections(&self) {
        self.runtime.block_on(self.handle.drop_connections()).expect("the switch is there");
    }
}

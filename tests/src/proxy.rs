//! Stands between a node and a real switch, and sees what they say before it passes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::spawn;

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the node to the switch.
    ToSwitch,
    /// From the switch to the node.
    ToNode,
}

/// Sees everything before it passes; what it says `false` of is lost, and the connection with it.
pub trait Sees: Fn(Way, &[u8]) -> bool + Send + Sync + 'static {}

impl<F: Fn(Way, &[u8]) -> bool + Send + Sync + 'static> Sees for F {}

/// Takes connections on loopback and carries each on to the switch, as long as the process lives. Where it listens.
pub fn proxy(switch: SocketAddr, sees: impl Sees) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let sees = Arc::new(sees);
    spawn(move || {
        for node in listener.incoming().flatten() {
            let Ok(switch) = TcpStream::connect(switch) else { continue };
            for (way, from, to) in [(Way::ToSwitch, &node, &switch), (Way::ToNode, &switch, &node)] {
                let (Ok(from), Ok(to), sees) = (from.try_clone(), to.try_clone(), Arc::clone(&sees)) else {
                    continue;
                };
                spawn(move || carry(way, from, to, &*sees));
            }
        }
    });
    address
}

fn carry(way: Way, mut from: TcpStream, mut to: TcpStream, sees: &impl Sees) {
    let mut piece = vec![0; 256 * 1_024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if !sees(way, &piece[..length]) || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _closed_already = stream.shutdown(Shutdown::Both);
    }
}

//! How large events are.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use fipple_tests::TestSwitch;

/// How large the events are that a node subscribes to, in bytes on average.
pub(crate) fn mean_bytes() -> usize {
    let switch = TestSwitch::start(1);
    let mut stream = TcpStream::connect(switch.address).unwrap();
    let events = "CHANNEL_CREATE CHANNEL_CALLSTATE CHANNEL_ANSWER CHANNEL_PARK CHANNEL_UNPARK CHANNEL_EXECUTE \
                  CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE CHANNEL_DESTROY";
    write!(stream, "auth ClueCon\n\nevent plain {events}\n\n").unwrap();
    sleep(Duration::from_millis(200));
    let uuid = switch.inbound_call("short");
    let hang_up = |application: &str| {
        format!("sendmsg {uuid}\ncall-command: execute\nexecute-app-name: {application}\n\n")
    };
    write!(stream, "{}{}", hang_up("answer"), hang_up("hangup")).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 65_536]);
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        bytes.extend_from_slice(&piece[..length]);
    }
    let text = String::from_utf8_lossy(&bytes);
    text.len() / text.matches("text/event-plain").count().max(1)
}

//! A client of an Event Socket as somebody would write it in an afternoon: for tests that look at a real switch themselves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

/// One connection, logged in.
pub struct EventSocket {
    stream: BufReader<TcpStream>,
}

/// Headers by their names, and a body.
type Frame = (BTreeMap<String, String>, String);

impl EventSocket {
    /// Connects and logs in.
    ///
    /// # Errors
    /// If the switch is not there, or does not take the password.
    pub fn connect(address: SocketAddr, password: &str) -> Result<Self> {
        let mut socket = Self { stream: BufReader::new(TcpStream::connect(address)?) };
        socket.frame()?;
        match socket.command(&format!("auth {password}"))? {
            reply if reply.starts_with("+OK") => Ok(socket),
            reply => Err(Error::new(ErrorKind::PermissionDenied, reply)),
        }
    }

    /// Gives a command; what its reply says.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn command(&mut self, command: &str) -> Result<String> {
        write!(self.stream.get_mut(), "{command}\n\n")?;
        loop {
            let (head, body) = self.frame()?;
            match head.get("Content-Type").map(String::as_str) {
                Some("api/response") => return Ok(body.trim_end().to_owned()),
                Some("command/reply") => return Ok(head.get("Reply-Text").cloned().unwrap_or_default()),
                _ => {}
            }
        }
    }

    /// Runs an API command.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn api(&mut self, command: &str) -> Result<String> {
        self.command(&format!("api {command}"))
    }

    /// The headers of the next plain event.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn event(&mut self) -> Result<BTreeMap<String, String>> {
        loop {
            let (head, body) = self.frame()?;
            if head.get("Content-Type").is_some_and(|kind| kind == "text/event-plain") {
                return Ok(headers(&body));
            }
        }
    }

    fn frame(&mut self) -> Result<Frame> {
        let mut head = String::new();
        while !head.ends_with("\n\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let head = headers(&head);
        let length = head.get("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((head, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// `name: value` lines up to the first empty one, as they stand: not decoded.
fn headers(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().take_while(|line| !line.is_empty());
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

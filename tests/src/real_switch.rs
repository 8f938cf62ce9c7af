//! A real FreeSWITCH, where there is one to test against.

use std::io::Write;

/// Names the Event Socket of a real FreeSWITCH: `HOST:PORT:PASSWORD`, or `HOST:PORT` where the password is the one that
/// FreeSWITCH ships with.
const VARIABLE: &str = "FIPPLE_TEST_FREESWITCH";

/// Where a real FreeSWITCH's Event Socket is.
pub struct RealSwitch {
    /// `host:port`.
    pub address: String,
    /// The password of its Event Socket.
    pub password: String,
}

impl RealSwitch {
    /// The one that `FIPPLE_TEST_FREESWITCH` names. Without it this says that the test is skipped, and yields none.
    pub fn from_environment() -> Option<Self> {
        let Ok(text) = std::env::var(VARIABLE) else {
            // Not println!, which a passing test keeps to itself.
            let _unheard =
                std::io::stderr().write_all(format!("skipped: {VARIABLE} is not set\n").as_bytes());
            return None;
        };
        Some(Self::parse(&text).expect("FIPPLE_TEST_FREESWITCH is HOST:PORT or HOST:PORT:PASSWORD"))
    }

    fn parse(text: &str) -> Option<Self> {
        // An IPv6 address stands in brackets, and so the port comes after them; a password may hold colons.
        let host_ends = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':')? };
        let (host, rest) = text.split_at(host_ends);
        let rest = rest.strip_prefix(':')?;
        let (port, password) = rest.split_once(':').unwrap_or((rest, "ClueCon"));
        port.parse::<u16>().ok()?;
        Some(Self { address: format!("{host}:{port}"), password: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_bring_its_password() {
        let read = |text| RealSwitch::parse(text).map(|switch| (switch.address, switch.password));
        let both = |address: &str, password: &str| Some((address.to_owned(), password.to_owned()));
        assert_eq!(read("127.0.0.1:8021"), both("127.0.0.1:8021", "ClueCon"));
        assert_eq!(read("fs.example:8021:a:b"), both("fs.example:8021", "a:b"));
        assert_eq!(read("[::1]:8021:secret"), both("[::1]:8021", "secret"));
        for nonsense in ["", "host", "host:", "host:port", "[::1"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}

//! Names that nobody else chooses.

use fipple_protocol::peer::{Refusal, unkeyed_id};

use crate::net::Host;

/// A random uuid (RFC 9562, version 4).
///
/// # Errors
/// If the machine has no randomness to give.
pub(crate) fn random_uuid(host: &Host) -> Result<String, Refusal> {
    let mut bytes: [u8; 16] = random(host)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// A random number for a command without a key, which may be asked for more than once on its way.
///
/// # Errors
/// If the machine has no randomness to give.
pub(crate) fn random_id(host: &Host) -> Result<u64, Refusal> {
    random(host).map(u64::from_be_bytes).map(unkeyed_id)
}

fn random<const N: usize>(host: &Host) -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    match host.random.fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Refusal::Overloaded { detail: format!("no randomness: {error}") }),
    }
}

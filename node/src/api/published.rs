//! What a running node leaves in its data directory so that the command line finds it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::net::Host;

/// The file's name.
const FILE: &str = "api.json";

/// How a node's REST is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedApi {
    /// Where it listens, with the port that the system chose if 0 was asked for.
    pub address: SocketAddr,
    /// The certificate chain that it shows, as PEM; none if it speaks plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_pem: Option<String>,
}

impl PublishedApi {
    /// Leaves it in the data directory.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, host: &Host) -> Result<(), Error> {
        // Text and an address: there is nothing that could not be written.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        host.disk.replace(FILE, &bytes).map_err(Error::io(format!("write {FILE}")))
    }

    /// What the node left there when it last started, or none if it never did.
    ///
    /// # Errors
    /// If the file cannot be read or understood.
    pub fn read(host: &Host) -> Result<Option<Self>, Error> {
        let Some(bytes) = host.disk.read(FILE).map_err(Error::io(format!("read {FILE}")))? else {
            return Ok(None);
        };
        let damaged =
            |error: serde_json::Error| Error::Damaged { file: FILE.into(), detail: error.to_string() };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }
}

//! TLS for REST.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use tokio_rustls::TlsAcceptor;

use crate::Error;

/// A certificate chain and its key, as PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsMaterial {
    /// The server's certificate and after it those that lead to a root.
    pub certificate_pem: Vec<u8>,
    /// Its private key.
    pub key_pem: Vec<u8>,
}

impl std::fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsMaterial")
    }
}

/// What accepts TLS connections with this material.
pub(super) fn acceptor(material: &TlsMaterial) -> Result<TlsAcceptor, Error> {
    let unusable = |what: &str, detail: String| Error::Certificate { what: what.to_owned(), detail };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&material.certificate_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable("the certificate of api_tls", error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&material.key_pem)
        .map_err(|error| unusable("the key of api_tls", error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable("the certificate and key of api_tls", error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

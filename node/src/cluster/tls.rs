//! Mutual TLS between nodes: who may connect, and who it is that did.

use std::sync::Arc;

use fipple_protocol::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use webpki::EndEntityCert;

use super::identity::{Identity, node_id};
use super::time::Time;
use crate::Error;
use crate::net::Host;

/// The name in every node's certificate: TLS asks for one, and what identifies a node is its key.
pub(super) const SERVER_NAME: &str = "fipple";

/// The protocol that is spoken, and its version.
const ALPN: &[u8] = b"fipple/1";

/// What an Ed25519 key looks like in a certificate, up to the key itself (RFC 8410 section 4).
const ED25519_SPKI_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// Both sides of TLS with one certificate.
pub(super) struct TlsConfigs {
    pub(super) server: Arc<QuicServerConfig>,
    pub(super) client: Arc<QuicClientConfig>,
    /// When the certificate ends, in Unix milliseconds.
    pub(super) expires_ms: u64,
}

impl TlsConfigs {
    /// Issues a certificate and configures TLS with it.
    pub(super) fn new(host: &Host, time: &Time, identity: &Identity) -> Result<Self, Error> {
        let (certificate, expires_ms) = identity.new_certificate(host, time)?;
        let unusable = |detail: String| Error::Certificate { what: "the node's certificate".into(), detail };
        let provider = Arc::new(default_provider());
        let versions = &[&rustls::version::TLS13];
        let mut roots = RootCertStore::empty();
        roots.add(identity.ca_certificate().clone()).map_err(|error| unusable(error.to_string()))?;
        let roots = Arc::new(roots);

        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let mut server = ServerConfig::builder_with_details(provider.clone(), Arc::new(time.clone()))
            .with_protocol_versions(versions)
            .map_err(|error| unusable(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], identity.private_key())
            .map_err(|error| unusable(error.to_string()))?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session skips the certificate, and with it whatever has become of its owner since.
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_details(provider, Arc::new(time.clone()))
            .with_protocol_versions(versions)
            .map_err(|error| unusable(error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], identity.private_key())
            .map_err(|error| unusable(error.to_string()))?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();

        Ok(Self {
            server: Arc::new(
                QuicServerConfig::try_from(server).map_err(|error| unusable(error.to_string()))?,
            ),
            client: Arc::new(
                QuicClientConfig::try_from(client).map_err(|error| unusable(error.to_string()))?,
            ),
            expires_ms,
        })
    }
}

/// The node at the other end, by the certificate that TLS has verified. None if it showed none or one over
/// another kind of key than ours.
pub(super) fn peer_id(connection: &quinn::Connection) -> Option<NodeId> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    public_key(chain.first()?).map(|key| node_id(&key))
}

/// The Ed25519 key that a certificate is over, 32 bytes. None if it is over another kind of key, or is none.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let info = EndEntityCert::try_from(certificate).ok()?.subject_public_key_info();
    info.strip_prefix(ED25519_SPKI_PREFIX).filter(|key| key.len() == 32).map(<[u8]>::to_vec)
}

//! Who a node is: its key, and the cluster that it belongs to.

use fipple_protocol::NodeId;
use rcgen::{KeyPair, PublicKeyData};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::authority::{Authority, key_from_pem, new_key};
use super::time::Time;
use crate::Error;
use crate::net::Host;

/// The node's Ed25519 key, PKCS #8 in PEM.
const NODE_KEY_FILE: &str = "node.key";
/// The certificate of the cluster's CA.
const CA_FILE: &str = "ca.pem";
/// The key of the cluster's CA.
const CA_KEY_FILE: &str = "ca.key";

/// A node's identity and its cluster, as its data directory holds them.
pub struct Identity {
    id: NodeId,
    key: KeyPair,
    authority: Authority,
}

impl Identity {
    /// Makes a new cluster of that name and its first node.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a node already. What exists is never overwritten.
    pub fn init(host: &Host, cluster_name: &str) -> Result<Self, Error> {
        Self::create(host, Authority::create(host, cluster_name)?)
    }

    /// Makes a new node of the cluster that a join token names.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a node already, [`Error::Damaged`] if the token is none.
    pub fn enrol(host: &Host, token: &[u8]) -> Result<Self, Error> {
        Self::create(host, Authority::from_pem(token, token, "the join token")?)
    }

    /// The identity that the data directory holds, or none where no node was made yet.
    ///
    /// # Errors
    /// If a file cannot be read, is damaged or is missing.
    pub fn load(host: &Host) -> Result<Option<Self>, Error> {
        let Some(node_key) = read(host, NODE_KEY_FILE)? else { return Ok(None) };
        let missing =
            |file: &str| Error::Damaged { file: file.to_owned(), detail: "it is missing; restore it".into() };
        let certificate = read(host, CA_FILE)?.ok_or_else(|| missing(CA_FILE))?;
        let authority_key = read(host, CA_KEY_FILE)?.ok_or_else(|| missing(CA_KEY_FILE))?;
        let authority = Authority::from_pem(&certificate, &authority_key, CA_KEY_FILE)?;
        let key = key_from_pem(&node_key, NODE_KEY_FILE)?;
        Ok(Some(Self { id: node_id(key.der_bytes()), key, authority }))
    }

    /// A text by which further nodes join. It is a secret worth the whole cluster: it holds the CA's key.
    ///
    /// # Errors
    /// If the CA's certificate cannot be made.
    pub fn token(&self) -> Result<String, Error> {
        Ok(format!(
            "# This is a secret: whoever holds it can add nodes to the cluster and speak for any of them.\n{}{}",
            self.authority.certificate_pem()?,
            self.authority.key_pem(),
        ))
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The name that the operator gave the cluster.
    pub fn cluster_name(&self) -> &str {
        &self.authority.name
    }

    /// What tells this cluster from every other, whatever their names: 32 hexadecimal digits.
    pub fn cluster_id(&self) -> &str {
        &self.authority.cluster_id
    }

    /// The certificate by which members know each other.
    pub(super) fn ca_certificate(&self) -> &CertificateDer<'static> {
        &self.authority.certificate
    }

    /// A new certificate over the node's key, and when it ends in Unix milliseconds.
    pub(super) fn new_certificate(
        &self,
        host: &Host,
        time: &Time,
    ) -> Result<(CertificateDer<'static>, u64), Error> {
        self.authority.issue(host, time, &self.key, self.id.to_string())
    }

    /// The node's key as rustls takes it.
    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The node's key for signatures over anything else that is the node's own word. Whoever signs puts its purpose
    /// first.
    ///
    /// # Errors
    /// If the key cannot be used, which was tried when it was loaded.
    pub(crate) fn signing_key(&self) -> Result<Ed25519KeyPair, Error> {
        let unusable = |error: ring::error::KeyRejected| Error::Certificate {
            what: "the node's key".into(),
            detail: error.to_string(),
        };
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(self.key.serialized_der()).map_err(unusable)
    }

    /// The node's public key, 32 bytes.
    pub(super) fn public_key(&self) -> &[u8] {
        self.key.der_bytes()
    }

    /// A secret for one purpose that is the same after every restart of this node.
    pub(super) fn derive_secret(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.serialized_der());
        let mut secret = [0; 32];
        secret.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
        secret
    }

    fn create(host: &Host, authority: Authority) -> Result<Self, Error> {
        for file in [NODE_KEY_FILE, CA_FILE, CA_KEY_FILE] {
            if read(host, file)?.is_some() {
                return Err(Error::Exists { file: file.to_owned() });
            }
        }
        let key = new_key(host)?;
        write(host, CA_FILE, &authority.certificate_pem()?)?;
        write(host, CA_KEY_FILE, &authority.key_pem())?;
        // The node's key comes last: where it is, everything is (see `load`).
        write(host, NODE_KEY_FILE, &key.serialize_pem())?;
        Ok(Self { id: node_id(key.der_bytes()), key, authority })
    }
}

/// The id of the node that holds this public key.
pub(crate) fn node_id(public_key: &[u8]) -> NodeId {
    let mut id = [0; NodeId::SIZE_BYTES];
    id.copy_from_slice(&digest(&SHA256, public_key).as_ref()[..NodeId::SIZE_BYTES]);
    NodeId::from_bytes(id)
}

fn read(host: &Host, file: &str) -> Result<Option<Vec<u8>>, Error> {
    host.disk.read(file).map_err(Error::io(format!("read {file}")))
}

fn write(host: &Host, file: &str, text: &str) -> Result<(), Error> {
    host.disk.replace(file, text.as_bytes()).map_err(Error::io(format!("write {file}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::TestDirectory;

    #[tokio::test]
    async fn an_identity_survives_a_restart_and_is_never_overwritten() {
        let directory = TestDirectory::new("identity");
        let host = directory.host();
        assert!(Identity::load(&host).unwrap().is_none());
        let made = Identity::init(&host, "lab").unwrap();
        let loaded = Identity::load(&host).unwrap().unwrap();
        assert_eq!(
            (loaded.id(), loaded.cluster_id(), loaded.cluster_name()),
            (made.id(), made.cluster_id(), "lab")
        );
        assert_eq!(loaded.ca_certificate(), made.ca_certificate());
        assert_eq!(loaded.derive_secret("reset"), made.derive_secret("reset"));
        assert_ne!(loaded.derive_secret("reset"), made.derive_secret("other"));
        let refused = Identity::init(&host, "lab").err().unwrap();
        assert!(matches!(&refused, Error::Exists { file } if file == NODE_KEY_FILE), "{refused}");
    }

    #[tokio::test]
    async fn a_token_makes_another_node_of_the_same_cluster() {
        let (first, second) = (TestDirectory::new("token-1"), TestDirectory::new("token-2"));
        let init = Identity::init(&first.host(), "lab").unwrap();
        let token = init.token().unwrap();
        let enrolled = Identity::enrol(&second.host(), token.as_bytes()).unwrap();
        assert_eq!((enrolled.cluster_id(), enrolled.cluster_name()), (init.cluster_id(), "lab"));
        assert_ne!(enrolled.id(), init.id());
        assert_eq!(enrolled.ca_certificate(), init.ca_certificate());
        let third = TestDirectory::new("token-3");
        let refused = Identity::enrol(&third.host(), b"no token").err().unwrap();
        assert!(matches!(refused, Error::Damaged { .. }));
        assert_eq!(
            refused.to_string(),
            "the join token cannot be understood: it holds no certificate in PEM (no items found)"
        );
        assert!(Identity::load(&third.host()).unwrap().is_none(), "nothing is left of a failure");
    }

    #[tokio::test]
    async fn a_directory_that_lost_a_file_is_damaged_and_names_it() {
        let directory = TestDirectory::new("damaged");
        let host = directory.host();
        Identity::init(&host, "lab").unwrap();
        host.disk.replace(CA_KEY_FILE, b"nonsense").unwrap();
        assert!(matches!(Identity::load(&host), Err(Error::Damaged { file, .. }) if file == CA_KEY_FILE));
    }
}

//! The cluster's certificate authority, and the certificates that it issues.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::time::Time;
use super::tls::{SERVER_NAME, public_key};
use crate::Error;
use crate::limits::{CERTIFICATE_BACKDATE, CERTIFICATE_LIFETIME, CLUSTER_NAME_MAX_BYTES};
use crate::net::Host;

/// A comment line of the CA's file; text around a PEM block is ignored by whoever reads the block (RFC 7468).
const NAME_LINE: &str = "# cluster: ";

/// A cluster: its CA's certificate and key. Whoever holds the key can make members.
pub(super) struct Authority {
    /// The name that the operator gave the cluster. It decides nothing.
    pub(super) name: String,
    /// 32 hexadecimal digits that tell clusters apart: a hash of the CA's public key.
    pub(super) cluster_id: String,
    pub(super) certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    /// A new cluster.
    pub(super) fn create(host: &Host, name: &str) -> Result<Self, Error> {
        if name.is_empty() || name.len() > CLUSTER_NAME_MAX_BYTES || name.chars().any(char::is_control) {
            let detail = format!("a cluster's name has 1 to {CLUSTER_NAME_MAX_BYTES} printable bytes");
            return Err(Error::Configuration { origin: "name".into(), detail });
        }
        let key = new_key(host)?;
        let cluster_id = cluster_id(&key);
        let certificate = authority_params(&cluster_id).self_signed(&key).map_err(unusable("the CA"))?;
        Ok(Self { name: name.to_owned(), cluster_id, certificate: certificate.into(), key })
    }

    /// The cluster of these PEM texts, which may be one and the same. `origin` names them in errors.
    pub(super) fn from_pem(certificate: &[u8], key: &[u8], origin: &str) -> Result<Self, Error> {
        let damaged = |detail: String| Error::Damaged { file: origin.to_owned(), detail };
        let text = String::from_utf8_lossy(certificate).into_owned();
        let name = text.lines().find_map(|line| line.strip_prefix(NAME_LINE)).unwrap_or("unnamed").trim();
        let certificate = CertificateDer::from_pem_slice(certificate)
            .map_err(|error| damaged(no_pem("certificate", &error)))?;
        let key = key_from_pem(key, origin)?;
        if public_key(&certificate).as_deref() != Some(key.der_bytes()) {
            return Err(damaged("the certificate and the key do not belong together".into()));
        }
        Ok(Self { name: name.to_owned(), cluster_id: cluster_id(&key), certificate, key })
    }

    /// The certificate as a file's text, with the cluster's name.
    pub(super) fn certificate_pem(&self) -> Result<String, Error> {
        // Signing is deterministic with Ed25519, and nothing else of the certificate varies: this is the same one.
        let certificate =
            authority_params(&self.cluster_id).self_signed(&self.key).map_err(unusable("the CA"))?;
        Ok(format!("{NAME_LINE}{}\n{}", self.name, certificate.pem()))
    }

    /// The key as a file's text.
    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A certificate for a node's key, valid from now on, and when it ends in Unix milliseconds.
    pub(super) fn issue(
        &self,
        host: &Host,
        time: &Time,
        node_key: &KeyPair,
        common_name: String,
    ) -> Result<(CertificateDer<'static>, u64), Error> {
        let now = Duration::from_millis(time.unix_ms());
        let mut serial = [0; 16];
        host.random.fill(&mut serial).map_err(Error::io("draw a serial number"))?;
        serial[0] &= 0x7f; // RFC 5280 section 4.1.2.2: positive
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])
            .map_err(unusable("the node's certificate"))?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(CERTIFICATE_BACKDATE);
        params.not_after = date_time_ymd(1970, 1, 1) + now + CERTIFICATE_LIFETIME;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(authority_params(&self.cluster_id), &self.key);
        let certificate = params.signed_by(node_key, &issuer).map_err(unusable("the node's certificate"))?;
        Ok((certificate.into(), (now + CERTIFICATE_LIFETIME).as_millis() as u64))
    }
}

fn cluster_id(key: &KeyPair) -> String {
    digest(&SHA256, key.der_bytes()).as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The CA's certificate follows from its key alone. It does not expire: replacing it is the operator's decision.
fn authority_params(cluster_id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("fipple cluster {cluster_id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A new Ed25519 key, of the host's randomness.
pub(super) fn new_key(host: &Host) -> Result<KeyPair, Error> {
    let mut seed = [0; 32];
    host.random.fill(&mut seed).map_err(Error::io("draw a key"))?;
    // RFC 8410 section 7: an Ed25519 key in PKCS #8 is these bytes and the seed.
    let mut pkcs8 = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    pkcs8.extend(seed);
    key_from_der(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(unusable("a new key"))
}

/// The Ed25519 key of a PEM text, which `origin` names in errors.
pub(super) fn key_from_pem(pem: &[u8], origin: &str) -> Result<KeyPair, Error> {
    let damaged = |detail: String| Error::Damaged { file: origin.to_owned(), detail };
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|error| damaged(no_pem("key", &error)))?;
    key_from_der(&der).map_err(|error| damaged(error.to_string()))
}

fn no_pem(what: &str, error: &rustls::pki_types::pem::Error) -> String {
    format!("it holds no {what} in PEM ({error})")
}

fn key_from_der(der: &PrivatePkcs8KeyDer<'_>) -> Result<KeyPair, rcgen::Error> {
    KeyPair::from_pkcs8_der_and_sign_algo(der, &rcgen::PKCS_ED25519)
}

fn unusable(what: &str) -> impl FnOnce(rcgen::Error) -> Error {
    let what = what.to_owned();
    move |error| Error::Certificate { what, detail: error.to_string() }
}

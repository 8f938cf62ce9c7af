//! Whose changes count.

use fipple_crdt::{Claim, Signer, Verifier};
use fipple_protocol::NodeId;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::registry;
use crate::Error;
use crate::cluster::{Identity, node_id};

/// Signs what this node writes.
pub(super) struct NodeSigner {
    id: NodeId,
    public_key: [u8; 32],
    key: Ed25519KeyPair,
}

impl NodeSigner {
    pub(super) fn new(identity: &Identity) -> Result<Self, Error> {
        let key = identity.signing_key()?;
        let mut public_key = [0; 32];
        public_key.copy_from_slice(key.public_key().as_ref());
        Ok(Self { id: identity.id(), public_key, key })
    }

    pub(super) fn id(&self) -> NodeId {
        self.id
    }
}

impl Signer for NodeSigner {
    fn author(&self) -> NodeId {
        self.id
    }

    fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.key.sign(bytes).as_ref());
        signature
    }
}

/// Believes a batch that its author has signed. A member's record in the registry is written by that member alone.
///
/// Every member is a full member so far and may write the rest; scopes come with the roles.
pub(super) struct MemberVerifier;

impl Verifier for MemberVerifier {
    fn verify(&self, claim: &Claim<'_>) -> Result<(), fipple_crdt::Error> {
        let author = claim.author;
        if node_id(claim.author_key) != author {
            return Err(fipple_crdt::Error::AuthorUnknown { author });
        }
        if claim.database == registry::DATABASE && claim.document != registry::document_of(author) {
            let (database, document) = (claim.database.to_owned(), claim.document.to_owned());
            return Err(fipple_crdt::Error::AuthorNotPermitted { author, database, document });
        }
        UnparsedPublicKey::new(&ED25519, claim.author_key)
            .verify(claim.signed_bytes, claim.signature)
            .map_err(|_| fipple_crdt::Error::SignatureInvalid { author })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(seed: u8) -> NodeSigner {
        let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public_key: [u8; 32] = key.public_key().as_ref().try_into().unwrap();
        NodeSigner { id: node_id(&public_key), public_key, key }
    }

    /// What becomes of a batch that `signer` signs over "changes" and sends as these.
    fn check(signer: &NodeSigner, author_key: &[u8; 32], document: &str, signed_bytes: &[u8]) -> String {
        let signature = signer.sign(b"changes");
        let (author, database) = (signer.id, registry::DATABASE);
        let claim = Claim { author, author_key, database, document, signed_bytes, signature: &signature };
        match MemberVerifier.verify(&claim) {
            Ok(()) => "believed".to_owned(),
            Err(fipple_crdt::Error::AuthorUnknown { .. }) => "unknown".to_owned(),
            Err(fipple_crdt::Error::AuthorNotPermitted { .. }) => "not permitted".to_owned(),
            Err(fipple_crdt::Error::SignatureInvalid { .. }) => "forged".to_owned(),
            Err(other) => other.to_string(),
        }
    }

    #[test]
    fn only_the_member_itself_writes_its_record() {
        let (one, other) = (signer(1), signer(2));
        let (own_record, others_record) = (registry::document_of(one.id), registry::document_of(other.id));
        assert_eq!(check(&one, &one.public_key, &own_record, b"changes"), "believed");
        assert_eq!(check(&one, &one.public_key, &others_record, b"changes"), "not permitted");
        assert_eq!(check(&one, &other.public_key, &own_record, b"changes"), "unknown");
        assert_eq!(check(&one, &one.public_key, &own_record, b"others"), "forged");
    }
}

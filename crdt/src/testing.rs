//! Members with real keys and disks with faults, for the tests.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use fipple_protocol::NodeId;
use redb::backends::InMemoryBackend;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Map, Value};

use crate::{ChangeBatch, Claim, Edit, Error, Origin, Signer, StorageBackend, Store, Verifier};

pub(crate) const DATABASE: &str = "account/acme";

/// A database in which no member may write.
pub(crate) const FORBIDDEN_DATABASE: &str = "account/sealed";

/// A node that signs with a key made from its number.
pub(crate) struct Member(Ed25519KeyPair);

impl Member {
    pub(crate) fn new(number: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap())
    }

    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin { signer: self, incarnation: 1, time_ms: 1_700_000_000_000 }
    }

    /// Writes and returns the batch.
    pub(crate) fn write(&self, store: &mut Store, document: &str, edit: Edit) -> ChangeBatch {
        store.write(DATABASE, document, &edit, self.origin()).unwrap().batch.unwrap()
    }
}

impl Signer for Member {
    fn author(&self) -> NodeId {
        let hash = digest(&SHA256, self.0.public_key().as_ref());
        NodeId::from_bytes(*hash.as_ref().first_chunk().unwrap())
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).as_ref().try_into().unwrap()
    }
}

/// Those whose changes are accepted.
pub(crate) struct Members(BTreeMap<NodeId, Vec<u8>>);

impl Members {
    /// The members with the numbers 1 to `count`.
    pub(crate) fn new(count: u8) -> Self {
        let members = (1..=count).map(Member::new);
        Self(members.map(|member| (member.author(), member.0.public_key().as_ref().to_vec())).collect())
    }
}

impl Verifier for Members {
    fn verify(&self, claim: &Claim<'_>) -> Result<(), Error> {
        let author = claim.author;
        let key = self.0.get(&author).ok_or(Error::AuthorUnknown { author })?;
        if claim.database == FORBIDDEN_DATABASE {
            let (database, document) = (claim.database.to_owned(), claim.document.to_owned());
            return Err(Error::AuthorNotPermitted { author, database, document });
        }
        if key != claim.author_key {
            return Err(Error::SignatureInvalid { author });
        }
        UnparsedPublicKey::new(&ED25519, key)
            .verify(claim.signed_bytes, claim.signature)
            .map_err(|_| Error::SignatureInvalid { author })
    }
}

pub(crate) fn store() -> Store {
    Store::open(InMemoryBackend::new()).unwrap()
}

/// The fields of a JSON object.
pub(crate) fn fields(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("{value} is no object") };
    fields
}

/// What a read returns, nothing as null.
pub(crate) fn read(store: &Store, document: &str) -> Value {
    store.get(DATABASE, document).unwrap().map_or(Value::Null, |entry| Value::Object(entry.fields))
}

/// A disk that forgets what was not synchronised when the power fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct VolatileDisk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    synchronised: Vec<u8>,
    current: Vec<u8>,
    /// Since the last synchronisation: the length set, or bytes and their place.
    pending: Vec<Pending>,
    /// After how many more operations that change the disk the power fails.
    operations_left: Option<usize>,
}

#[derive(Clone, Debug)]
enum Pending {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Pending {
    fn apply(&self, disk: &mut Vec<u8>) {
        match self {
            Self::Length(length) => disk.resize(*length, 0),
            Self::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                if disk.len() < end {
                    disk.resize(end, 0);
                }
                disk[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl VolatileDisk {
    /// Lets the power fail after this many further operations.
    pub(crate) fn fail_after(&self, operations: usize) {
        self.0.lock().unwrap().operations_left = Some(operations);
    }

    /// The disk after the power came back. Of the writes that were under way, those have reached it whose bits are
    /// set in `survivors`.
    pub(crate) fn restart(&self, survivors: u64) -> Self {
        let state = self.0.lock().unwrap();
        let mut bytes = state.synchronised.clone();
        for (index, pending) in state.pending.iter().enumerate() {
            if survivors >> (index % 64) & 1 == 1 {
                pending.apply(&mut bytes);
            }
        }
        Self::holding(bytes)
    }

    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let state = DiskState { synchronised: bytes.clone(), current: bytes, ..DiskState::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().current.clone()
    }

    fn change(&self, pending: Pending) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.spend()?;
        pending.apply(&mut state.current);
        state.pending.push(pending);
        Ok(())
    }
}

impl DiskState {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            Some(0) => Err(io::Error::other("the power has failed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for VolatileDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let offset = offset as usize;
        let bytes = state.current.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Pending::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.spend()?;
        state.synchronised = state.current.clone();
        state.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Pending::Bytes(offset as usize, data.to_vec()))
    }
}

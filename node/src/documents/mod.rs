//! The cluster's configuration as replicated documents: the crate `fipple-crdt`, wired to this node's disk and to
//! its peers.
//!
//! The store is touched on the store thread alone, so that no call waits for an fsync. What is written here is
//! pushed to every living member at once; `replication` finds what pushes have missed. Today the one database is
//! the cluster's own, with the [`registry`] of its members.

mod incarnation;
mod metrics;
pub mod registry;
mod replication;
mod trust;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fipple_crdt::{Edit, Entry, Origin, Store, SyncMessage};
use fipple_protocol::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::Error;
use crate::cluster::{Cluster, Identity};
use crate::limits::REPLICATION_QUEUE_MESSAGES;
use crate::net::Host;

pub use metrics::Metrics;
pub use registry::Enrolled;

/// The store's file in the data directory.
const STORE_FILE: &str = "documents.redb";

/// This node's documents. Cloning is cheap and yields the same documents.
#[derive(Clone)]
pub struct Documents {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    store: Mutex<Store>,
    signer: trust::NodeSigner,
    incarnation: u64,
    metrics: Metrics,
    replication: Mutex<Option<Replication>>,
}

/// The replication that runs.
struct Replication {
    cluster: Cluster,
    messages: mpsc::Sender<(NodeId, SyncMessage)>,
    task: AbortHandle,
}

impl Documents {
    /// Opens the documents of the node's data directory, or makes an empty store.
    ///
    /// # Errors
    /// If the file cannot be opened or is damaged, or the node's key cannot sign.
    pub fn open(host: &Host, identity: &Identity) -> Result<Self, Error> {
        let file = host.disk.open_storage(STORE_FILE).map_err(Error::io(format!("open {STORE_FILE}")))?;
        let store = Store::open(Storage(file)).map_err(|error| Error::Damaged {
            file: STORE_FILE.to_owned(),
            detail: format!(
                "{error}. Move it away and start again: the other members bring back what they have"
            ),
        })?;
        let incarnation = incarnation::of(host, &store)?;
        let signer = trust::NodeSigner::new(identity)?;
        let inner = Inner {
            host: host.clone(),
            store: Mutex::new(store),
            signer,
            incarnation,
            metrics: Metrics::default(),
            replication: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins to replicate with the other members, until [`Documents::shutdown`].
    pub fn run(&self, cluster: Cluster) {
        let (messages, incoming) = mpsc::channel(REPLICATION_QUEUE_MESSAGES);
        let task = tokio::spawn(replication::run(self.clone(), cluster.clone(), incoming)).abort_handle();
        *self.replication() = Some(Replication { cluster, messages, task });
    }

    /// Stops replicating. What was written stays on the disk.
    pub fn shutdown(&self) {
        if let Some(replication) = self.replication().take() {
            replication.task.abort();
        }
    }

    /// What is counted here.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Writes a document; it is on this node's disk when this returns, and on its way to the others.
    ///
    /// # Errors
    /// If the document cannot be written, or too much waits for the disk. It is then as it was.
    pub async fn write(&self, database: &str, document: &str, edit: Edit) -> Result<(), Error> {
        let (database, document) = (database.to_owned(), document.to_owned());
        let time_ms = i64::try_from(self.inner.host.clock.unix_ms()).unwrap_or(i64::MAX);
        let written = self
            .on_store_thread(move |inner, store| {
                let origin = Origin { signer: &inner.signer, incarnation: inner.incarnation, time_ms };
                store.write(&database, &document, &edit, origin)
            })
            .await?;
        let cluster = self.replication().as_ref().map(|replication| replication.cluster.clone());
        if let (Some(batch), Some(cluster)) = (written?.batch, cluster) {
            replication::push(&cluster, &SyncMessage::push(batch));
        }
        Ok(())
    }

    /// A page of a database's documents after the one named `after`, in the order of their names.
    ///
    /// # Errors
    /// If a record is damaged, or too much waits for the disk.
    pub async fn list(
        &self,
        database: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let database = database.to_owned();
        Ok(self.on_store_thread(move |_, store| store.list(&database, after.as_deref(), limit)).await??)
    }

    /// Takes a replication message of another member without waiting. Where too many wait already it is dropped: the
    /// next round of replication makes it good.
    pub fn receive(&self, from: NodeId, message: &[u8]) {
        let message = match SyncMessage::from_bytes(message) {
            Ok(message) => message,
            Err(error) => {
                self.inner.metrics.messages_dropped.inc();
                tracing::warn!(%from, %error, "a member sent a replication message that is none");
                return;
            }
        };
        let queued = self
            .replication()
            .as_ref()
            .is_some_and(|running| running.messages.try_send((from, message)).is_ok());
        if !queued {
            self.inner.metrics.messages_dropped.inc();
        }
    }

    /// Deals with a replication message; what is to be answered.
    async fn merge(&self, from: NodeId, message: SyncMessage) -> Result<Vec<SyncMessage>, Error> {
        let received =
            self.on_store_thread(|_, store| store.receive(message, &trust::MemberVerifier)).await??;
        self.inner.metrics.batches_merged.inc_by(received.merged.applied.len() as u64);
        for refused in received.merged.refused {
            self.inner.metrics.batches_refused.inc();
            tracing::warn!(%from, error = %refused, "a change of a document was refused");
        }
        Ok(received.replies)
    }

    fn replication(&self) -> MutexGuard<'_, Option<Replication>> {
        self.inner.replication.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `job` with the store where nobody waits for it, and yields its result.
    async fn on_store_thread<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Inner, &mut Store) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        let inner = self.inner.clone();
        let job = Box::new(move || {
            let result = job(&inner, &mut inner.store.lock().unwrap_or_else(PoisonError::into_inner));
            // Whoever asked may have been cancelled; the write stands all the same.
            let _nobody_waits = sender.send(result);
        });
        self.inner.host.store_thread.run(job).map_err(|_| Error::StoreBusy)?;
        receiver.await.map_err(|_| Error::StoreBusy)
    }
}

/// redb takes a backend by its type, the seam gives one of any.
#[derive(Debug)]
struct Storage(Box<dyn fipple_crdt::StorageBackend>);

impl fipple_crdt::StorageBackend for Storage {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::TestDirectory;

    #[test]
    fn a_damaged_store_is_named_with_the_way_out() {
        let directory = TestDirectory::new("damaged-store");
        let host = directory.host();
        let identity = Identity::init(&host, "lab").unwrap();
        host.disk.replace(STORE_FILE, &[7; 8192]).unwrap();
        let error = Documents::open(&host, &identity).err().unwrap().to_string();
        assert!(error.contains(STORE_FILE) && error.contains("Move it away"), "{error}");
    }
}

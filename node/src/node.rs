//! A node, put together.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use fipple_protocol::NodeId;
use fipple_protocol::peer::{CallEvent, Request, Response};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::Error;
use crate::api::{AdminKey, Api, ApiParts, Listening, PublishedApi};
use crate::calls::{Calls, CallsConfig};
use crate::cluster::{Cluster, ClusterConfig, Handler, Identity};
use crate::config::Config;
use crate::documents::Documents;
use crate::net::Host;

/// A running node. Several may run in one process, each on a [`Host`] of its own.
pub struct Node {
    id: NodeId,
    cluster: Cluster,
    calls: Calls,
    documents: Documents,
    api: Api,
    leaving: watch::Sender<bool>,
}

impl Node {
    /// Starts the node that the host's data directory holds.
    ///
    /// # Errors
    /// If there is none, a setting is wrong, or a socket cannot be had. Nothing is left running then.
    pub async fn start(host: Host, config: Config) -> Result<Self, Error> {
        #[cfg(feature = "planted")]
        crate::planted::admit(host.planted);
        let missing = || Error::NotInitialised { directory: "the data directory".into() };
        let identity = Identity::load(&host)?.ok_or_else(missing)?;
        let id = identity.id();
        let name = config.name.unwrap_or_else(|| format!("node-{}", &id.to_string()[..8]));
        // Whatever can fail comes first; the cluster is the first room in which something runs.
        let admin_key = AdminKey::load_or_create(&host)?;
        let calls = Calls::new(host.clone(), CallsConfig { switches: config.switches, flows: config.flows })?;
        let documents = Documents::open(&host, &identity)?;
        documents.enrol(&name).await?;
        let listening = Listening::bind(&*host.network, config.api, config.api_tls.as_ref()).await?;
        let certificate_pem =
            config.api_tls.map(|tls| String::from_utf8_lossy(&tls.certificate_pem).into_owned());
        PublishedApi { address: listening.address(), certificate_pem }.write(&host)?;
        let cluster_config = ClusterConfig {
            name,
            listen: config.listen,
            advertise: config.advertise,
            seeds: config.seeds,
            zone: config.zone,
            weight: config.weight,
            api_address: Some(listening.address().to_string()),
            ..ClusterConfig::default()
        };
        let rooms = Arc::new(Rooms { calls: calls.clone(), documents: documents.clone() });
        let cluster = Cluster::start(host.clone(), cluster_config, identity, rooms).await?;
        calls.run(cluster.clone());
        documents.run(cluster.clone());

        let mut registry = Registry::default();
        cluster.metrics().register(&mut registry);
        calls.metrics().register(&mut registry);
        documents.metrics().register(&mut registry);
        let (leaving, leaving_receiver) = watch::channel(false);
        let parts = ApiParts {
            host,
            cluster: cluster.clone(),
            calls: calls.clone(),
            documents: documents.clone(),
            admin_key,
            registry,
            leaving: leaving_receiver,
        };
        let api = Api::start(listening, parts);
        Ok(Self { id, cluster, calls, documents, api, leaving })
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where its REST listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api.address()
    }

    /// Its place in the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The calls, as reached from it.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The replicated configuration, as this node holds it.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Gives its calls and switches to other nodes where there are any, lets answers under way finish, and stops.
    pub async fn shutdown(self) {
        self.leaving.send_replace(true);
        self.calls.drain().await;
        self.api.stop().await;
        self.calls.shutdown().await;
        self.documents.shutdown();
        self.cluster.shutdown().await;
    }
}

/// Hands what other nodes send to the room that it concerns.
struct Rooms {
    calls: Calls,
    documents: Documents,
}

#[async_trait]
impl Handler for Rooms {
    async fn request(&self, from: NodeId, request: Request) -> Response {
        self.calls.request(from, request).await
    }

    fn event(&self, from: NodeId, event: CallEvent) {
        self.calls.event(from, event);
    }

    fn document(&self, from: NodeId, message: &[u8]) {
        self.documents.receive(from, message);
    }
}

//! The other nodes, as far as calls need them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fipple_protocol::NodeId;
use fipple_protocol::peer::{CallEvent, Refusal, Request, Response};
use tokio::sync::watch;

use crate::cluster::{Cluster, Members, SwitchFact};

/// What [`Cluster`] does for calls; tests connect nodes without a network.
#[async_trait]
pub(crate) trait Peers: Send + Sync {
    /// See [`Cluster::local`].
    fn local(&self) -> NodeId;
    /// See [`Cluster::members`].
    fn members(&self) -> watch::Receiver<Arc<Members>>;
    /// See [`Cluster::request`].
    async fn request(&self, to: NodeId, request: Request, deadline: Duration) -> Response;
    /// See [`Cluster::send_event`].
    fn send_event(&self, to: NodeId, event: CallEvent) -> Result<(), Refusal>;
    /// See [`Cluster::publish_switches`].
    fn publish_switches(&self, switches: Vec<SwitchFact>);
    /// See [`Cluster::publish_leaving`].
    fn publish_leaving(&self);
}

#[async_trait]
impl Peers for Cluster {
    fn local(&self) -> NodeId {
        Cluster::local(self)
    }

    fn members(&self) -> watch::Receiver<Arc<Members>> {
        Cluster::members(self)
    }

    async fn request(&self, to: NodeId, request: Request, deadline: Duration) -> Response {
        Cluster::request(self, to, request, deadline).await
    }

    fn send_event(&self, to: NodeId, event: CallEvent) -> Result<(), Refusal> {
        Cluster::send_event(self, to, event)
    }

    fn publish_switches(&self, switches: Vec<SwitchFact>) {
        Cluster::publish_switches(self, switches);
    }

    fn publish_leaving(&self) {
        Cluster::publish_leaving(self);
    }
}

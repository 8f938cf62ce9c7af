//! What a node does with a switch as long as it is attached to it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fipple_protocol::esl::{Command, EventFormat};
use fipple_protocol::gate::GateMessage;
use fipple_protocol::peer::Refusal;
use tokio::time::{Instant, sleep};

use super::attachment::Attachment;
use super::connection::{Connection, EventSink};
use super::lease::Leases;
use super::links::{Known, Links};
use super::loss::Loss;
use super::session::Ears;
use super::snapshot::{rebuild, reconcile};
use crate::calls::appoint::keep_calls_owned;
use crate::calls::attached::AttachedSwitch;
use crate::cluster::{SwitchLink, SwitchTrouble};
use crate::limits::{EVENTS_CHECK_MS, RECONCILE_INTERVAL_MS, SHOW_CHANNELS_LAG_MS};

/// The events that change what is known of a channel. Each further one would be sent for every call
/// (`tests/fixtures/freeswitch/README.md`, "Volumes seen").
const EVENTS: &[&str] = &[
    "CHANNEL_CREATE",
    "CHANNEL_UUID",
    "CHANNEL_CALLSTATE",
    "CHANNEL_ANSWER",
    "CHANNEL_PARK",
    "CHANNEL_UNPARK",
    "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_EXECUTE",
    "CHANNEL_EXECUTE_COMPLETE",
    "DTMF",
    "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE",
    "CHANNEL_DESTROY",
    "SHUTDOWN",
];

/// Events that fipple's own scripts in the switch fire, and that nodes send each other over it.
const SUBCLASSES: &[&str] = &["fipple::step", GateMessage::SUBCLASS];

/// What an attached node needs.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) switch: Arc<AttachedSwitch>,
    pub(super) links: Arc<Links>,
    pub(super) known: Known,
    pub(super) connection: Arc<Connection>,
    pub(super) ears: Ears,
    /// When this node was started.
    pub(super) started: Instant,
}

/// The work of an attached node. It ends at once when this is dropped.
pub(super) struct Serving {
    work: Pin<Box<dyn Future<Output = Loss> + Send>>,
    leases: Arc<OnceLock<Leases>>,
}

impl Serving {
    pub(super) fn begin(place: Place) -> Self {
        let leases = Arc::default();
        Self { work: Box::pin(serve(place, Arc::clone(&leases))), leases }
    }

    /// Works until something breaks, and says what.
    pub(super) async fn broken(&mut self) -> Loss {
        self.work.as_mut().await
    }

    /// Stops working. What is to be done when nobody else will renew the leases is left.
    pub(super) fn stop(self) -> Arc<OnceLock<Leases>> {
        self.leases
    }
}

async fn serve(place: Place, shared_leases: Arc<OnceLock<Leases>>) -> Loss {
    match attach(&place).await {
        Ok((attachment, events, leases)) => {
            let leases = shared_leases.get_or_init(|| leases);
            keep(&place, &attachment, &events, leases).await
        }
        Err(loss) => loss,
    }
}

/// Listens to the switch, reads its channels, and lets commands through.
async fn attach(place: &Place) -> Result<(Arc<Attachment>, Connection, Leases), Loss> {
    let Place { switch, connection, .. } = place;
    let attachment = Attachment::begin(connection.clone(), switch.answers.clone(), &switch.config).await?;
    let attachment = Arc::new(attachment);
    switch.table().fenced_by(attachment.fence());
    let (hearing, ears) = (switch.clone(), place.ears.clone());
    let sink: EventSink = Box::new(move |event| {
        if !ears.hear(event) {
            hearing.event(event);
        }
    });
    let events = Connection::open(&switch.host, &switch.config, switch.metrics.clone(), sink).await?;
    subscribe(&events, EVENTS, SUBCLASSES).await?;
    Box::pin(rebuild(switch, &attachment)).await?;
    let leases = Leases::begin(switch.clone(), attachment.clone(), place.started).await;
    switch.attach(attachment.clone());
    place.links.set(switch, SwitchLink::Attached, &place.known);
    let (channels, fence) = (switch.table().len(), attachment.fence().word());
    tracing::info!(switch = switch.config.name, channels, fence, "attached");
    Ok((attachment, events, leases))
}

async fn keep(place: &Place, attachment: &Arc<Attachment>, events: &Connection, leases: &Leases) -> Loss {
    let switch = &place.switch;
    let ended = |what: &str| Loss::new(SwitchTrouble::Unusable, format_args!("{what} has ended"));
    tokio::select! {
        biased;
        loss = events.lost() => loss,
        refusal = prove_alive(events) => refusal.into(),
        // Before owners are appointed: whoever has just come has a lease by then.
        () = leases.keep() => ended("what renews leases"),
        () = reconcile_forever(switch, attachment) => ended("what compares the channels"),
        () = Box::pin(keep_calls_owned(switch.clone(), place.started)) => ended("what appoints owners"),
    }
}

/// Subscribes a connection to these events.
pub(super) async fn subscribe(
    connection: &Connection,
    names: &[&str],
    subclasses: &[&str],
) -> Result<(), Loss> {
    let command = Command::Events { format: EventFormat::Plain, names, subclasses };
    let reply = connection.send_for_gate(command)?.reply().await?;
    if reply.starts_with("+OK") {
        return Ok(());
    }
    Err(Loss::new(SwitchTrouble::Unusable, format_args!("the switch refuses the subscription: {reply}")))
}

/// Asks the event connection for a sign of life, by something that it answers without running an API command.
async fn prove_alive(events: &Connection) -> Refusal {
    loop {
        sleep(Duration::from_millis(EVENTS_CHECK_MS)).await;
        let again = Command::Events { format: EventFormat::Plain, names: &["SHUTDOWN"], subclasses: &[] };
        if let Err(refusal) = events.command(again).await {
            return refusal;
        }
    }
}

/// Compares the table with the switch for as long as it is polled. A comparison that fails is made good by the next:
/// whether the switch lives is for others to find out.
async fn reconcile_forever(switch: &Arc<AttachedSwitch>, attachment: &Arc<Attachment>) {
    // What began just before the subscription was not in the first list yet.
    let mut pause_ms = SHOW_CHANNELS_LAG_MS;
    loop {
        sleep(Duration::from_millis(pause_ms)).await;
        pause_ms = RECONCILE_INTERVAL_MS;
        if let Err(refusal) = reconcile(switch, attachment).await {
            let switch = &switch.config.name;
            tracing::warn!(switch, "the channels could not be compared with the switch's: {refusal}");
        }
    }
}

//! Keeps one switch: connects, serves it while this node holds its gate, and begins anew when something breaks.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::links::Known;
use super::loss::Loss;
use super::session::{End, Opened, Session, open};
use crate::calls::attached::AttachedSwitch;
use crate::cluster::{SwitchLink, SwitchTrouble};
use crate::limits::{SWITCH_RECONNECT_FIRST_MS, SWITCH_RECONNECT_LONGEST_MS};
use crate::net::Host;

pub(crate) use super::links::Links;
pub(crate) use fipple_protocol::gate::Intent;

/// Keeps one switch until it is told to stop.
pub(crate) struct Supervisor {
    pub(super) switch: Arc<AttachedSwitch>,
    pub(super) links: Arc<Links>,
    pub(super) intent: watch::Receiver<Intent>,
    /// When the node was started.
    pub(super) started: Instant,
    pub(super) known: Known,
}

impl Supervisor {
    pub(crate) fn new(
        switch: Arc<AttachedSwitch>,
        links: Arc<Links>,
        intent: watch::Receiver<Intent>,
        started: Instant,
    ) -> Self {
        Self { switch, links, intent, started, known: Known::default() }
    }

    /// Runs until [`Intent::Stop`].
    pub(crate) async fn run(mut self) {
        let mut pause_ms = SWITCH_RECONNECT_FIRST_MS;
        loop {
            let begun = Instant::now();
            self.links.set(&self.switch, SwitchLink::Unreachable, &self.known);
            // A node that lives keeps its gate: without a session nobody would ever serve the switch again.
            let loss = match isolate(self.session()).await {
                Some(End::Stopped) => return,
                Some(End::Lost(loss)) => loss,
                None => Loss::new(SwitchTrouble::Unusable, "the session panicked"),
            };
            self.switch.detach();
            self.lost(&loss);
            // A session that lasted shows that the switch is well.
            if begun.elapsed() > Duration::from_millis(SWITCH_RECONNECT_LONGEST_MS) {
                pause_ms = SWITCH_RECONNECT_FIRST_MS;
            }
            tokio::select! {
                biased;
                () = intent_is(&mut self.intent, Intent::Stop) => return,
                () = sleep(jittered(&self.switch.host, pause_ms)) => {}
            }
            pause_ms = (pause_ms * 2).min(SWITCH_RECONNECT_LONGEST_MS);
        }
    }

    /// One connection to the switch, for as long as it lasts.
    async fn session(&mut self) -> End {
        let mut stop = self.intent.clone();
        let opened = tokio::select! {
            biased;
            () = intent_is(&mut stop, Intent::Stop) => return End::Stopped,
            opened = open(self) => opened,
        };
        match opened {
            Ok(opened) => {
                self.reached(&opened);
                match Session::new(self, opened) {
                    Ok(session) => session.run().await,
                    Err(loss) => End::Lost(loss),
                }
            }
            Err(loss) => End::Lost(loss),
        }
    }

    /// Notes that the switch answers, and whether it is another run of it than before.
    fn reached(&mut self, opened: &Opened) {
        self.known.trouble = None;
        let before = self.known.core_uuid.replace(opened.core_uuid.clone());
        if let Some(before) = before.filter(|before| *before != opened.core_uuid) {
            self.known.restarted_at_ms = Some(self.switch.host.clock.unix_ms());
            self.switch.metrics.gate.restarts.inc();
            self.switch.note_gate("the switch was restarted");
            let (switch, core_uuid) = (&self.switch.config.name, &opened.core_uuid);
            tracing::warn!(switch, %before, core_uuid, "the switch was restarted");
        }
    }

    fn lost(&mut self, loss: &Loss) {
        let next = loss.trouble;
        let trouble = self.known.trouble.map_or(next, |before| before.then(next));
        if self.known.trouble != Some(trouble) {
            self.switch.note_gate(&format!("the switch cannot be used ({}): {loss}", trouble.word()));
        }
        self.known.trouble = Some(trouble);
        self.links.set(&self.switch, SwitchLink::Unreachable, &self.known);
        let config = &self.switch.config;
        tracing::warn!(
            switch = config.name,
            address = config.address,
            state = trouble.word(),
            "the switch cannot be used: {loss}"
        );
    }
}

/// What came of some work; none if it panicked.
async fn isolate<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Waits until the node wants `wanted`, or is being dropped.
async fn intent_is(intent: &mut watch::Receiver<Intent>, wanted: Intent) {
    let _ = intent.wait_for(|intent| *intent == wanted).await;
}

/// Between half of a pause and all of it, so that nodes that lost a switch together do not return together.
fn jittered(host: &Host, pause_ms: u64) -> Duration {
    let mut byte = [0];
    // Without randomness every node waits the whole pause, which is no worse than no jitter.
    let part = if host.random.fill(&mut byte).is_ok() { u64::from(byte[0]) } else { 255 };
    Duration::from_millis(pause_ms / 2 + pause_ms / 2 * part / 255)
}

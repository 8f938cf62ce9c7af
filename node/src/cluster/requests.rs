//! Requests that were sent on a connection and wait for their answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::{Refusal, Response};
use tokio::sync::oneshot;

use super::metrics::Metrics;
use crate::limits::PENDING_REQUESTS;

/// The unanswered requests of one connection.
pub(super) struct Requests {
    peer: NodeId,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

struct State {
    next_id: u32,
    /// None once the connection is lost.
    waiting: Option<BTreeMap<u32, oneshot::Sender<Response>>>,
}

impl Requests {
    pub(super) fn new(peer: NodeId, metrics: Arc<Metrics>) -> Self {
        Self { peer, state: Mutex::new(State { next_id: 0, waiting: Some(BTreeMap::new()) }), metrics }
    }

    /// Makes room for an answer. Whoever drops what this returns no longer waits.
    pub(super) fn begin(&self) -> Result<Pending<'_>, Refusal> {
        let mut state = self.lock();
        let id = state.next_id;
        let Some(waiting) = &mut state.waiting else { return Err(self.lost()) };
        if waiting.len() >= PENDING_REQUESTS {
            return Err(Refusal::Overloaded {
                detail: format!("{PENDING_REQUESTS} requests to node {} wait", self.peer),
            });
        }
        // After 2^32 requests an id comes round again: its old request has long met its deadline.
        let (answer, answered) = oneshot::channel();
        waiting.insert(id, answer);
        state.next_id = id.wrapping_add(1);
        self.metrics.requests_in_flight.inc();
        Ok(Pending { id, answered, requests: self })
    }

    /// Hands an answer to who waits for it. One that came too late is dropped.
    pub(super) fn complete(&self, id: u32, response: Response) {
        let answer = self.lock().waiting.as_mut().and_then(|waiting| waiting.remove(&id));
        if let Some(answer) = answer {
            let _gave_up_meanwhile = answer.send(response);
        }
    }

    /// The connection is lost: whoever waits learns that the outcome is not known, and nothing more is sent.
    pub(super) fn fail(&self) {
        self.lock().waiting = None;
    }

    fn lost(&self) -> Refusal {
        Refusal::Unreachable { node: self.peer, detail: "the connection was lost".into() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that waits for its answer.
pub(super) struct Pending<'a> {
    pub(super) id: u32,
    answered: oneshot::Receiver<Response>,
    requests: &'a Requests,
}

impl Pending<'_> {
    /// The answer, or why none came.
    pub(super) async fn answer(mut self, deadline: Duration) -> Response {
        match tokio::time::timeout(deadline, &mut self.answered).await {
            Ok(Ok(response)) => response,
            // It was sent: whether it ran before the connection was lost is not known.
            Ok(Err(_)) => Response::Refused(Refusal::TimedOut {
                detail: format!("the connection to node {} was lost before its answer", self.requests.peer),
            }),
            Err(_) => Response::Refused(Refusal::TimedOut { detail: format!("node {}", self.requests.peer) }),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.requests.metrics.requests_in_flight.dec();
        if let Some(waiting) = &mut self.requests.lock().waiting {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId::from_bytes([7; 16]);
    const DEADLINE: Duration = Duration::from_secs(1);

    fn new() -> Requests {
        Requests::new(PEER, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_finds_its_request() {
        let requests = new();
        let (first, second) = (requests.begin().unwrap(), requests.begin().unwrap());
        requests.complete(second.id, Response::Text("2".into()));
        requests.complete(first.id, Response::Text("1".into()));
        requests.complete(99, Response::Done);
        assert_eq!(first.answer(DEADLINE).await, Response::Text("1".into()));
        assert_eq!(second.answer(DEADLINE).await, Response::Text("2".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_frees_the_place() {
        let requests = new();
        let late = requests.begin().unwrap().answer(DEADLINE).await;
        assert!(matches!(late, Response::Refused(Refusal::TimedOut { .. })));
        assert!(requests.lock().waiting.as_ref().unwrap().is_empty());
        assert_eq!(requests.metrics.requests_in_flight.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_fails_all_at_once() {
        let requests = new();
        let waiting = requests.begin().unwrap();
        requests.fail();
        let answer = waiting.answer(Duration::MAX).await;
        assert!(matches!(answer, Response::Refused(Refusal::TimedOut { .. })), "it may have run: {answer:?}");
        assert!(matches!(requests.begin(), Err(Refusal::Unreachable { .. })));
    }

    #[tokio::test]
    async fn requests_are_bounded() {
        let requests = new();
        let waiting: Vec<_> = (0..PENDING_REQUESTS).map(|_| requests.begin().unwrap()).collect();
        assert!(matches!(requests.begin(), Err(Refusal::Overloaded { .. })));
        drop(waiting);
        assert!(requests.begin().is_ok());
    }
}

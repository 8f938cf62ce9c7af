use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream};

use fipple_protocol::NodeId;

use super::super::gate::Gate;
use super::*;
use crate::calls::CallMetrics;
use crate::limits::GATE_UNREAD_MS;

/// A switch that says what the test tells it to.
pub(in crate::switch) struct Script(BufReader<DuplexStream>);

impl Script {
    pub(in crate::switch) async fn heard(&mut self) -> String {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            self.0.read_line(&mut line).await.unwrap();
        }
        line.trim().to_owned()
    }

    pub(in crate::switch) async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn respond(&mut self, body: &str) {
        self.say(&format!("Content-Type: api/response\nContent-Length: {}\n\n{body}", body.len())).await;
    }

    pub(in crate::switch) async fn reply(&mut self, text: &str) {
        self.say(&format!("Content-Type: command/reply\nReply-Text: {text}\n\n")).await;
    }
}

/// A connection that is logged in, and its other end.
pub(in crate::switch) fn connected() -> (Connection, Script) {
    connected_with(Box::new(|_| {}))
}

fn connected_with(sink: EventSink) -> (Connection, Script) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let metrics = CallMetrics::default().switch("pbx");
    let host = Host::system(&std::env::temp_dir()).unwrap();
    let connection = Connection::over(Box::new(ours), Decoder::new(), "pbx", &host, metrics, sink);
    (connection, Script(BufReader::new(theirs)))
}

#[tokio::test(start_paused = true)]
async fn replies_find_their_commands_in_order_even_when_one_was_given_up() {
    let (connection, mut script) = connected();
    let (first, second) = tokio::join!(connection.api("first"), async {
        assert_eq!(script.heard().await, "api first");
        connection.api("second").await
    });
    assert!(matches!(first, Err(Refusal::TimedOut { .. })));
    assert!(matches!(second, Err(Refusal::TimedOut { .. })));
    script.reply("+OK first").await;
    let (third, ()) = tokio::join!(connection.api("third"), async {
        assert_eq!(script.heard().await, "api second");
        script.reply("+OK second").await;
        assert_eq!(script.heard().await, "api third");
        script.reply("+OK third").await;
    });
    assert_eq!(third.unwrap(), "+OK third");
}

#[tokio::test]
async fn jobs_end_in_any_order() {
    let (connection, mut script) = connected();
    let deadline = Duration::from_secs(5);
    let (one, two, ()) =
        tokio::join!(connection.background("one", deadline), connection.background("two", deadline), async {
            let mut jobs = Vec::new();
            for _ in 0..2 {
                let command = script.heard().await;
                let job_uuid = script.heard().await;
                jobs.push((command, job_uuid.strip_prefix("Job-UUID: ").unwrap().to_owned()));
                script.reply("+OK").await;
            }
            for (command, job_uuid) in jobs.iter().rev() {
                let body = format!(
                    "Event-Name: BACKGROUND_JOB\nJob-UUID: {job_uuid}\nContent-Length: 12\n\n{command} "
                );
                let head = format!("Content-Length: {}\nContent-Type: text/event-plain\n\n", body.len());
                script.say(&(head + &body)).await;
            }
        });
    assert_eq!((one.unwrap().trim(), two.unwrap().trim()), ("bgapi one", "bgapi two"));
    assert!(connection.shared.queues().jobs.is_empty());
}

#[tokio::test]
async fn a_lost_connection_leaves_nobody_waiting() {
    let (connection, script) = connected();
    let (reply, ()) = tokio::join!(connection.api("status"), async {
        tokio::task::yield_now().await;
        drop(script);
    });
    assert!(matches!(reply, Err(Refusal::TimedOut { .. })), "it may have run: {reply:?}");
    assert!(connection.lost().await.contains("clos"));
    let refusal = connection.api("status").await.unwrap_err();
    assert!(matches!(refusal, Refusal::SwitchUnavailable { .. }), "this one has not: {refusal}");
}

#[tokio::test]
async fn queues_are_bounded_and_a_command_that_cannot_be_sent_leaves_no_trace() {
    let (connection, _script) = connected();
    let newline = connection.send(&[Command::Api("status"), Command::Api("a\n\nexit")]);
    assert!(matches!(newline, Err(Refusal::InvalidArgument { .. })));
    assert!(connection.shared.queues().outgoing.is_empty());
    let mut waiting = Vec::new();
    for _ in 0..SWITCH_PENDING_COMMANDS {
        waiting.extend(connection.send(&[Command::Api("status")]).unwrap());
    }
    assert!(matches!(connection.send(&[Command::Api("status")]), Err(Refusal::Overloaded { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_an_event_ends_the_connection() {
    let (connection, mut script) = connected_with(Box::new(|_| panic!("an event nobody thought of")));
    let (reply, ()) = tokio::join!(connection.api("status"), async {
        script.say("Content-Length: 24\nContent-Type: text/event-plain\n\nEvent-Name: HEARTBEAT\n\n\n").await;
    });
    assert!(
        matches!(reply, Err(Refusal::TimedOut { detail }) if detail.contains("lost")),
        "nobody waits for it"
    );
    assert!(connection.lost().await.contains("ended"));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_of_commands_costs_the_gate_only_if_it_stays_full() {
    let (connection, mut script) = connected();
    let node = NodeId::from_bytes([1; 16]);
    let (gate, ()) = tokio::join!(Gate::of(&connection, node), script.respond("c0de-1"));
    let gate = gate.unwrap();
    let mut lost = std::pin::pin!(gate.lost(&connection));
    let fill = || {
        let send = |_| connection.send(&[Command::Api("status")]);
        (0..SWITCH_PENDING_COMMANDS).map_while(|number| send(number).ok()).flatten().collect::<Vec<_>>()
    };
    let waiting = fill();
    assert!(timeout(Duration::from_millis(GATE_UNREAD_MS - 1_000), &mut lost).await.is_err());
    for _ in 0..waiting.len() {
        script.respond("UP").await;
    }
    let answered = async {
        while !script.heard().await.starts_with("api hash select/") {}
        script.respond(&node.to_string()).await;
    };
    tokio::select! {
        biased;
        reason = &mut lost => panic!("{reason}"),
        () = answered => {}
    }
    tokio::select! {
        biased;
        reason = &mut lost => panic!("{reason}"),
        () = tokio::time::sleep(Duration::from_millis(1)) => {}
    }
    let _waiting = fill();
    let reason = timeout(Duration::from_millis(2 * GATE_UNREAD_MS), lost).await.unwrap();
    assert!(reason.contains("wait"), "{reason}");
}

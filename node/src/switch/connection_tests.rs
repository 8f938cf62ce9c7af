use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream};

use super::*;
use crate::calls::CallMetrics;

/// A switch that says what the test tells it to.
struct Script(BufReader<DuplexStream>);

impl Script {
    async fn heard(&mut self) -> String {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            self.0.read_line(&mut line).await.unwrap();
        }
        line.trim().to_owned()
    }

    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn reply(&mut self, text: &str) {
        self.say(&format!("Content-Type: command/reply\nReply-Text: {text}\n\n")).await;
    }
}

/// A connection that is logged in, and its other end.
fn connected() -> (Connection, Script) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let metrics = CallMetrics::default().switch("pbx");
    let host = Host::system(&std::env::temp_dir()).unwrap();
    let connection =
        Connection::over(Box::new(ours), Decoder::new(), "pbx", &host, metrics, Box::new(|_| {}));
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

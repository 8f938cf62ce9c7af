use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream};

use super::*;
use crate::calls::CallMetrics;

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
    assert_eq!(connection.lost().await.trouble, SwitchTrouble::Crashed);
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
    assert_eq!(connection.lost().await.trouble, SwitchTrouble::Unusable);
}

#[tokio::test]
async fn commands_about_the_gate_have_room_where_others_have_none() {
    let (connection, mut script) = connected();
    let mut waiting = Vec::new();
    for _ in 0..SWITCH_PENDING_COMMANDS {
        waiting.extend(connection.send(&[Command::Api("status")]).unwrap());
    }
    assert!(matches!(connection.send(&[Command::Api("status")]), Err(Refusal::Overloaded { .. })));
    let gate = connection.send_for_gate(Command::Api("hash")).unwrap();
    for _ in 0..SWITCH_PENDING_COMMANDS {
        script.respond("UP").await;
    }
    script.respond("held").await;
    assert_eq!(gate.reply().await.unwrap(), "held");
    let reserved = (0..).map_while(|_| connection.send_for_gate(Command::Api("hash")).ok());
    assert!(
        reserved.take(2 * SWITCH_PENDING_COMMANDS).count()
            <= SWITCH_PENDING_COMMANDS + GATE_COMMANDS_RESERVED
    );
}

#[tokio::test(start_paused = true)]
async fn no_command_but_the_gates_leaves_without_a_permit_or_after_its_time() {
    let (connection, mut script) = connected();
    let refused = |connection: &Connection| {
        matches!(connection.send(&[Command::Api("status")]), Err(Refusal::SwitchUnavailable { .. }))
    };
    connection.permit_until(None);
    assert!(refused(&connection));
    connection.permit_until(Some(Instant::now() + Duration::from_secs(6)));
    assert!(!refused(&connection));
    assert_eq!(script.heard().await, "api status");
    // Nobody has told the connection that the time is over.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(refused(&connection));
    connection.send_for_gate(Command::Api("hash")).unwrap();
    assert_eq!(script.heard().await, "api hash");
}

#[tokio::test]
async fn a_switch_that_says_why_it_ends_is_told_from_one_that_does_not() {
    const NOTICE: &str =
        "Content-Type: text/disconnect-notice\nContent-Length: 31\n\nThe system is being shut down.\n";
    const SHUTDOWN: &str = "Content-Length: 22\nContent-Type: text/event-plain\n\nEvent-Name: SHUTDOWN\n\n";
    for (said, trouble) in
        [(NOTICE, SwitchTrouble::ShutDown), (SHUTDOWN, SwitchTrouble::ShutDown), ("", SwitchTrouble::Crashed)]
    {
        let (connection, mut script) = connected();
        script.say(said).await;
        drop(script);
        assert_eq!(connection.lost().await.trouble, trouble, "{said:?}");
    }
}

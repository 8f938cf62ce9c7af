//! A switch that this node is attached to: what carries commands to its channels.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fipple_protocol::call::step_uuid;
use fipple_protocol::esl::{Command, EventFormat, Execute};
use fipple_protocol::peer::{ChannelCommand, OriginateCommand, Refusal};
use serde_json::Value;

use super::commands::{SwitchCommand, SwitchFacts, judge, translate, word};
use super::connection::Connection;
use super::originate::{originate_line, originated};
use crate::calls::channel::{ChannelDump, DONE_VARIABLE};
use crate::limits::{
    COMMAND_HOP_MS, COMMAND_IDS_KEPT, ORIGINATE_TIMEOUT_SECONDS, SWITCH_JOB_TIMEOUT_MS,
    SWITCH_REPLY_TIMEOUT_MS,
};

/// The command side of an attached switch.
pub(crate) struct Attachment {
    connection: Arc<Connection>,
    /// The dialplan applications that the switch knew when it was attached.
    applications: Mutex<BTreeSet<String>>,
    answers: Arc<Mutex<Answers>>,
}

/// Commands by the ids under which they were asked for, and their answers once there are any. They outlive the
/// connection over which they were sent: a command that may have run before it broke is not run again after it.
#[derive(Default)]
pub(crate) struct Answers {
    by_id: BTreeMap<u64, Option<Result<String, Refusal>>>,
    oldest_first: VecDeque<u64>,
}

impl Attachment {
    /// Subscribes to the results of jobs and learns which applications there are.
    ///
    /// # Errors
    /// If the switch does not answer.
    pub(super) async fn begin(
        connection: Arc<Connection>,
        answers: Arc<Mutex<Answers>>,
    ) -> Result<Self, Refusal> {
        let names = &["BACKGROUND_JOB"];
        connection.command(Command::Events { format: EventFormat::Plain, names, subclasses: &[] }).await?;
        let attachment = Self { connection, applications: Mutex::default(), answers };
        attachment.learn_applications().await?;
        Ok(attachment)
    }

    async fn learn_applications(&self) -> Result<(), Refusal> {
        let deadline = job_timeout(SWITCH_REPLY_TIMEOUT_MS);
        // `show application` would leave out those whose description is empty.
        let list = self.connection.background("show interfaces as json", deadline).await?;
        let applications: BTreeSet<_> = application_names(&list).collect();
        if applications.is_empty() {
            return Err(Refusal::SwitchRefused { reply: format!("show interfaces: {}", list.trim()) });
        }
        *self.applications.lock().unwrap_or_else(PoisonError::into_inner) = applications;
        Ok(())
    }

    /// Whether the switch is known to have a dialplan application.
    pub(crate) fn has_application(&self, name: &str) -> bool {
        self.applications.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Whether the switch has a dialplan application; it is asked again before one is called unknown, for a module
    /// may have been loaded since.
    ///
    /// # Errors
    /// If the switch does not answer.
    pub(crate) async fn look_up_application(&self, name: &str) -> Result<bool, Refusal> {
        if !self.has_application(name) {
            self.learn_applications().await?;
        }
        Ok(self.has_application(name))
    }

    /// Carries out a command for a channel, once for each id: asked again it gives the same answer.
    pub(crate) async fn command(
        &self,
        id: u64,
        channel: &str,
        command: &ChannelCommand,
        facts: &impl SwitchFacts,
    ) -> Result<String, Refusal> {
        match self.answers().begin(id) {
            Some(Some(answer)) => return answer,
            Some(None) => {
                return Err(Refusal::Overloaded { detail: "the same command still runs".to_owned() });
            }
            None => {}
        }
        let guard = Unanswered { attachment: self, id };
        let answer = self.run(id, channel, command, facts).await;
        self.answers().end(id, &answer);
        std::mem::forget(guard);
        answer
    }

    async fn run(
        &self,
        id: u64,
        channel: &str,
        command: &ChannelCommand,
        facts: &impl SwitchFacts,
    ) -> Result<String, Refusal> {
        if let ChannelCommand::Execute { application, .. } = command {
            self.look_up_application(application).await?;
        }
        let reply = match translate(channel, command, facts)? {
            SwitchCommand::Api(line) => self.connection.api(&line).await?,
            SwitchCommand::Job(line) => {
                self.connection.background(&line, job_timeout(COMMAND_HOP_MS)).await?
            }
            SwitchCommand::Execute { application, argument, alone } => {
                let event_uuid = format!("command-{id:016x}");
                let execute = Execute::new(Some(channel), &application, &argument);
                let execute = Execute { event_lock: alone, event_uuid: Some(&event_uuid), ..execute };
                facts.enqueue(channel, &event_uuid)?;
                let reply = self.connection.command(Command::Execute(execute)).await;
                let taken = reply.and_then(|reply| judge(channel, &reply));
                if !matches!(taken, Ok(_) | Err(Refusal::TimedOut { .. })) {
                    facts.dequeue(channel, &event_uuid);
                }
                return taken;
            }
        };
        judge(channel, &reply)
    }

    /// Gives a step to the switch, and behind it, in the channel's own queue, what marks it done: whoever takes
    /// the call over later reads it from the channel.
    pub(crate) async fn run_step(
        &self,
        call: &str,
        epoch: u64,
        step: u32,
        application: &str,
        argument: &str,
    ) -> Result<(), Refusal> {
        word("call", call)?;
        let event_uuid = step_uuid(call, step, epoch);
        let mark = format!("{DONE_VARIABLE}={step}");
        let step =
            Execute { event_uuid: Some(&event_uuid), ..Execute::new(Some(call), application, argument) };
        let mark = Execute::new(Some(call), "set", &mark);
        let replies = self.connection.send(&[Command::Execute(step), Command::Execute(mark)])?;
        for (index, pending) in replies.into_iter().enumerate() {
            let reply = pending.reply().await?;
            // A step that hangs up leaves no channel to mark.
            if index == 0 {
                judge(call, &reply)?;
            }
        }
        Ok(())
    }

    /// Sets variables of a channel, all at once.
    pub(crate) async fn set_variables(&self, channel: &str, variables: &str) -> Result<(), Refusal> {
        word("channel", channel)?;
        let reply = self.connection.api(&format!("uuid_setvar_multi {channel} {variables}")).await?;
        judge(channel, &reply).map(|_| ())
    }

    /// Everything that the switch says of a channel; none if it knows no such channel.
    pub(crate) async fn dump(&self, channel: &str) -> Result<Option<ChannelDump>, Refusal> {
        word("channel", channel)?;
        let reply = self.connection.api(&format!("uuid_dump {channel} json")).await?;
        match judge(channel, &reply) {
            Ok(text) => Ok(ChannelDump::parse(&text)),
            Err(Refusal::UnknownChannel { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// How many steps of a call the channel itself has marked done; none if there is no such channel.
    pub(crate) async fn done(&self, call: &str) -> Result<Option<u32>, Refusal> {
        word("call", call)?;
        let reply = self.connection.api(&format!("uuid_getvar {call} {DONE_VARIABLE}")).await?;
        match judge(call, &reply) {
            Ok(done) => Ok(Some(done.parse().unwrap_or_default())),
            Err(Refusal::UnknownChannel { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Starts a call. Its A leg's uuid.
    pub(crate) async fn originate(
        &self,
        uuid: &str,
        originate: &OriginateCommand,
    ) -> Result<String, Refusal> {
        let line = originate_line(uuid, originate)?;
        let reply = self.connection.background(&line, originate_deadline(originate)).await?;
        originated(uuid, &reply)
    }

    /// Runs any API command; its whole result, whatever it says.
    pub(crate) async fn api(&self, command: &str) -> Result<String, Refusal> {
        self.connection.background(command, job_timeout(SWITCH_JOB_TIMEOUT_MS)).await
    }

    /// The uuids that `show channels` lists.
    pub(super) async fn show_channels(&self) -> Result<BTreeSet<String>, Refusal> {
        let deadline = job_timeout(SWITCH_REPLY_TIMEOUT_MS);
        let list = self.connection.background("show channels as json", deadline).await?;
        if !list.contains("row_count") {
            return Err(Refusal::SwitchRefused { reply: format!("show channels: {}", list.trim()) });
        }
        Ok(rows(&list).iter().filter_map(|row| Some(row["uuid"].as_str()?.to_owned())).collect())
    }

    /// Whether a channel exists at this very moment.
    pub(super) async fn exists(&self, channel: &str) -> Result<bool, Refusal> {
        word("channel", channel)?;
        Ok(self.connection.api(&format!("uuid_exists {channel}")).await?.trim() == "true")
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// Notes that a command begins; its answer, or that it has none yet, if it has begun before.
    fn begin(&mut self, id: u64) -> Option<Option<Result<String, Refusal>>> {
        if let Some(answer) = self.by_id.get(&id) {
            return Some(answer.clone());
        }
        if self.oldest_first.len() == COMMAND_IDS_KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(id, None);
        self.oldest_first.push_back(id);
        None
    }

    fn end(&mut self, id: u64, answer: &Result<String, Refusal>) {
        match answer {
            // The switch has not had it: it may be tried again.
            Err(Refusal::SwitchUnavailable { .. } | Refusal::Overloaded { .. }) => self.forget(id),
            // One that ran for so long that its id has been dropped is not remembered: nothing would drop it again.
            _ => {
                if let Some(known) = self.by_id.get_mut(&id) {
                    *known = Some(answer.clone());
                }
            }
        }
    }

    fn forget(&mut self, id: u64) {
        self.by_id.remove(&id);
        self.oldest_first.retain(|kept| *kept != id);
    }
}

/// Notes for a command that was given up on its way that nobody knows what became of it.
struct Unanswered<'a> {
    attachment: &'a Attachment,
    id: u64,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let detail = "the command was given up while it ran".to_owned();
        self.attachment.answers().end(self.id, &Err(Refusal::TimedOut { detail }));
    }
}

/// How long an `originate` may take: as long as it may ring, and what setting it up takes.
pub(crate) fn originate_deadline(originate: &OriginateCommand) -> Duration {
    let seconds = originate.timeout_seconds.unwrap_or(ORIGINATE_TIMEOUT_SECONDS);
    let ring = Duration::from_secs(u64::from(seconds)) + Duration::from_millis(SWITCH_REPLY_TIMEOUT_MS);
    ring.min(job_timeout(SWITCH_JOB_TIMEOUT_MS))
}

fn job_timeout(timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms)
}

/// The rows of what `show ... as json` answers.
fn rows(text: &str) -> Vec<Value> {
    let mut answer: Value = serde_json::from_str(text).unwrap_or_default();
    match answer.get_mut("rows").map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    }
}

fn application_names(interfaces: &str) -> impl Iterator<Item = String> + use<> {
    let is_application = |row: &Value| row["type"] == "application";
    rows(interfaces)
        .into_iter()
        .filter(is_application)
        .filter_map(|row| Some(row["name"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::{Script, connected};
    use super::*;

    struct Facts;

    impl SwitchFacts for Facts {
        fn has_channel(&self, _: &str) -> bool {
            true
        }
        fn is_parked(&self, _: &str) -> bool {
            true
        }
        fn has_application(&self, _: &str) -> bool {
            true
        }

        fn enqueue(&self, _: &str, _: &str) -> Result<(), Refusal> {
            Ok(())
        }

        fn dequeue(&self, _: &str, _: &str) {}
    }

    /// An attachment, over a connection of its own.
    async fn attached(answers: &Arc<Mutex<Answers>>) -> (Attachment, Script) {
        let (connection, mut script) = connected();
        let switch = async {
            while !script.heard().await.starts_with("event") {}
            script.reply("+OK").await;
            assert_eq!(script.heard().await, "bgapi show interfaces as json");
            let job_uuid = script.heard().await;
            script.reply("+OK").await;
            let list = r#"{"rows":[{"type":"application","name":"playback"}]}"#;
            let body =
                format!("Event-Name: BACKGROUND_JOB\n{job_uuid}\nContent-Length: {}\n\n{list}", list.len());
            let head = format!("Content-Length: {}\nContent-Type: text/event-plain\n\n", body.len());
            script.say(&(head + &body)).await;
        };
        let (attachment, ()) = tokio::join!(Attachment::begin(Arc::new(connection), answers.clone()), switch);
        (attachment.unwrap(), script)
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_of_which_nobody_knows_whether_it_ran_is_not_run_over_the_next_connection() {
        let answers = Arc::default();
        let play = ChannelCommand::Play { file: "a.wav".to_owned() };
        let (first, mut script) = attached(&answers).await;
        let (lost, ()) = tokio::join!(first.command(7, "a", &play, &Facts), async {
            assert_eq!(script.heard().await, "sendmsg a");
            drop(script);
        });
        assert!(matches!(lost, Err(Refusal::TimedOut { .. })), "{lost:?}");
        let (second, mut script) = attached(&answers).await;
        assert_eq!(second.command(7, "a", &play, &Facts).await, lost);
        let (other, ()) = tokio::join!(second.command(8, "a", &ChannelCommand::Answer, &Facts), async {
            assert_eq!(script.heard().await, "api uuid_answer a", "nothing came before it");
            script.say("Content-Type: api/response\nContent-Length: 3\n\n+OK").await;
        });
        assert_eq!(other, Ok("+OK".to_owned()));
    }

    #[test]
    fn answers_are_kept_up_to_a_limit_even_those_of_commands_that_run_for_long() {
        let mut answers = Answers::default();
        assert_eq!(answers.begin(0), None);
        assert_eq!(answers.begin(0), Some(None), "it still runs");
        for id in 1..=COMMAND_IDS_KEPT as u64 {
            assert_eq!(answers.begin(id), None);
            answers.end(id, &Ok("+OK".to_owned()));
        }
        answers.end(0, &Ok("+OK late".to_owned()));
        assert_eq!((answers.by_id.len(), answers.oldest_first.len()), (COMMAND_IDS_KEPT, COMMAND_IDS_KEPT));
        assert_eq!(answers.begin(1), Some(Some(Ok("+OK".to_owned()))));
        answers.end(1, &Err(Refusal::Overloaded { detail: String::new() }));
        assert_eq!(answers.begin(1), None, "the switch has not had it");
    }
}

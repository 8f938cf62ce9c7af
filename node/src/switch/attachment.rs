//! A switch that this node is attached to: what carries commands to its channels.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fipple_protocol::call::step_uuid;
use fipple_protocol::esl::{Command, EventFormat, Execute};
use fipple_protocol::peer::{ChannelCommand, OriginateCommand, Refusal};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::SwitchConfig;
use super::answers::Answers;
use super::commands::{SwitchCommand, SwitchFacts, channels_of, judge, name, translate, word};
use super::connection::Connection;
use super::detection::find_fence;
use super::fence::{Fence, FencedStep, application_name, command_script, flow_script, judge_run, run_script};
use super::originate::{originate_line, originated};
use super::takeover::UNDEFINED;
use crate::calls::channel::{
    ChannelDump, DONE_VARIABLE, EPOCH_VARIABLE, FLOW_VARIABLE, RUN_VARIABLE, running_mark,
};
use crate::limits::{
    COMMAND_HOP_MS, ORIGINATE_TIMEOUT_SECONDS, SWITCH_JOB_TIMEOUT_MS, SWITCH_REPLY_TIMEOUT_MS,
};

/// The command side of an attached switch.
pub(crate) struct Attachment {
    connection: Arc<Connection>,
    fence: Fence,
    /// Which run of the switch this is.
    core_uuid: String,
    /// The dialplan applications that the switch knew when it was attached.
    applications: Mutex<BTreeSet<String>>,
    /// Where the switch does not keep the ids of commands itself.
    answers: Arc<Mutex<Answers>>,
}

/// How far a call has come, by its own channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How many steps it has marked done.
    pub(crate) done: u32,
    /// The step that it has marked as running, and the epoch under which that was sent.
    pub(crate) running: Option<(u32, u64)>,
    /// Its epoch; none where it is not fipple's.
    pub(crate) epoch: Option<u64>,
}

impl Attachment {
    /// Subscribes to the results of jobs and learns which fence and which applications there are.
    ///
    /// # Errors
    /// If the switch does not answer, or lacks the fence that is configured.
    pub(super) async fn begin(
        connection: Arc<Connection>,
        answers: Arc<Mutex<Answers>>,
        config: &SwitchConfig,
    ) -> Result<Self, Refusal> {
        let names = &["BACKGROUND_JOB"];
        connection.command(Command::Events { format: EventFormat::Plain, names, subclasses: &[] }).await?;
        let core_uuid = connection.api("global_getvar core_uuid").await?.trim().to_owned();
        let fence = find_fence(&connection, config).await?;
        let attachment = Self { connection, fence, core_uuid, applications: Mutex::default(), answers };
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

    /// Which fence the switch has.
    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    /// The `Core-UUID` of the switch that runs.
    pub(super) fn core_uuid(&self) -> &str {
        &self.core_uuid
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
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
        if self.fence == Fence::Strict {
            // The switch knows by the id whether it has run.
            return self.run(id, channel, command, facts).await;
        }
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
        match translate(channel, command, facts)? {
            SwitchCommand::Execute { application, argument, alone } => {
                let execution = Execution { channel, application: &application, argument: &argument, alone };
                self.execute(id, execution, facts).await
            }
            SwitchCommand::Api(line) if self.fence == Fence::Strict => {
                let (line, epoch) = fenced(id, &line, channel, command, facts);
                judge_run(channel, id, epoch, &self.connection.api(&line).await?)
            }
            SwitchCommand::Job(line) if self.fence == Fence::Strict => {
                let (line, epoch) = fenced(id, &line, channel, command, facts);
                let reply = self.connection.background(&line, job_timeout(COMMAND_HOP_MS)).await?;
                judge_run(channel, id, epoch, &reply)
            }
            SwitchCommand::Api(line) => judge(channel, &self.connection.api(&line).await?),
            SwitchCommand::Job(line) => {
                judge(channel, &self.connection.background(&line, job_timeout(COMMAND_HOP_MS)).await?)
            }
        }
    }

    /// Puts an application into a channel's own queue.
    async fn execute(
        &self,
        id: u64,
        execution: Execution<'_>,
        facts: &impl SwitchFacts,
    ) -> Result<String, Refusal> {
        let Execution { channel, application, argument, alone } = execution;
        let event_uuid = format!("command-{id:016x}");
        let script;
        let (application, argument) = match self.fence {
            Fence::Strict => {
                application_name(application)?;
                script = command_script(facts.epoch_in(channel), id, application, argument);
                ("lua", script.as_str())
            }
            Fence::Snippet | Fence::None => (application, argument),
        };
        let execute = Execute::new(Some(channel), application, argument);
        let execute = Execute { event_lock: alone, event_uuid: Some(&event_uuid), ..execute };
        self.queue(channel, execute, &event_uuid, facts).await
    }

    /// Puts one thing into a channel's own queue, unless too much waits there.
    async fn queue(
        &self,
        channel: &str,
        execute: Execute<'_>,
        event_uuid: &str,
        facts: &impl SwitchFacts,
    ) -> Result<String, Refusal> {
        facts.enqueue(channel, event_uuid)?;
        let reply = self.connection.command(Command::Execute(execute)).await;
        let taken = reply.and_then(|reply| judge(channel, &reply));
        if !matches!(taken, Ok(_) | Err(Refusal::TimedOut { .. })) {
            facts.dequeue(channel, event_uuid);
        }
        taken
    }

    /// Gives a step to the switch. A channel that is fenced checks it and marks it done; into the queue of another one goes
    /// behind it what marks it done, so that whoever takes the call over later reads it from the channel.
    pub(crate) async fn run_step(
        &self,
        call: &str,
        step: FencedStep<'_>,
        facts: &impl SwitchFacts,
    ) -> Result<(), Refusal> {
        word("call", call)?;
        let event_uuid = step_uuid(call, step.step, step.epoch);
        let (application, argument) = self.fence.step(&step)?;
        let execute = Execute::new(Some(call), &application, &argument);
        let execute = Execute { event_uuid: Some(&event_uuid), ..execute };
        if self.fence.checks_steps() {
            return self.queue(call, execute, &event_uuid, facts).await.map(|_| ());
        }
        facts.enqueue(call, &event_uuid)?;
        let taken = self.send_with_mark(call, execute, step.step).await;
        if !matches!(taken, Ok(()) | Err(Refusal::TimedOut { .. })) {
            facts.dequeue(call, &event_uuid);
        }
        taken
    }

    async fn send_with_mark(&self, call: &str, execute: Execute<'_>, step: u32) -> Result<(), Refusal> {
        let mark = format!("{DONE_VARIABLE}={step}");
        let mark = Execute::new(Some(call), "set", &mark);
        let replies = self.connection.send(&[Command::Execute(execute), Command::Execute(mark)])?;
        for (index, pending) in replies.into_iter().enumerate() {
            let reply = pending.reply().await?;
            // A step that hangs up leaves no channel to mark.
            if index == 0 {
                judge(call, &reply)?;
            }
        }
        Ok(())
    }

    /// Names the flow of a call, for whoever takes it over; empty for none.
    pub(crate) async fn name_flow(&self, call: &str, epoch: u64, flow: &str) -> Result<(), Refusal> {
        word("call", call)?;
        if !flow.is_empty() {
            // A dialplan may have set any.
            name("flow", flow)?;
        }
        if self.fence == Fence::Strict {
            let reply = self.connection.api(&flow_script(call, epoch, flow)).await?;
            return judge_run(call, 0, Some(epoch), &reply).map(|_| ());
        }
        let reply = self.connection.api(&format!("uuid_setvar_multi {call} {FLOW_VARIABLE}={flow}")).await?;
        judge(call, &reply).map(|_| ())
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

    /// How far a call has come by what its own channel says; none if there is no such channel.
    pub(crate) async fn progress(&self, call: &str) -> Result<Option<Progress>, Refusal> {
        word("call", call)?;
        // The mark first: a step that ends meanwhile is then seen twice, and not missed.
        let questions = [RUN_VARIABLE, DONE_VARIABLE, EPOCH_VARIABLE];
        let answers = self.ask_all(questions.iter().map(|name| format!("uuid_getvar {call} {name}"))).await?;
        let mut values = Vec::with_capacity(answers.len());
        for answer in &answers {
            match judge(call, answer) {
                Ok(value) if value == UNDEFINED => values.push(String::new()),
                Ok(value) => values.push(value),
                Err(Refusal::UnknownChannel { .. }) => return Ok(None),
                Err(refusal) => return Err(refusal),
            }
        }
        let [mark, done, epoch] = values.as_slice() else { return Ok(None) };
        let done = done.parse().unwrap_or_default();
        Ok(Some(Progress { done, running: running_mark(mark, done), epoch: epoch.parse().ok() }))
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
        Ok(rows(&list).into_iter().filter_map(|row: ShownChannel| row.uuid).collect())
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

/// An application that was commanded.
struct Execution<'a> {
    channel: &'a str,
    application: &'a str,
    argument: &'a str,
    alone: bool,
}

/// A `uuid_*` command as the fence runs it, and the epoch that it needs.
fn fenced(
    id: u64,
    line: &str,
    channel: &str,
    command: &ChannelCommand,
    facts: &impl SwitchFacts,
) -> (String, Option<u64>) {
    let channels = facts.in_epochs(&channels_of(channel, command));
    let epoch = channels.first().and_then(|first| first.epoch);
    (run_script(&channels, id, line), epoch)
}

/// How long an `originate` may take: as long as it may ring, and what setting it up takes.
pub(crate) fn originate_deadline(originate: &OriginateCommand) -> Duration {
    let seconds = originate.timeout_seconds.unwrap_or(ORIGINATE_TIMEOUT_SECONDS);
    let ring = Duration::from_secs(u64::from(seconds)) + Duration::from_millis(SWITCH_REPLY_TIMEOUT_MS);
    ring.min(job_timeout(SWITCH_JOB_TIMEOUT_MS))
}

pub(super) fn job_timeout(timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms)
}

/// What `show ... as json` answers. Of thousands of rows only what is asked for is ever built: all fields of 5,000 channels
/// take 25 MB, which the allocator keeps for good.
#[derive(Deserialize)]
struct Shown<Row> {
    #[serde(default = "Vec::new")]
    rows: Vec<Row>,
}

/// A row of `show channels`.
#[derive(Deserialize)]
struct ShownChannel {
    uuid: Option<String>,
}

/// A row of `show interfaces`.
#[derive(Deserialize)]
struct ShownInterface {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
}

/// The rows of what `show ... as json` answers.
fn rows<Row: DeserializeOwned>(text: &str) -> Vec<Row> {
    serde_json::from_str(text).map_or_else(|_| Vec::new(), |shown: Shown<Row>| shown.rows)
}

fn application_names(interfaces: &str) -> impl Iterator<Item = String> + use<> {
    let is_application = |row: &ShownInterface| row.kind.as_deref() == Some("application");
    rows(interfaces).into_iter().filter(is_application).filter_map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::{Script, connected};
    use super::super::fence::InEpoch;
    use super::*;

    #[test]
    fn of_rows_only_what_is_asked_for_is_read() {
        let uuids = |text: &str| -> Vec<_> {
            rows(text).into_iter().filter_map(|row: ShownChannel| row.uuid).collect()
        };
        let list =
            r#"{"row_count":3,"rows":[{"uuid":"a","b_uuid":"x","n":[1,{}]},{"uuid":null},{"uuid":"b"},{}]}"#;
        assert_eq!(uuids(list), ["a", "b"]);
        assert!(uuids(r#"{"row_count":0}"#).is_empty() && uuids("-ERR row_count").is_empty());
        let interfaces = r#"{"rows":[{"type":"api","name":"x"},{"type":"application","name":"play"},{"type":"application"}]}"#;
        assert_eq!(application_names(interfaces).collect::<Vec<_>>(), ["play"]);
    }

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

        fn fence(&self) -> Fence {
            Fence::None
        }

        fn in_epochs(&self, _: &[&str]) -> Vec<InEpoch> {
            Vec::new()
        }

        fn epoch_in(&self, _: &str) -> Option<u64> {
            None
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
            assert_eq!(script.heard().await, "api global_getvar core_uuid");
            script.say("Content-Type: api/response\nContent-Length: 3\n\n1-1").await;
            assert_eq!(script.heard().await, "bgapi show interfaces as json");
            let job_uuid = script.heard().await;
            script.reply("+OK").await;
            let list = r#"{"rows":[{"type":"application","name":"playback"}]}"#;
            let body =
                format!("Event-Name: BACKGROUND_JOB\n{job_uuid}\nContent-Length: {}\n\n{list}", list.len());
            let head = format!("Content-Length: {}\nContent-Type: text/event-plain\n\n", body.len());
            script.say(&(head + &body)).await;
        };
        let config: SwitchConfig =
            toml::from_str("name = \"pbx\"\naddress = \"a:1\"\npassword = \"\"\nfence = \"none\"\n").unwrap();
        let attaching = Attachment::begin(Arc::new(connection), answers.clone(), &config);
        let (attachment, ()) = tokio::join!(attaching, switch);
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
}

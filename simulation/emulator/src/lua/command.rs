//! The API commands `lua` and `luarun`.
//!
//! A script runs to its end at once, unless it sleeps or [`Config::lua_pause_ms`](crate::Config::lua_pause_ms) holds
//! it up: then the rest of the switch goes on, and the reply waits. On a real switch the same goes for every moment of
//! a script.

use std::time::Duration;

use super::{Answer, Caller, PRELUDE, Progress, Question, Script, Surroundings, command_line};
use crate::limits::SCRIPT_DEPTH_MAX;
use crate::switch::{ConnectionId, JobId, Switch, Timer};

/// The reply of a script that cannot be loaded or that breaks off; why is only in the log (transcript
/// c_api_bgapi/api_replies, `lua -s return`).
const CANNOT_EXECUTE: &str = "-ERR Cannot execute script\n";

/// A script that answers an API command.
#[derive(Debug)]
pub(crate) struct ApiScript {
    script: Script,
    output: String,
    by: Option<ConnectionId>,
}

impl Switch {
    /// `lua <script> [<argument>...]`: what it wrote, `None` if that comes later.
    pub(crate) fn api_lua(&mut self, job: JobId, by: Option<ConnectionId>, argument: &str) -> Option<String> {
        if argument.is_empty() {
            return Some(String::new());
        }
        match self.load_script(argument, None, true) {
            Ok(script) => {
                let running = ApiScript { script, output: String::new(), by };
                self.run_api_script(job, running, None)
            }
            Err(message) => {
                self.log("ERR", &message, "");
                Some(CANNOT_EXECUTE.into())
            }
        }
    }

    /// `luarun <script> [<argument>...]`: runs it in a thread of its own and does not wait for it.
    pub(crate) fn api_luarun(&mut self, by: Option<ConnectionId>, argument: &str) -> String {
        if argument.is_empty() {
            return "-ERR no args specified!\n".into();
        }
        let job = JobId(self.next_job);
        self.next_job += 1;
        match self.load_script(argument, None, false) {
            Ok(script) => {
                let running = ApiScript { script, output: String::new(), by };
                self.run_api_script(job, running, None);
            }
            Err(message) => self.log("ERR", &message, ""),
        }
        "+OK\n".into()
    }

    /// Loads the script that a command line names.
    pub(super) fn load_script(
        &mut self,
        text: &str,
        channel: Option<&str>,
        writes: bool,
    ) -> Result<Script, String> {
        let arguments = command_line(text);
        let name = arguments.first().map_or("", String::as_str);
        let Some(source) = self.config.lua_scripts.get(name) else {
            return Err(format!("cannot open {name}"));
        };
        if self.scripts.depth >= SCRIPT_DEPTH_MAX {
            return Err(format!("{name}: too many scripts inside each other"));
        }
        let depth = self.scripts.depth;
        let prelude = self.scripts.compile("=prelude", PRELUDE)?;
        let code = self.scripts.compile(&format!("@{name}"), source)?;
        Script::new(&prelude, &code, &Surroundings { arguments: &arguments, channel, writes, depth })
    }

    /// Whether this command is a script that waits.
    pub(crate) fn is_script(&self, job: JobId) -> bool {
        self.scripts.waiting.contains_key(&job)
    }

    /// A script has waited long enough.
    pub(crate) fn resume_api_script(&mut self, job: JobId) {
        let Some(mut running) = self.scripts.waiting.remove(&job) else { return };
        let question = running.script.pending.take();
        if let Some(output) = self.run_api_script(job, running, question) {
            self.finish_job(job, &output);
        }
    }

    /// The API command for which a script waits is done.
    pub(crate) fn answer_waiting_script(&mut self, caller: &Caller, result: &str) {
        let answer = Some(Answer::Text(result.to_owned()));
        match caller {
            Caller::Channel(uuid) => self.answer_channel_script(uuid, answer),
            Caller::Command(job) => {
                if let Some(running) = self.scripts.waiting.get_mut(job) {
                    running.script.answer = answer;
                    self.resume_api_script(*job);
                }
            }
        }
    }

    /// Lets a script go on, with a question that was held up if there is one, until it ends, giving what it wrote, or has
    /// to wait.
    fn run_api_script(
        &mut self,
        job: JobId,
        mut running: ApiScript,
        mut held_up: Option<Question>,
    ) -> Option<String> {
        loop {
            let question = match held_up.take() {
                Some(question) => question,
                None => match running.script.go_on() {
                    Progress::Asks(question) => {
                        if let Some(pause) = self.pause_before(&question) {
                            running.script.pending = Some(question).filter(|question| !question.is_sleep());
                            self.scripts.waiting.insert(job, running);
                            self.arm(self.now + pause, Timer::Job(job));
                            return None;
                        }
                        question
                    }
                    Progress::Ended => return Some(running.output),
                    Progress::Failed(message) => {
                        self.log("ERR", &message, "");
                        return Some(running.output + CANNOT_EXECUTE);
                    }
                },
            };
            let answer = match question {
                Question::Write { text } => {
                    running.output.push_str(&text);
                    Some(Answer::Nothing)
                }
                other => self.answer_anywhere(Caller::Command(job), &running.script, running.by, other),
            };
            let waits = answer.is_none();
            running.script.answer = answer;
            if waits {
                self.scripts.waiting.insert(job, running);
                return None;
            }
        }
    }

    /// Answers what a script may ask wherever it runs; `None` if the answer comes later.
    pub(super) fn answer_anywhere(
        &mut self,
        caller: Caller,
        script: &Script,
        by: Option<ConnectionId>,
        question: Question,
    ) -> Option<Answer> {
        Some(match question {
            Question::Api { command, argument } => {
                let fenced = self.fenced_command(&script.arguments, &command, &argument);
                let outside = std::mem::replace(&mut self.scripts.depth, script.depth + 1);
                let result = self.call_api_for(caller, by, &command, &argument);
                self.scripts.depth = outside;
                // All that is fenced answers at once.
                if let Some(fenced) = fenced {
                    self.note_fenced_command(fenced, by, result.as_deref().unwrap_or_default());
                }
                Answer::Text(result?)
            }
            Question::Fire { name, subclass, body, headers } => {
                self.fire_from_script(&name, &subclass, &headers, &body);
                Answer::Truth(true)
            }
            Question::Log { level, text } => {
                self.log(&level, text.trim_end_matches('\n'), "");
                Answer::Nothing
            }
            // Without a session there is nobody to ask.
            _ => Answer::Nothing,
        })
    }

    /// How long a script waits before a question is answered.
    pub(super) fn pause_before(&mut self, question: &Question) -> Option<Duration> {
        if let Question::Sleep { milliseconds } = question {
            return Some(Duration::from_millis(*milliseconds));
        }
        if *self.config.lua_pause_ms.end() == 0 {
            return None;
        }
        let pause = self.random_delay(&self.config.lua_pause_ms.clone());
        Some(pause).filter(|pause| !pause.is_zero())
    }
}

//! The application `lua`: a script in a channel's thread.

use std::time::Duration;

use super::{Answer, Caller, Progress, Question, Script};
use crate::applications::Started;
use crate::cause::Cause;
use crate::channel::{Doing, Uuid};
use crate::dialplan::Action;
use crate::ledger::HungUpBy;
use crate::switch::Switch;

impl Switch {
    /// `lua <script> [<argument>...]`. One that cannot be loaded does nothing but log.
    pub(crate) fn start_lua(&mut self, uuid: &Uuid, argument: &str) -> Started {
        match self.load_script(argument, Some(uuid), false) {
            Ok(script) => Started::Runs(Doing::Script(Some(Box::new(script))), None),
            Err(message) => {
                self.log("ERR", &message, uuid);
                Started::Done(None)
            }
        }
    }

    /// The innermost thing in a channel's thread is a script whose time has come: it goes on until it executes an
    /// application, has to wait or ends.
    pub(crate) fn resume_script(&mut self, uuid: &Uuid) {
        let Some(mut script) = self.take_script(uuid) else { return };
        let mut held_up = script.pending.take();
        loop {
            let question = match held_up.take() {
                Some(question) => question,
                None => match script.go_on() {
                    Progress::Asks(question) => {
                        if let Some(pause) = self.pause_before(&question) {
                            script.pending = Some(question).filter(|question| !question.is_sleep());
                            return self.put_script(uuid, script, pause);
                        }
                        question
                    }
                    Progress::Ended => return self.complete_frame(uuid),
                    Progress::Failed(message) => {
                        self.log("ERR", &message, uuid);
                        return self.complete_frame(uuid);
                    }
                },
            };
            match question {
                Question::Execute { application, argument }
                    if !application.is_empty() && self.may_execute(uuid, &application) =>
                {
                    self.put_script(uuid, script, Duration::ZERO);
                    return self.execute(uuid, Action::new(application, argument), None);
                }
                question => script.answer = self.answer_session(uuid, &script, question),
            }
            if script.answer.is_none() {
                script.waits = true;
                return self.put_script(uuid, script, Duration::ZERO);
            }
        }
    }

    /// The API command for which a channel's script waits is done.
    pub(super) fn answer_channel_script(&mut self, uuid: &Uuid, answer: Option<Answer>) {
        self.modify(uuid, |channel| {
            let scripts = channel.stack.iter_mut().rev().filter_map(|frame| match &mut frame.doing {
                Doing::Script(Some(script)) if script.waits => Some(script),
                _ => None,
            });
            if let Some(script) = scripts.into_iter().next() {
                script.waits = false;
                script.answer = answer;
            }
        });
        self.make_runnable(uuid);
    }

    fn take_script(&mut self, uuid: &Uuid) -> Option<Box<Script>> {
        match &mut self.channels.get_mut(uuid)?.stack.last_mut()?.doing {
            Doing::Script(script) => script.take(),
            _ => None,
        }
    }

    /// Leaves a script where it was, for `pause` at least.
    fn put_script(&mut self, uuid: &Uuid, script: Box<Script>, pause: Duration) {
        let until = self.now + pause;
        self.modify(uuid, |channel| {
            if let Some(frame) = channel.stack.last_mut() {
                frame.doing = Doing::Script(Some(script));
                frame.until = Some(until);
            }
        });
    }

    /// Answers a script in a channel's thread; `None` if the answer comes later.
    fn answer_session(&mut self, uuid: &Uuid, script: &Script, question: Question) -> Option<Answer> {
        let Some(channel) = self.channels.get(uuid) else { return Some(Answer::Nothing) };
        let commanded = channel.commanded_by();
        Some(match question {
            Question::Ready => Answer::Truth(channel.is_ready()),
            Question::Get { name } => self.variable(uuid, &name).map_or(Answer::Nothing, Answer::Text),
            Question::Set { name, value } => {
                self.set_variable(uuid, &name, value);
                Answer::Nothing
            }
            Question::Hangup { cause } => {
                let by = commanded.map_or(HungUpBy::Switch, HungUpBy::Controller);
                self.hang_up(uuid, Cause::named(&cause), by);
                Answer::Nothing
            }
            other => {
                let caller = Caller::Channel(uuid.clone());
                return self.answer_anywhere(caller, script, commanded.flatten(), other);
            }
        })
    }
}

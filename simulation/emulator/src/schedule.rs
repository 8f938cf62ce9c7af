//! Scheduled tasks: `sched_transfer`, `sched_hangup`, `sched_api`, and `sched_del` by number or by group.
//!
//! The scheduler of FreeSWITCH is a thread that looks at all its tasks every half second, and at once when one is added.
//! It counts in whole seconds, and a task that is deleted is gone only when it looks again (transcript
//! h_encoding_misc/heartbeat_reschedule_api_plain).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::ReplyTo;
use crate::applications::simple_target;
use crate::cause::Cause;
use crate::channel::Uuid;
use crate::connection::split_word;
use crate::ledger::HungUpBy;
use crate::limits::{TABLE_VALUE_MAX_BYTES, TASKS_MAX};
use crate::switch::{Switch, Timer};
use crate::time::Time;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The tasks of the switch itself and of its modules, which have the first numbers (transcript
/// c_api_bgapi/api_replies, where the first that is added is 4).
const OWN_TASKS: u64 = 3;

const NO_CHANNEL: &str = "-ERR No such channel!\n";

/// The tasks that wait, by their number.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    tasks: BTreeMap<u64, Task>,
    added: u64,
    looks_at: Option<Time>,
    /// It looks now.
    looking: bool,
}

#[derive(Debug, Clone)]
struct Task {
    /// A channel's uuid, or a name that a controller gave.
    group: String,
    /// In seconds since 1970.
    runtime: u64,
    /// It runs again after so many seconds, unless that is zero.
    repeat_seconds: u64,
    what: What,
    /// It is gone when the scheduler looks again.
    deleted: bool,
}

#[derive(Debug, Clone)]
enum What {
    Transfer { uuid: Uuid, target: String },
    Hangup { uuid: Uuid, cause: Cause },
    Api(String),
}

impl What {
    fn description(&self) -> &'static str {
        match self {
            Self::Transfer { .. } => "switch_ivr_schedule_transfer",
            Self::Hangup { .. } => "switch_ivr_schedule_hangup",
            Self::Api(_) => "sched_api_function",
        }
    }
}

/// When a task is to run, as its first word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// `+5`: in so many seconds.
    In(u64),
    /// `@5`: every so many seconds.
    Every(u64),
    /// `1795406590`: at that second since 1970. One that is past repeats after so many seconds.
    At(u64),
}

impl When {
    fn parse(text: &str) -> Self {
        let seconds = |text: &str| {
            let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
            text[..digits].parse().unwrap_or(0)
        };
        match text.split_at_checked(1) {
            Some(("+", rest)) => Self::In(seconds(rest)),
            Some(("@", rest)) => Self::Every(seconds(rest)),
            _ => Self::At(seconds(text)),
        }
    }

    fn runtime_and_repeat(self, now: u64) -> (u64, u64) {
        match self {
            Self::In(seconds) => (now.saturating_add(seconds), 0),
            Self::Every(seconds) => (now.saturating_add(seconds), seconds),
            Self::At(second) if second < now => (now + second, second),
            Self::At(second) => (second, 0),
        }
    }
}

impl Switch {
    /// The application `sched_transfer`: `[+]<seconds> <extension> [<dialplan>] [<context>]`
    pub(crate) fn schedule_transfer(&mut self, uuid: &Uuid, argument: &str) {
        let (when, target) = split_word(argument.trim());
        if target.is_empty() {
            return;
        }
        let what = What::Transfer { uuid: uuid.clone(), target: target.to_owned() };
        if let Some(number) = self.add_task(When::parse(when), uuid, what) {
            self.set_variable(uuid, "last_sched_id", number.to_string());
        }
    }

    /// The application `sched_hangup`: `[+]<seconds> [<cause>]`. In no time is at once.
    pub(crate) fn schedule_hangup(&mut self, uuid: &Uuid, argument: &str) {
        let (when, cause) = split_word(argument.trim());
        let cause = split_word(cause).0;
        let cause = Cause::named(if cause.is_empty() { "ALLOTTED_TIMEOUT" } else { cause });
        match When::parse(when) {
            When::In(0) => self.hang_up(uuid, cause, HungUpBy::Switch),
            when => {
                self.add_task(when, uuid, What::Hangup { uuid: uuid.clone(), cause });
            }
        }
    }

    /// `sched_transfer [+]<seconds> <uuid> <extension> [<dialplan>] [<context>]`
    pub(crate) fn api_sched_transfer(&mut self, argument: &str) -> String {
        if !(2..=5).contains(&argument.split_ascii_whitespace().count()) {
            return "-USAGE: [+]<time> <uuid> <extension> [<dialplan>] [<context>]\n".into();
        }
        let (when, rest) = split_word(argument.trim());
        let (uuid, target) = split_word(rest);
        let Some(uuid) = self.channels.get(uuid).map(|channel| channel.uuid.clone()) else {
            return NO_CHANNEL.into();
        };
        let what = What::Transfer { uuid: uuid.clone(), target: target.to_owned() };
        self.add_task(When::parse(when), &uuid, what);
        "+OK\n".into()
    }

    /// `sched_hangup [+]<seconds> <uuid> [<cause>]`
    pub(crate) fn api_sched_hangup(&mut self, argument: &str) -> String {
        if argument.trim().is_empty() {
            return "-USAGE: [+]<time> <uuid> [<cause>]\n".into();
        }
        let (when, rest) = split_word(argument.trim());
        let (uuid, cause) = split_word(rest);
        let Some(uuid) = self.channels.get(uuid).map(|channel| channel.uuid.clone()) else {
            return NO_CHANNEL.into();
        };
        self.schedule_hangup(&uuid, &format!("{when} {cause}"));
        "+OK\n".into()
    }

    /// `sched_api [+@]<seconds> <group> <command>`; `@` repeats it.
    pub(crate) fn api_sched_api(&mut self, argument: &str) -> String {
        let words = argument.split_once(' ').and_then(|(when, rest)| Some((when, rest.split_once(' ')?)));
        let Some((when, (group, command))) = words else {
            return "-ERR Invalid syntax. USAGE: [+@]<time> <group_name> <command_string>[&]\n".into();
        };
        // With `&` it has a thread of its own, which makes no difference here.
        let command = command.strip_suffix('&').unwrap_or(command).to_owned();
        match self.add_task(When::parse(when), group, What::Api(command)) {
            Some(number) => format!("+OK Added: {number}\n"),
            None => "-ERR the emulated scheduler has no room for it\n".into(),
        }
    }

    /// `sched_del <number>|<group>`
    pub(crate) fn api_sched_del(&mut self, which: &str) -> String {
        if which.is_empty() {
            return "-ERR Invalid syntax\n".into();
        }
        let is_number = which.bytes().all(|byte| byte.is_ascii_digit());
        let deleted = if is_number { self.delete_task(which) } else { self.delete_tasks_of(which) };
        format!("+OK Deleted: {deleted}\n")
    }

    /// `unsched_api <number>`
    pub(crate) fn api_unsched_api(&mut self, which: &str) -> String {
        if which.is_empty() {
            return "-ERR Invalid syntax. USAGE: <task_id>\n".into();
        }
        if self.delete_task(which) == 1 { "+OK\n".into() } else { "-ERR No such id\n".into() }
    }

    fn delete_task(&mut self, number: &str) -> usize {
        let task = number.parse().ok().and_then(|number: u64| self.schedule.tasks.get_mut(&number));
        task.map_or(0, |task| {
            task.deleted = true;
            1
        })
    }

    /// Deletes a group: also the tasks of a channel that ends.
    pub(crate) fn delete_tasks_of(&mut self, group: &str) -> usize {
        let tasks = self.schedule.tasks.values_mut();
        let own = tasks.filter(|task| !task.deleted && task.group == group);
        own.map(|task| task.deleted = true).count()
    }

    /// The rows of `show tasks`.
    pub(crate) fn task_rows(&self) -> Vec<Vec<String>> {
        let row = |(number, task): (&u64, &Task)| {
            let description = task.what.description().to_owned();
            let hostname = self.config.hostname.clone();
            vec![
                number.to_string(),
                description,
                task.group.clone(),
                task.runtime.to_string(),
                "0".into(),
                hostname,
            ]
        };
        self.schedule.tasks.iter().map(row).collect()
    }

    fn add_task(&mut self, when: When, group: &str, what: What) -> Option<u64> {
        let is_long = matches!(&what, What::Api(command) if command.len() > TABLE_VALUE_MAX_BYTES);
        if is_long || self.schedule.tasks.len() >= TASKS_MAX {
            return None;
        }
        self.schedule.added += 1;
        let number = OWN_TASKS + self.schedule.added;
        let (runtime, repeat_seconds) = when.runtime_and_repeat(self.wall_micros() / 1_000_000);
        let task = Task { group: group.to_owned(), runtime, repeat_seconds, what, deleted: false };
        self.tell_task("ADD_SCHEDULE", number, &task);
        self.schedule.tasks.insert(number, task);
        self.look_at_tasks(self.now);
        Some(number)
    }

    fn tell_task(&mut self, name: &'static str, number: u64, task: &Task) {
        let (number, runtime) = (number.to_string(), task.runtime.to_string());
        let headers = [
            ("Task-ID", number.as_str()),
            ("Task-Desc", task.what.description()),
            ("Task-Group", task.group.as_str()),
            ("Task-Runtime", runtime.as_str()),
        ];
        self.fire_core(name, None, &headers, None);
    }

    fn look_at_tasks(&mut self, at: Time) {
        // What a task adds waits for the next look: one that adds itself would never let this one end.
        if self.schedule.looking {
            return;
        }
        if self.schedule.looks_at.is_none_or(|present| present > at) {
            self.schedule.looks_at = Some(at);
            self.arm(at, Timer::Schedule);
        }
    }

    /// The scheduler looks: it runs what is due, then forgets what is over or was deleted.
    pub(crate) fn run_tasks(&mut self) {
        if self.schedule.looks_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.schedule.looks_at = None;
        let second = self.wall_micros() / 1_000_000;
        let due = |(_, task): &(&u64, &Task)| !task.deleted && task.runtime <= second;
        let due: Vec<u64> = self.schedule.tasks.iter().filter(due).map(|(number, _)| *number).collect();
        self.schedule.looking = true;
        for number in due {
            self.run_task(number, second);
        }
        self.schedule.looking = false;
        let deleted = self.schedule.tasks.iter().filter(|(_, task)| task.deleted);
        let deleted: Vec<u64> = deleted.map(|(number, _)| *number).collect();
        for number in deleted {
            if let Some(task) = self.schedule.tasks.remove(&number) {
                self.tell_task("DEL_SCHEDULE", number, &task);
            }
        }
        if !self.schedule.tasks.is_empty() {
            self.look_at_tasks(self.now + LOOK_INTERVAL);
        }
    }

    fn run_task(&mut self, number: u64, second: u64) {
        // One that ran before it may have deleted it.
        let Some(task) = self.schedule.tasks.get(&number).filter(|task| !task.deleted) else { return };
        match task.what.clone() {
            What::Transfer { uuid, target } => {
                let (number, dialplan, context) = simple_target(&target);
                self.transfer(&uuid, number, dialplan, context);
            }
            What::Hangup { uuid, cause } => self.hang_up(&uuid, cause, HungUpBy::Switch),
            What::Api(command) => self.run_api(ReplyTo::Nobody, &command),
        }
        let Some(task) = self.schedule.tasks.get_mut(&number) else { return };
        if task.deleted || task.repeat_seconds == 0 {
            task.deleted = true;
            return;
        }
        task.runtime = second.saturating_add(task.repeat_seconds);
        let task = task.clone();
        self.tell_task("RE_SCHEDULE", number, &task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |text: &str| When::parse(text).runtime_and_repeat(1_000);
        assert_eq!(at("+5"), (1_005, 0));
        assert_eq!(at("@5"), (1_005, 5));
        assert_eq!(at("2000"), (2_000, 0));
        assert_eq!(at("60"), (1_060, 60));
        assert_eq!((at(""), at("x"), at("+x")), ((1_000, 0), (1_000, 0), (1_000, 0)));
    }
}

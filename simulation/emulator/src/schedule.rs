//! Scheduled tasks: `sched_transfer`, `sched_hangup`, `sched_api`, and `sched_del` by number or by group.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::ReplyTo;
use crate::applications::simple_target;
use crate::cause::Cause;
use crate::channel::Uuid;
use crate::connection::split_word;
use crate::ledger::HungUpBy;
use crate::limits::TASKS_MAX;
use crate::switch::{Switch, Timer};

/// The tasks that wait, by their number.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    tasks: BTreeMap<u64, Task>,
    last: u64,
}

#[derive(Debug, Clone)]
struct Task {
    /// A channel's uuid, or a name that a controller gave.
    group: String,
    runtime: u64,
    what: What,
    /// It runs again after this.
    every: Option<Duration>,
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

impl Switch {
    /// The application `sched_transfer`: `[+]<seconds> <extension> [<dialplan>] [<context>]`
    pub(crate) fn schedule_transfer(&mut self, uuid: &Uuid, argument: &str) {
        let (when, target) = split_word(argument.trim());
        let what = What::Transfer { uuid: uuid.clone(), target: target.to_owned() };
        if let Some(delay) = self.delay_of(when) {
            self.add_task(delay, uuid, what, None);
        }
    }

    /// The application `sched_hangup`: `[+]<seconds> [<cause>]`
    pub(crate) fn schedule_hangup(&mut self, uuid: &Uuid, argument: &str) {
        let (when, cause) = split_word(argument.trim());
        let what = What::Hangup { uuid: uuid.clone(), cause: cause_or_timeout(cause) };
        if let Some(delay) = self.delay_of(when) {
            self.add_task(delay, uuid, what, None);
        }
    }

    /// `sched_transfer [+]<seconds> <uuid> <extension> [<dialplan>] [<context>]`
    pub(crate) fn api_sched_transfer(&mut self, argument: &str) -> String {
        let (when, rest) = split_word(argument.trim());
        let (uuid, target) = split_word(rest);
        let Some(uuid) = self.channels.get(uuid).map(|channel| channel.uuid.clone()) else {
            return "-ERR No such channel!\n".into();
        };
        self.schedule_transfer(&uuid, &format!("{when} {target}"));
        "+OK\n".into()
    }

    /// `sched_hangup [+]<seconds> <uuid> [<cause>]`
    pub(crate) fn api_sched_hangup(&mut self, argument: &str) -> String {
        let (when, rest) = split_word(argument.trim());
        let (uuid, cause) = split_word(rest);
        let Some(uuid) = self.channels.get(uuid).map(|channel| channel.uuid.clone()) else {
            return "-ERR No such channel!\n".into();
        };
        self.schedule_hangup(&uuid, &format!("{when} {cause}"));
        "+OK\n".into()
    }

    /// `sched_api [+@]<seconds> <group> <command>`; `@` repeats it.
    pub(crate) fn api_sched_api(&mut self, argument: &str) -> String {
        let (when, rest) = split_word(argument.trim());
        let (group, command) = split_word(rest);
        let repeated = when.strip_prefix('@');
        let delay =
            repeated.map_or_else(|| self.delay_of(when), |seconds| self.delay_of(&format!("+{seconds}")));
        let Some(delay) = delay.filter(|_| !command.is_empty()) else {
            return "-USAGE: [+@]<time> <group_name> <command_string>[&]\n".into();
        };
        let command = command.trim_end_matches('&').to_owned();
        match self.add_task(delay, group, What::Api(command), repeated.map(|_| delay)) {
            Some(number) => format!("+OK Added: {number}\n"),
            None => "-ERR the emulated scheduler is full\n".into(),
        }
    }

    /// `sched_del <number>|<group>`
    pub(crate) fn api_sched_del(&mut self, which: &str) -> String {
        let number = which.parse::<u64>().ok();
        let chosen = |(number_of, task): &(&u64, &Task)| Some(**number_of) == number || task.group == which;
        let numbers: Vec<u64> =
            self.schedule.tasks.iter().filter(chosen).map(|(number, _)| *number).collect();
        for number in &numbers {
            self.delete_task(*number);
        }
        format!("+OK Deleted: {}\n", numbers.len())
    }

    /// A channel's tasks end with it.
    pub(crate) fn delete_tasks_of(&mut self, uuid: &Uuid) {
        let own = |(_, task): &(&u64, &Task)| *task.group == **uuid;
        let numbers: Vec<u64> = self.schedule.tasks.iter().filter(own).map(|(number, _)| *number).collect();
        for number in numbers {
            self.delete_task(number);
        }
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

    fn delete_task(&mut self, number: u64) {
        if let Some(task) = self.schedule.tasks.remove(&number) {
            self.tell_task("DEL_SCHEDULE", number, &task);
        }
    }

    /// `+5` is in five seconds, `1795406590` at that second since 1970.
    fn delay_of(&self, when: &str) -> Option<Duration> {
        if let Some(seconds) = when.strip_prefix('+') {
            return seconds.parse().ok().map(Duration::from_secs);
        }
        let at: u64 = when.parse().ok()?;
        Some(Duration::from_micros(at.saturating_mul(1_000_000).saturating_sub(self.wall_micros())))
    }

    fn add_task(&mut self, delay: Duration, group: &str, what: What, every: Option<Duration>) -> Option<u64> {
        if self.schedule.tasks.len() >= TASKS_MAX {
            return None;
        }
        // 1 and 2 are the switch's own (transcript b_formats_call_life/sip_call_plain, RE_SCHEDULE).
        self.schedule.last = self.schedule.last.max(2) + 1;
        let number = self.schedule.last;
        let runtime = self.wall_micros() / 1_000_000 + delay.as_secs();
        let task = Task { group: group.to_owned(), runtime, what, every };
        self.tell_task("ADD_SCHEDULE", number, &task);
        self.schedule.tasks.insert(number, task);
        self.arm(self.now + delay, Timer::Task(number));
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

    pub(crate) fn run_task(&mut self, number: u64) {
        let Some(mut task) = self.schedule.tasks.remove(&number) else { return };
        self.tell_task("EXE_SCHEDULE", number, &task);
        let what = task.what.clone();
        if let Some(every) = task.every {
            task.runtime = self.wall_micros() / 1_000_000 + every.as_secs();
            self.tell_task("RE_SCHEDULE", number, &task);
            self.schedule.tasks.insert(number, task);
            // A period of nothing would never let time pass.
            self.arm(self.now + every.max(Duration::from_millis(500)), Timer::Task(number));
        }
        match what {
            What::Transfer { uuid, target } => {
                let (number, dialplan, context) = simple_target(&target);
                self.transfer(&uuid, number, dialplan, context);
            }
            What::Hangup { uuid, cause } => self.hang_up(&uuid, cause, HungUpBy::Switch),
            What::Api(command) => self.run_api(ReplyTo::Nobody, &command),
        }
    }
}

fn cause_or_timeout(name: &str) -> Cause {
    Cause::named(if name.is_empty() { "ALLOTTED_TIMEOUT" } else { name })
}

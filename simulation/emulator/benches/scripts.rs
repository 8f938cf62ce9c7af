//! Prints how much processor time takeovers and steps cost the emulated switch, as one JSON object.
//!
//!     cargo bench --package fipple-emulator --bench scripts

use std::time::Duration;

use fipple_emulator::{Config, ConnectionId, Input, Output, Switch, Time};

const CALLS: usize = 5_000;
const CALLS_PER_COMMAND: usize = 250;
const STEPS: usize = 1_000;

const CONTROLLER: ConnectionId = ConnectionId(1);

struct Bench {
    switch: Switch,
    now: Time,
    replies: usize,
}

impl Bench {
    fn new() -> Self {
        let config =
            Config { heartbeat: Duration::from_secs(1_000_000), sessions_max: CALLS, ..Config::default() };
        let mut bench = Self { switch: Switch::new(config, 1), now: Time(0), replies: 0 };
        bench.switch.handle(bench.now, Input::Connected(CONTROLLER));
        bench.say("auth ClueCon");
        bench.say("event plain CUSTOM fipple::step");
        bench
    }

    fn say(&mut self, command: &str) {
        self.switch.handle(self.now, Input::Received(CONTROLLER, format!("{command}\n\n").as_bytes()));
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            if let Output::Send { connection, bytes } = output {
                self.replies += String::from_utf8_lossy(&bytes).matches("+OK ").count();
                self.replies += String::from_utf8_lossy(&bytes).matches("Result: done").count();
                self.switch.handle(self.now, Input::Written(connection, bytes.len()));
            }
        }
    }

    fn wait_ms(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(at) = self.switch.next_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.switch.on_timeout(at);
            self.collect();
        }
        self.now = end;
    }

    /// Takes or raises all calls in batches.
    fn all_calls(&mut self, verb: &str, suffix: &str) {
        let calls: Vec<String> = (0..CALLS).map(|number| format!("call-{number}{suffix}")).collect();
        for batch in calls.chunks(CALLS_PER_COMMAND) {
            self.say(&format!("api lua fipple_fence.lua {verb} {}", batch.join(" ")));
        }
    }
}

/// Processor time of what is done, in milliseconds, and how many good answers came.
fn measured(bench: &mut Bench, action: impl FnOnce(&mut Bench)) -> (f64, usize) {
    let (before, replies) = (cpu_ms(), bench.replies);
    action(bench);
    (cpu_ms() - before, bench.replies - replies)
}

#[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
fn main() {
    let mut bench = Bench::new();
    let (originate_ms, _) = measured(&mut bench, |bench| {
        for number in 0..CALLS {
            bench.say(&format!(
                "api originate {{origination_uuid=call-{number},fipple_epoch=0,fipple_done=0}}null/x &park()"
            ));
        }
        bench.wait_ms(1_000);
    });
    let (take_ms, taken) = measured(&mut bench, |bench| bench.all_calls("take node1", ":1"));
    let (raise_ms, raised) = measured(&mut bench, |bench| bench.all_calls("raise", ""));
    let (step_ms, done) = measured(&mut bench, |bench| {
        for number in 0..STEPS {
            bench.say(&format!(
                "sendmsg call-{number}\ncall-command: execute\nexecute-app-name: lua\nevent-lock: true\n\
                 execute-app-arg: fipple_step.lua 2 1 set 613d31"
            ));
        }
        bench.wait_ms(1_000);
    });
    let (run_ms, ran) = measured(&mut bench, |bench| {
        for number in 0..STEPS {
            bench.say(&format!(
                "bgapi lua fipple_fence.lua run call-{number}:2 k{number:016x} uuid_getvar 75"
            ));
        }
        bench.wait_ms(1_000);
    });
    println!(
        "{{\"calls\":{CALLS},\"originate_ms\":{originate_ms:.1},\"taken\":{taken},\"take_ms\":{take_ms:.1},\
         \"raised\":{raised},\"raise_ms\":{raise_ms:.1},\"steps\":{STEPS},\"done\":{done},\"step_ms\":{step_ms:.1},\
         \"answered\":{ran},\"run_ms\":{run_ms:.1}}}"
    );
}

/// Processor time of this thread so far; 0 where the system does not tell.
#[expect(clippy::disallowed_methods, reason = "it is the system's own answer")]
fn cpu_ms() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split_ascii_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    nanoseconds.unwrap_or(0.0) / 1e6
}

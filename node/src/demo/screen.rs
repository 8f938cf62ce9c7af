//! What the audience sees: a table that is drawn over itself on a terminal, a line a second elsewhere, and the
//! summary.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use fipple_emulator::Counts;
use serde_json::{Value, json};

use super::DemoArguments;
use super::figures::milliseconds;
use super::nodes::Nodes;
use super::observe::ClusterView;
use super::traffic::Traffic;
use crate::Error;
use crate::cli::table::{Table, or_dash};

/// Where pictures and notes go.
pub(super) struct Screen {
    /// Standard error where standard output is for JSON.
    to_stderr: bool,
    /// Whether a picture may be drawn over the one before.
    redraws: bool,
    /// Height of the last picture.
    lines: usize,
    last_events: u64,
}

/// Everything that a picture shows.
pub(super) struct Moment<'a> {
    pub(super) arguments: &'a DemoArguments,
    pub(super) nodes: &'a Nodes,
    pub(super) traffic: &'a Traffic,
    /// Of every switch.
    pub(super) counts: Vec<Counts>,
    /// An error where no node answered just now.
    pub(super) view: Result<ClusterView, Error>,
    pub(super) elapsed: Duration,
}

impl Screen {
    /// With `json`, standard output stays free for the summary.
    pub(super) fn new(json: bool) -> Self {
        Self { to_stderr: json, redraws: !json && io::stdout().is_terminal(), lines: 0, last_events: 0 }
    }

    /// A line that stays.
    pub(super) fn note(&mut self, text: &str) {
        self.lines = 0;
        self.write(&format!("{text}\n"));
    }

    /// A picture, once a second.
    pub(super) fn draw(&mut self, moment: &Moment<'_>) {
        let events: u64 = moment.counts.iter().map(|counts| counts.events_sent).sum();
        let events_a_second = events - self.last_events;
        self.last_events = events;
        if !self.redraws {
            return self.write(&format!("{}\n", line(moment, events_a_second)));
        }
        let picture = picture(moment, events_a_second);
        // Up to the first line of the last picture, and away with it.
        let erase = if self.lines > 0 { format!("\x1b[{}A\x1b[J", self.lines) } else { String::new() };
        self.lines = picture.lines().count();
        self.write(&format!("{erase}{picture}\n"));
    }

    /// A screen that nobody looks at any more is no reason to stop.
    fn write(&self, text: &str) {
        let _unseen = if self.to_stderr {
            io::stderr().write_all(text.as_bytes())
        } else {
            io::stdout().write_all(text.as_bytes())
        };
    }
}

fn line(moment: &Moment<'_>, events_a_second: u64) -> String {
    let traffic = moment.traffic;
    let alive = moment.nodes.alive().count();
    let time = &traffic.time_to_answer;
    let mut line = format!(
        "{:>4} s  nodes {alive}/{}  calls started {} controlled {} active {} faulty {}  events/s {events_a_second}  \
         answer p50 {} p99 {}",
        moment.elapsed.as_secs(),
        moment.nodes.all.len(),
        traffic.placed,
        traffic.controlled,
        traffic.under_way(),
        traffic.faulty,
        milliseconds(time.percentile(50)),
        milliseconds(time.percentile(99)),
    );
    if let Some(orphans) = chaos(traffic) {
        line.push_str(&format!("  {orphans}"));
    }
    line
}

fn picture(moment: &Moment<'_>, events_a_second: u64) -> String {
    let Moment { arguments, nodes, traffic, counts, view, elapsed } = moment;
    let length =
        arguments.duration.map_or("until Ctrl-C".into(), |length| format!("of {} s", length.as_secs()));
    let time = &traffic.time_to_answer;
    let mut parts =
        vec![format!("fipple demo: {} s {length}, {} calls/s\n", elapsed.as_secs(), arguments.rate)];
    parts.push(node_table(nodes, view.as_ref().ok()));
    parts.push(String::new());
    parts.push(switch_table(traffic, counts, view.as_ref().ok()));
    parts.push(format!(
        "\ncalls      {} started, {} controlled to their end, {} active, {} faulty\n\
         answered   p50 {}, p99 {}, longest {} after they were parked\n\
         events     {events_a_second}/s to the nodes",
        traffic.placed,
        traffic.controlled,
        traffic.under_way(),
        traffic.faulty,
        milliseconds(time.percentile(50)),
        milliseconds(time.percentile(99)),
        milliseconds(time.longest()),
    ));
    parts.extend(chaos(traffic));
    parts.extend(view.as_ref().err().map(|error| format!("no node answers just now: {error}")));
    parts.join("\n")
}

fn node_table(nodes: &Nodes, view: Option<&ClusterView>) -> String {
    let mut table = Table::new(["NODE", "PID", "STATE", "CALLS OWNED", "ATTACHED TO"]);
    for node in &nodes.all {
        let state = match view.and_then(|view| view.members.get(&node.name)) {
            _ if node.killed => "killed".to_owned(),
            state => or_dash(state),
        };
        let owned = view.map(|view| view.owned_by(&node.name).len());
        let attached =
            view.map(|view| view.attached_to(&node.name).join(" ")).filter(|names| !names.is_empty());
        table.row([node.name.clone(), node.pid().to_string(), state, or_dash(owned), or_dash(attached)]);
    }
    table.render()
}

fn switch_table(traffic: &Traffic, counts: &[Counts], view: Option<&ClusterView>) -> String {
    let mut table = Table::new(["SWITCH", "ADDRESS", "ATTACHED NODE", "CHANNELS", "CALLS DONE"]);
    for (switch, counts) in traffic.switches.iter().zip(counts) {
        let attached = view.and_then(|view| view.attached.get(&switch.name)?.clone());
        table.row([
            switch.name.clone(),
            switch.address.to_string(),
            or_dash(attached),
            counts.channels.to_string(),
            counts.channels_ended.to_string(),
        ]);
    }
    table.render()
}

/// What became of the killed node's calls, if one was killed.
fn chaos(traffic: &Traffic) -> Option<String> {
    let orphans = traffic.orphans.as_ref()?;
    Some(format!(
        "killed {} (SIGKILL), which owned {} calls: {} went on elsewhere, the longest wait for the next command {}",
        orphans.node,
        orphans.owned,
        orphans.taken_over,
        milliseconds(orphans.waits.longest()),
    ))
}

/// The demonstration, when it is over.
pub(super) struct Summary {
    pub(super) lasted: Duration,
    pub(super) nodes: usize,
    pub(super) killed: usize,
    pub(super) traffic: Traffic,
}

impl Summary {
    /// For people.
    pub(super) fn text(&self) -> String {
        let Traffic { placed, controlled, faulty, steps_repeated, time_to_answer, .. } = &self.traffic;
        let mut lines = vec![format!(
            "\n{placed} calls in {:.1} s through {} nodes ({} killed): {controlled} controlled to their end, \
             {faulty} faulty, {steps_repeated} steps repeated\nanswered p50 {}, p99 {}, longest {} after they were \
             parked",
            self.lasted.as_secs_f64(),
            self.nodes,
            self.killed,
            milliseconds(time_to_answer.percentile(50)),
            milliseconds(time_to_answer.percentile(99)),
            milliseconds(time_to_answer.longest()),
        )];
        lines.extend(chaos(&self.traffic));
        lines.extend(self.traffic.faults.iter().cloned());
        lines.join("\n")
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Traffic { placed, controlled, faulty, faults, steps_repeated, time_to_answer, orphans, .. } =
            &self.traffic;
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        json!({
            "duration_seconds": self.lasted.as_secs_f64(),
            "nodes": self.nodes,
            "nodes_killed": self.killed,
            "calls_started": placed,
            "calls_controlled": controlled,
            "calls_faulty": faulty,
            "faults": faults,
            "steps_repeated": steps_repeated,
            "time_to_answer_ms": {
                "p50": ms(time_to_answer.percentile(50)),
                "p99": ms(time_to_answer.percentile(99)),
                "longest": ms(time_to_answer.longest()),
            },
            "takeover": orphans.as_ref().map(|orphans| json!({
                "killed": orphans.node,
                "calls_owned": orphans.owned,
                "calls_taken_over": orphans.taken_over,
                "longest_wait_ms": ms(orphans.waits.longest()),
            })),
        })
    }

    /// Whether it went as it should.
    pub(super) fn judge(&self) -> Result<(), Error> {
        let Traffic { placed, controlled, .. } = &self.traffic;
        if *placed > 0 && controlled == placed {
            return Ok(());
        }
        Err(Error::Demo(format!("only {controlled} of {placed} calls were controlled to their end")))
    }
}

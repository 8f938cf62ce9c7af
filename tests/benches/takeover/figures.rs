//! Figures, and what the kernel says of processes.

use std::fmt;

use fipple_tests::NodeProcess;
use serde_json::{Value, json};

/// How some durations spread, in milliseconds.
pub(crate) struct Spread {
    sorted: Vec<f64>,
}

impl Spread {
    pub(crate) fn of(mut durations: Vec<f64>) -> Self {
        durations.sort_by(f64::total_cmp);
        Self { sorted: durations }
    }

    fn at(&self, part: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn to_json(&self) -> Value {
        let round = |part| (self.at(part) * 100.0).round() / 100.0;
        json!({"n": self.sorted.len(), "p50": round(0.5), "p90": round(0.9), "p99": round(0.99), "max": round(1.0)})
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (middle, late, last) = (self.at(0.5), self.at(0.99), self.at(1.0));
        write!(formatter, "p50 {middle:.1} ms, p99 {late:.1} ms, max {last:.1} ms")
    }
}

/// A table for people.
pub(crate) fn print_table(rows: &[(String, String)]) {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    println!();
    for (name, figure) in rows {
        println!("{name:width$}  {figure}");
    }
}

/// The load of the machine over the last minute.
pub(crate) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// Memory of a node, by its name in the kernel's list: `VmRSS` is all that is there, and `RssAnon` what of it is the node's
/// own and no page of the program, of which every node on a machine uses the same.
pub(crate) fn memory_mb(node: &NodeProcess, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.process_id())).unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = kilobytes.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1_024.0
}

/// How long a node has used a processor, in seconds. Linux counts it in hundredths for programs, whatever its own tick.
pub(crate) fn processor_seconds(node: &NodeProcess) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.process_id())).unwrap_or_default();
    // Behind the name, which is in brackets and may hold spaces, the 12th and 13th field are user and system time.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

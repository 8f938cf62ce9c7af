//! API commands that tell about the switch as a whole.

use crate::switch::Switch;
use crate::time::uptime;

/// `FreeSWITCH-Version`: that of the transcripts.
pub(crate) const VERSION: &str = "1.11.3-dev~64bit";

impl Switch {
    /// The reply of a command without arguments that asks for a fact; `None` if it is no such command.
    pub(super) fn api_status(&mut self, command: &str) -> Option<String> {
        Some(match command {
            "status" => self.status(),
            "version" => format!("FreeSWITCH Version {VERSION} ( 64bit)\n"),
            "uptime" => format!("{}\n", self.now.micros_since(self.started) / 1_000_000),
            "hostname" => self.config.hostname.clone(),
            "switchname" => self.config.switch_name.clone(),
            _ => return None,
        })
    }

    pub(crate) fn status(&mut self) -> String {
        self.peaks.roll(self.now);
        let (sessions, created) = (self.channels.len(), self.counts.channels_created);
        let sessions_max = self.config.sessions_max;
        let (peak, last, most) = (self.peaks.sessions, self.peaks.last_second, self.peaks.most_in_a_second);
        format!(
            "UP {}\nFreeSWITCH (Version 1.11.3-dev  64bit) is ready\n{created} session(s) since startup\n\
             {sessions} session(s) - peak {peak}, last 5min {peak} \n\
             {last} session(s) per Sec out of max 1000, peak {most}, last 5min {most} \n\
             {sessions_max} session(s) max\nmin idle cpu 0.00/100.00\nCurrent Stack Size/Max 240K/240K\n",
            uptime(self.now.micros_since(self.started))
        )
    }
}

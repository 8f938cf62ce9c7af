//! What the links between machines do to packets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fipple_determinism::Stream;
use serde::{Deserialize, Serialize};

use super::HostId;
use crate::limits::LATENCY_MAX_MS;
use crate::scenario::within;

/// How a link treats packets, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkQuality {
    /// The shortest time that a packet takes, in milliseconds. At least 1: it is how far machines may run ahead of each
    /// other.
    pub latency_min_ms: u64,
    /// The longest time. Packets of one UDP flow overtake each other within these bounds, those of a TCP connection do not.
    pub latency_max_ms: u64,
    /// How many of a million packets are lost.
    pub loss_ppm: u32,
    /// How many of a million datagrams arrive twice.
    pub duplication_ppm: u32,
}

impl Default for LinkQuality {
    /// Between cities, and nothing is lost.
    fn default() -> Self {
        Self { latency_min_ms: 5, latency_max_ms: 20, loss_ppm: 0, duplication_ppm: 0 }
    }
}

impl LinkQuality {
    /// Checks that its numbers make sense.
    ///
    /// # Errors
    /// Names what does not.
    pub(crate) fn check(&self, of: &str) -> Result<(), String> {
        within(&format!("{of}: latency_min_ms"), self.latency_min_ms, 1..=LATENCY_MAX_MS)?;
        within(&format!("{of}: latency_max_ms"), self.latency_max_ms, self.latency_min_ms..=LATENCY_MAX_MS)?;
        within(&format!("{of}: loss_ppm"), self.loss_ppm.into(), 0..=1_000_000)?;
        within(&format!("{of}: duplication_ppm"), self.duplication_ppm.into(), 0..=1_000_000)
    }
}

/// All links of a network.
#[derive(Debug)]
pub(super) struct Links {
    seed: u64,
    /// Each direction has chance of its own: one packet more here changes nothing elsewhere.
    chances: BTreeMap<(HostId, HostId), Stream>,
    default: LinkQuality,
    special: BTreeMap<(HostId, HostId), LinkQuality>,
    /// Cut directions, and by how many faults each.
    cut: BTreeMap<(HostId, HostId), u32>,
    /// Machines that are switched off.
    off: BTreeSet<HostId>,
}

/// When a packet arrives, in time from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    /// `None` if it is lost.
    pub(super) arrives: Option<Duration>,
    /// When it arrives once more, if it does.
    pub(super) again: Option<Duration>,
}

impl Links {
    /// Links whose whole chance follows from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            chances: BTreeMap::new(),
            default: LinkQuality::default(),
            special: BTreeMap::new(),
            cut: BTreeMap::new(),
            off: BTreeSet::new(),
        }
    }

    pub(super) fn set_default(&mut self, quality: LinkQuality) {
        self.default = quality;
    }

    pub(super) fn set(&mut self, from: HostId, to: HostId, quality: Option<LinkQuality>) {
        match quality {
            Some(quality) => self.special.insert((from, to), quality),
            None => self.special.remove(&(from, to)),
        };
    }

    /// Cuts one direction, or heals what was cut once.
    pub(super) fn set_cut(&mut self, from: HostId, to: HostId, cut: bool) {
        let times = self.cut.entry((from, to)).or_default();
        *times = if cut { *times + 1 } else { times.saturating_sub(1) };
        if *times == 0 {
            self.cut.remove(&(from, to));
        }
    }

    pub(super) fn set_off(&mut self, host: HostId, off: bool) {
        if off {
            self.off.insert(host);
        } else {
            self.off.remove(&host);
        }
    }

    pub(super) fn quality(&self, from: HostId, to: HostId) -> LinkQuality {
        self.special.get(&(from, to)).copied().unwrap_or(self.default)
    }

    /// The shortest latency of all.
    pub(super) fn latency_min(&self) -> Duration {
        let all = self.special.values().chain([&self.default]);
        Duration::from_millis(all.map(|quality| quality.latency_min_ms).min().unwrap_or(1).max(1))
    }

    /// What becomes of a packet that is sent now.
    pub(super) fn pass(&mut self, from: HostId, to: HostId) -> Passage {
        let quality = self.quality(from, to);
        let closed = self.cut.contains_key(&(from, to)) || self.off.contains(&from) || self.off.contains(&to);
        let seed = self.seed;
        let chance = self.chances.entry((from, to));
        let chance = chance.or_insert_with(|| Stream::new(seed, &format!("link.{}.{}", from.0, to.0)));
        // All is drawn, whatever is used: what the link does to this packet changes nothing for the next.
        let (lost, doubled) = (chance.happens(quality.loss_ppm), chance.happens(quality.duplication_ppm));
        let [first, second] = [(); 2].map(|()| latency(quality, chance));
        let arrives = (!lost && !closed).then_some(first);
        Passage { arrives, again: arrives.filter(|_| doubled).map(|_| second) }
    }
}

fn latency(quality: LinkQuality, chance: &mut Stream) -> Duration {
    let (min, max) = (quality.latency_min_ms.max(1), quality.latency_max_ms);
    Duration::from_micros(chance.in_range(min * 1_000..=max.max(min) * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: HostId = HostId(0);
    const B: HostId = HostId(1);

    #[test]
    fn a_cut_holds_until_every_fault_that_made_it_is_healed() {
        let mut links = Links::new(1);
        for _ in 0..2 {
            links.set_cut(A, B, true);
        }
        links.set_cut(A, B, false);
        assert_eq!(links.pass(A, B).arrives, None);
        assert!(links.pass(B, A).arrives.is_some(), "one direction only");
        links.set_cut(A, B, false);
        assert!(links.pass(A, B).arrives.is_some());
        links.set_off(B, true);
        assert!(links.pass(A, B).arrives.is_none() && links.pass(B, A).arrives.is_none());
    }

    #[test]
    fn latency_and_loss_are_what_the_link_says() {
        let mut links = Links::new(1);
        let quality =
            LinkQuality { latency_min_ms: 2, latency_max_ms: 3, loss_ppm: 250_000, duplication_ppm: 0 };
        links.set(A, B, Some(quality));
        let passed: Vec<_> = (0..10_000).filter_map(|_| links.pass(A, B).arrives).collect();
        assert!((7_300..7_700).contains(&passed.len()), "{}", passed.len());
        assert!(passed.iter().all(|latency| (2_000..=3_000).contains(&latency.as_micros())));
        assert_eq!(links.latency_min(), Duration::from_millis(2));
        links.set(A, B, None);
        assert_eq!(links.latency_min(), Duration::from_millis(5));
    }
}

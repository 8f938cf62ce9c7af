//! What can break, and how it is mended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::Place;
use crate::network::LinkQuality;

/// Something that breaks at one moment and is mended at another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct TimedFault {
    /// When it breaks, in milliseconds from the start.
    pub at_ms: u64,
    /// For how long.
    pub for_ms: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// A fault is read in two parts, since one that is flattened into another would let unknown keys pass.
impl TryFrom<toml::Table> for TimedFault {
    type Error = String;

    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        let mut milliseconds = |key: &str| {
            let value = table.remove(key).ok_or_else(|| format!("a fault without {key}"))?;
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            number.ok_or_else(|| format!("{key} is {value}, and has to be a number of milliseconds"))
        };
        let (at_ms, for_ms) = (milliseconds("at_ms")?, milliseconds("for_ms")?);
        let fault = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        Ok(Self { at_ms, for_ms, fault })
    }
}

/// What can break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The process is killed; the system closes its sockets. Mended by starting it again.
    Kill {
        /// A node or a switch.
        place: Place,
    },
    /// The power fails: nobody is told, and what was not synced may be lost. Mended by starting it again.
    PowerOff {
        /// A node or a switch.
        place: Place,
    },
    /// The process of a switch is killed, and what it had written of its calls to disk is still there when it is started
    /// again.
    Crash {
        /// A switch.
        place: Place,
        /// Whether the answered calls come back then, as by `sofia recover`.
        recover: bool,
    },
    /// The process is asked to stop, as for maintenance, and started again.
    Stop {
        /// A node.
        place: Place,
    },
    /// The process does nothing for a while.
    Pause {
        /// A node.
        place: Place,
    },
    /// These machines reach each other, and all others each other, but no packet passes between the two groups.
    Partition {
        /// The smaller group.
        away: Vec<Place>,
    },
    /// No packet passes between any of these machines and any of the others; whoever is in neither group reaches both.
    Split {
        /// One group.
        some: Vec<Place>,
        /// The other.
        others: Vec<Place>,
    },
    /// No packet passes from one machine to another; the other way they do.
    CutOneWay {
        /// From where.
        from: Place,
        /// To where.
        to: Place,
    },
    /// The links between two machines are bad.
    BadLink {
        /// One machine.
        between: Place,
        /// The other.
        and: Place,
        /// How bad.
        quality: LinkQuality,
    },
    /// The time of day jumps.
    WrongClock {
        /// A node.
        place: Place,
        /// How far it is ahead, in milliseconds.
        offset_ms: i64,
    },
}

impl Fault {
    /// Checks that the machine is of a kind to which this can happen.
    ///
    /// # Errors
    /// Says what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let needs = |fits: bool, what: &str| if fits { Ok(()) } else { Err(what.to_owned()) };
        match self {
            Self::Kill { place } | Self::PowerOff { place } => needs(
                *place != Place::Client,
                "kill and power_off happen to nodes and switches, not to the client",
            ),
            Self::Stop { place } | Self::Pause { place } | Self::WrongClock { place, .. } => {
                let what = format!("stop, pause and wrong_clock happen to nodes, not to {place}");
                needs(matches!(place, Place::Node(_)), &what)
            }
            Self::Crash { place, .. } => {
                let what = format!("crash happens to switches, not to {place}");
                needs(matches!(place, Place::Switch(_)), &what)
            }
            Self::Split { some, others } => {
                let apart = !some.is_empty() && !others.is_empty();
                let apart = apart && some.iter().all(|place| !others.contains(place));
                needs(apart, "a split needs two groups, `some` and `others`, that have nobody in common")
            }
            Self::Partition { away } => needs(!away.is_empty(), "a partition needs somebody in `away`"),
            Self::CutOneWay { from: one, to: other } => {
                needs(one != other, &format!("a cut from {one} to itself is none"))
            }
            Self::BadLink { between, and, quality } => {
                needs(between != and, &format!("a link from {between} to itself is none"))?;
                quality.check("bad_link: quality")
            }
        }
    }

    /// The machines that it concerns.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Self::Kill { place }
            | Self::PowerOff { place }
            | Self::Stop { place }
            | Self::Pause { place }
            | Self::Crash { place, .. }
            | Self::WrongClock { place, .. } => vec![*place],
            Self::Split { some, others } => [some.as_slice(), others].concat(),
            Self::Partition { away } => away.clone(),
            Self::CutOneWay { from, to } => vec![*from, *to],
            Self::BadLink { between, and, .. } => vec![*between, *and],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node{}", node + 1),
            Self::Switch(switch) => write!(f, "fs{}", switch + 1),
            Self::Client => f.write_str("client"),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |prefix: &str| {
            let number: usize = text.strip_prefix(prefix)?.parse().ok()?;
            number.checked_sub(1)
        };
        if text == "client" {
            return Ok(Self::Client);
        }
        number("node")
            .map(Self::Node)
            .or_else(|| number("fs").map(Self::Switch))
            .ok_or_else(|| format!("{text:?} is no machine: node1, fs1 or client"))
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

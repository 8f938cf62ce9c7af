//! What nodes say to each other over the switch itself.

use crate::NodeId;
use crate::esl::{Event, names};

/// The subclass of the events that carry these messages.
const SUBCLASS: &str = "fipple::gate";

const KIND: &str = "Gate-Message";
const HOLDER: &str = "Gate-Holder";
const NONCE: &str = "Gate-Nonce";

/// A `CUSTOM` event `fipple::gate`. Any client of the switch can make one: see [`super`] for what is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateMessage {
    /// Does this holder live?
    Question {
        /// The node that the gate names.
        holder: NodeId,
        /// What the answer has to repeat.
        nonce: u64,
    },
    /// This holder lives.
    Answer {
        /// The node that answers.
        holder: NodeId,
        /// The question's.
        nonce: u64,
    },
    /// This node holds the gate from now on: it has taken it, or found that it holds it.
    Held {
        /// The node that says so.
        holder: NodeId,
    },
}

impl GateMessage {
    /// The subclass that one has to subscribe to.
    pub const SUBCLASS: &'static str = SUBCLASS;

    /// The headers of the event, for `sendevent CUSTOM`.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let (kind, holder, nonce) = match *self {
            Self::Question { holder, nonce } => ("question", holder, Some(nonce)),
            Self::Answer { holder, nonce } => ("answer", holder, Some(nonce)),
            Self::Held { holder } => ("held", holder, None),
        };
        let mut headers = vec![
            ("Event-Subclass", SUBCLASS.to_owned()),
            (KIND, kind.to_owned()),
            (HOLDER, holder.to_string()),
        ];
        headers.extend(nonce.map(|nonce| (NONCE, format!("{nonce:016x}"))));
        headers
    }

    /// The message that an event is; none if it is none.
    pub fn read(event: Event<'_>) -> Option<Self> {
        if !event.get(names::EVENT_SUBCLASS)?.is(SUBCLASS) {
            return None;
        }
        let kind = event.get(KIND)?;
        let holder = event.get(HOLDER)?.parse()?;
        let nonce = || u64::from_str_radix(&event.get(NONCE)?.text(), 16).ok();
        Some(match kind.raw() {
            b"question" => Self::Question { holder, nonce: nonce()? },
            b"answer" => Self::Answer { holder, nonce: nonce()? },
            b"held" => Self::Held { holder },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esl::Decoder;

    /// The event as a switch passes it on (`transcripts/i_log_sendevent`).
    fn heard(headers: &[(&str, String)]) -> Option<GateMessage> {
        let lines = headers.iter().map(|(name, value)| format!("{name}: {}\n", value.replace(':', "%3A")));
        let body =
            format!("{}Command: sendevent%20CUSTOM\nEvent-Name: CUSTOM\n\n", lines.collect::<String>());
        let frame = format!("Content-Length: {}\nContent-Type: text/event-plain\n\n{body}", body.len());
        let mut decoder = Decoder::new();
        decoder.space()[..frame.len()].copy_from_slice(frame.as_bytes());
        decoder.filled(frame.len());
        let mut frame = decoder.next_frame().unwrap().unwrap();
        GateMessage::read(frame.event().unwrap())
    }

    #[test]
    fn what_is_said_is_heard_and_nothing_else() {
        let holder = NodeId::from_bytes([0xab; 16]);
        for message in [
            GateMessage::Question { holder, nonce: 7 },
            GateMessage::Answer { holder, nonce: u64::MAX },
            GateMessage::Held { holder },
        ] {
            let headers = message.headers();
            assert_eq!(heard(&headers), Some(message));
            for damaged in 0..headers.len() {
                let mut headers = headers.clone();
                headers[damaged].1 = "nonsense".to_owned();
                assert_eq!(heard(&headers), None, "{headers:?}");
                headers.remove(damaged);
                assert_eq!(heard(&headers), None, "{headers:?}");
            }
        }
    }
}

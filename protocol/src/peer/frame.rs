//! Frames on a stream: four bytes of length, big endian, then a CBOR message.

use std::collections::VecDeque;

use minicbor::{Decode, Encode};

use crate::limits::{PEER_BUFFER_KEPT_BYTES, PEER_FRAME_MAX_BYTES};

/// A stream's bytes are no frames. The connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced more than a frame may hold.
    #[error(
        "a peer announced a frame of {announced_bytes} bytes; at most {PEER_FRAME_MAX_BYTES} are allowed"
    )]
    TooLarge {
        /// What it announced.
        announced_bytes: usize,
    },
    /// The frame holds no message that this version knows.
    #[error("a peer sent a frame that is no message: {0}")]
    Malformed(#[from] minicbor::decode::Error),
}

/// Appends `message` as a frame to `out`.
///
/// # Errors
/// [`FrameError::TooLarge`] if the message does not fit a frame; `out` is then as it was.
pub fn write_frame<M: Encode<()>>(message: &M, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    // Writing to a Vec cannot fail, and none of our messages has an encoder that refuses.
    let _infallible = minicbor::encode(message, &mut *out);
    let length = out.len() - start - 4;
    if length > PEER_FRAME_MAX_BYTES {
        out.truncate(start);
        return Err(FrameError::TooLarge { announced_bytes: length });
    }
    out[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// Cuts a stream into messages, whatever the fragmentation.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: VecDeque<u8>,
}

impl FrameDecoder {
    /// Takes bytes that arrived. Not more than one frame and one read are ever held.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next whole message, or none until more bytes come.
    ///
    /// # Errors
    /// If the bytes are no frame; every later call fails or yields nonsense, so the stream has to be given up.
    pub fn next_message<M: for<'b> Decode<'b, ()>>(&mut self) -> Result<Option<M>, FrameError> {
        let mut length = [0; 4];
        for (byte, have) in length.iter_mut().zip(&self.buffer) {
            *byte = *have;
        }
        let announced_bytes = u32::from_be_bytes(length) as usize;
        if self.buffer.len() < 4 {
            return Ok(None);
        }
        if announced_bytes > PEER_FRAME_MAX_BYTES {
            return Err(FrameError::TooLarge { announced_bytes });
        }
        if self.buffer.len() < 4 + announced_bytes {
            return Ok(None);
        }
        let frame = &self.buffer.make_contiguous()[4..4 + announced_bytes];
        let message = minicbor::decode(frame)?;
        self.buffer.drain(..4 + announced_bytes);
        if self.buffer.is_empty() {
            self.buffer.shrink_to(PEER_BUFFER_KEPT_BYTES);
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{ControlMessage, Hello, Refusal, Request, Response};

    fn messages() -> Vec<ControlMessage> {
        let hello = Hello { version: "0.1.0".into(), address: "192.0.2.1:7400".into(), observed: None };
        let find = Request::FindChannel { channel: "a2b5".into() };
        let refused = Response::Refused(Refusal::UnknownChannel { channel: "a2b5".into() });
        vec![
            ControlMessage::Hello(hello),
            ControlMessage::Request { id: 7, request: find },
            ControlMessage::Response { id: 7, response: refused },
        ]
    }

    #[test]
    fn messages_survive_any_fragmentation() {
        let mut bytes = Vec::new();
        messages().iter().for_each(|message| write_frame(message, &mut bytes).unwrap());
        for size in 1..=bytes.len() {
            let mut decoder = FrameDecoder::default();
            let mut seen: Vec<ControlMessage> = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.feed(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(seen, messages(), "in pieces of {size}");
        }
    }

    #[test]
    fn a_huge_frame_is_refused_before_it_arrives() {
        let mut decoder = FrameDecoder::default();
        decoder.feed(&u32::MAX.to_be_bytes());
        assert!(matches!(decoder.next_message::<ControlMessage>(), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn a_large_frame_leaves_no_large_buffer_behind() {
        let mut bytes = Vec::new();
        write_frame(&Response::Text("x".repeat(1024 * 1024)), &mut bytes).unwrap();
        let mut decoder = FrameDecoder::default();
        decoder.feed(&bytes);
        assert!(matches!(decoder.next_message(), Ok(Some(Response::Text(_)))));
        assert!(decoder.buffer.capacity() <= PEER_BUFFER_KEPT_BYTES, "{}", decoder.buffer.capacity());
    }

    #[test]
    fn nonsense_is_refused() {
        let mut decoder = FrameDecoder::default();
        decoder.feed(&[0, 0, 0, 1, 0xff]);
        assert!(matches!(decoder.next_message::<ControlMessage>(), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn an_oversized_message_is_not_written() {
        let message = Response::Text("x".repeat(PEER_FRAME_MAX_BYTES));
        let mut bytes = vec![1, 2, 3];
        assert!(write_frame(&message, &mut bytes).is_err());
        assert_eq!(bytes, [1, 2, 3]);
    }
}

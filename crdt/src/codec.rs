//! CBOR as this crate uses it: encoding that cannot fail, decoding that is bounded.

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// The CBOR of `value`, whose encoder only writes what it has.
#[expect(
    clippy::expect_used,
    reason = "a Vec takes every write and derived encoders add no errors of their own"
)]
pub(crate) fn encode(value: impl Encode<()>) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding into memory")
}

/// Decodes an array of at most `MAX` elements, refusing a longer one before it has taken memory.
pub(crate) fn decode_list<'b, Context, T: Decode<'b, Context>, const MAX: usize>(
    decoder: &mut Decoder<'b>,
    context: &mut Context,
) -> Result<Vec<T>, DecodeError> {
    let count = decoder.array()?.ok_or_else(|| DecodeError::message("an array of indefinite length"))?;
    if count > MAX as u64 {
        return Err(DecodeError::message(format!("{count} elements where {MAX} are the limit")));
    }
    (0..count).map(|_| decoder.decode_with(context)).collect()
}

/// Encodes a digest, for which CBOR has no number, as 16 bytes.
pub(crate) fn encode_digest<Context, W: Write>(
    digest: &u128,
    encoder: &mut Encoder<W>,
    _: &mut Context,
) -> Result<(), EncodeError<W::Error>> {
    encoder.bytes(&digest.to_be_bytes())?.ok()
}

/// Decodes what [`encode_digest`] has written.
pub(crate) fn decode_digest<Context>(
    decoder: &mut Decoder<'_>,
    _: &mut Context,
) -> Result<u128, DecodeError> {
    let bytes = decoder.bytes()?.try_into().map_err(|_| DecodeError::message("a digest has 16 bytes"))?;
    Ok(u128::from_be_bytes(bytes))
}

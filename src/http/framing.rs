//! How long a request's body is (RFC 9112 section 6). Two recipients that answer this
//! differently are a request smuggling hole, so whatever is doubtful is refused.

use ::http::Version;

use super::{error::RequestError, headers::Headers, syntax};

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// A body of this many bytes, possibly 0.
    Length(u64),
    /// A body in chunks (RFC 9112 7.1).
    Chunked,
}

impl Framing {
    /// Whether bytes of a body follow the head.
    #[must_use]
    pub fn has_body(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }

    /// RFC 9112 6.3.
    pub(super) fn parse(headers: &Headers<'_>, version: Version) -> Result<Self, RequestError> {
        let length = headers
            .single("content-length")
            .map_err(|_| RequestError::ContentLength)?
            .map(|value| syntax::decimal(value).ok_or(RequestError::ContentLength))
            .transpose()?;
        if headers.first("transfer-encoding").is_none() {
            return Ok(length.map_or(Self::None, Self::Length));
        }
        if version == Version::HTTP_10 {
            return Err(RequestError::TransferEncodingInHttp10);
        }
        if length.is_some() {
            return Err(RequestError::ConflictingFraming);
        }
        check_codings(headers)?;
        Ok(Self::Chunked)
    }
}

/// RFC 9112 6.1 and 6.3: the last coding must be `chunked` (else 400, as the end of the body
/// cannot be found), it must be the only `chunked` (400), and no other is implemented (501).
fn check_codings(headers: &Headers<'_>) -> Result<(), RequestError> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = headers.elements("transfer-encoding");
    let (count, chunked_count, last_is_chunked) =
        codings.fold((0, 0, false), |(count, chunked_count, _), coding| {
            let chunked = is_chunked(coding);
            (count + 1, chunked_count + usize::from(chunked), chunked)
        });
    match (count, chunked_count, last_is_chunked) {
        (1, 1, true) => Ok(()),
        (_, 1, true) => Err(RequestError::UnsupportedTransferCoding),
        _ => Err(RequestError::TransferEncoding),
    }
}

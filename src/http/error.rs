//! What can be wrong with a request head, or with a header an application supplies. One variant
//! per rule; the status of a variant is decided here and nowhere else.

use std::fmt;

use ::http::StatusCode;

/// The rule a request head violates. Every one of them ends the connection: after a head that
/// is not understood, nobody knows where the next request starts (RFC 9112 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// RFC 9112 3: the request line is not `method SP target SP version`.
    RequestLine,
    /// RFC 9112 2.2: a line ends in LF without CR, which other recipients read differently.
    BareLineFeed,
    /// RFC 9112 3.2: the target has a forbidden byte or a form this method does not allow.
    Target,
    /// RFC 9112 3: the target is longer than [`Limits::target_bytes`](super::Limits).
    TargetTooLong,
    /// RFC 9112 2.3: neither HTTP/1.0 nor HTTP/1.1.
    UnsupportedVersion,
    /// RFC 9110 9.1: not one of the nine standard methods, or CONNECT.
    UnsupportedMethod,
    /// RFC 6585 5: the head does not end within [`Limits::head_bytes`](super::Limits).
    HeadTooLarge,
    /// RFC 6585 5: more header lines than [`Limits::headers`](super::Limits).
    TooManyHeaders,
    /// RFC 9112 5: a name that is no token, white space around it, or a folded line.
    HeaderName,
    /// RFC 9110 5.5: a control character in a value.
    HeaderValue,
    /// RFC 9112 3.2: HTTP/1.1 without Host.
    MissingHost,
    /// RFC 9112 3.2: more than one Host line.
    DuplicateHost,
    /// RFC 9112 3.2: Host is empty or is not `host [":" port]`.
    InvalidHost,
    /// RFC 9112 6.3: Content-Length is not a number, a list, or given twice.
    ContentLength,
    /// RFC 9112 6.3: Content-Length and Transfer-Encoding together are how requests are smuggled.
    ConflictingFraming,
    /// RFC 9112 6.3: `chunked` is not the last coding, or is applied twice.
    TransferEncoding,
    /// RFC 9112 6.1: a transfer coding this server does not understand.
    UnsupportedTransferCoding,
    /// RFC 9112 6.1: HTTP/1.0 has no Transfer-Encoding, so its framing cannot be trusted.
    TransferEncodingInHttp10,
    /// RFC 9110 10.1.1: an expectation other than `100-continue`.
    Expectation,
}

impl RequestError {
    /// The status of the answer, which always carries `Connection: close`.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge | Self::TooManyHeaders => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::UnsupportedMethod | Self::UnsupportedTransferCoding => {
                StatusCode::NOT_IMPLEMENTED
            }
            Self::UnsupportedVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::RequestLine
            | Self::BareLineFeed
            | Self::Target
            | Self::HeaderName
            | Self::HeaderValue
            | Self::MissingHost
            | Self::DuplicateHost
            | Self::InvalidHost
            | Self::ContentLength
            | Self::ConflictingFraming
            | Self::TransferEncoding
            | Self::TransferEncodingInHttp10 => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestLine => "the request line is malformed",
            Self::BareLineFeed => "a line ends in LF without CR",
            Self::Target => "the request target is invalid",
            Self::TargetTooLong => "the request target is too long",
            Self::UnsupportedVersion => "only HTTP/1.0 and HTTP/1.1 are served",
            Self::UnsupportedMethod => "the method is not implemented",
            Self::HeadTooLarge => "the request head is too large",
            Self::TooManyHeaders => "the request has too many headers",
            Self::HeaderName => "a header name is malformed",
            Self::HeaderValue => "a header value holds a control character",
            Self::MissingHost => "the Host header is missing",
            Self::DuplicateHost => "there is more than one Host header",
            Self::InvalidHost => "the Host header is invalid",
            Self::ContentLength => "Content-Length is invalid or repeated",
            Self::ConflictingFraming => "Content-Length and Transfer-Encoding exclude each other",
            Self::TransferEncoding => "chunked must be the last transfer coding, once",
            Self::UnsupportedTransferCoding => "the transfer coding is not implemented",
            Self::TransferEncodingInHttp10 => "HTTP/1.0 has no Transfer-Encoding",
            Self::Expectation => "the only expectation that can be met is 100-continue",
        })
    }
}

impl std::error::Error for RequestError {}

/// Why a header supplied by the application was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// RFC 9110 5.1: the name is not a token.
    Name,
    /// RFC 9110 5.5: the value holds CR, LF, NUL or another control character.
    Value,
    /// The server writes this header itself: a second one would contradict it.
    Reserved,
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the header name is not a token",
            Self::Value => "the header value holds a control character",
            Self::Reserved => "the server writes this header itself",
        })
    }
}

impl std::error::Error for InvalidHeader {}

//! The header lines of a parsed head, borrowed from the bytes they came in. Nothing is copied or
//! indexed: a handshake has about ten headers and each is looked up once or twice.

use super::{error::RequestError, syntax};

/// The most header lines a head may have, whatever [`Limits::headers`](super::Limits) says.
pub const MAX_HEADERS: usize = 128;

/// Where the header lines of one head are noted while it is looked at; it lives on the stack.
#[derive(Debug)]
pub struct HeaderSlots<'a>([httparse::Header<'a>; MAX_HEADERS]);

impl<'a> HeaderSlots<'a> {
    /// Empty slots.
    #[must_use]
    pub const fn new() -> Self {
        Self([httparse::EMPTY_HEADER; MAX_HEADERS])
    }

    /// Parses header lines up to and including the empty line (RFC 9112 5).
    ///
    /// The default configuration of httparse refuses folded lines, white space before the colon
    /// and control characters; bare line feeds, which it allows, were refused by the scanner.
    pub(super) fn parse(
        &mut self,
        fields: &'a [u8],
        limit: usize,
    ) -> Result<Headers<'_>, RequestError> {
        let slots = &mut self.0[..limit.min(MAX_HEADERS)];
        match httparse::parse_headers(fields, slots) {
            Ok(httparse::Status::Complete((_, fields))) => Ok(Headers { fields }),
            Err(httparse::Error::TooManyHeaders) => Err(RequestError::TooManyHeaders),
            Err(httparse::Error::HeaderValue) => Err(RequestError::HeaderValue),
            Ok(httparse::Status::Partial) | Err(_) => Err(RequestError::HeaderName),
        }
    }
}

impl Default for HeaderSlots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The header lines of one head, in the order they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    fields: &'a [httparse::Header<'a>],
}

impl<'a> Headers<'a> {
    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Every line as name and value, the name as it was sent.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The value of the first line of this name; names have no case (RFC 9110 5.1).
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all lines of this name.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the only line of this name; `Err` if there are several.
    pub(super) fn single(&self, name: &str) -> Result<Option<&'a [u8]>, Repeated> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// The elements of a list that may be spread over several lines (RFC 9110 5.3).
    pub(super) fn elements<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.all(name).flat_map(syntax::elements)
    }

    /// Whether a list has this element, without regard to case.
    pub(super) fn lists(&self, name: &str, element: &str) -> bool {
        self.elements(name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }
}

/// A header that must be single has several lines.
#[derive(Debug)]
pub(super) struct Repeated;

//! What the two ends agree on about permessage-deflate (RFC 7692 section 7.1).

use std::fmt;

use super::extensions::{Extension, Extensions};

const NAME: &str = "permessage-deflate";

/// The largest window, as its binary logarithm.
const WINDOW_BITS_MAX: u8 = 15;

/// The smallest window that DEFLATE without a header can be written with by zlib. RFC 7692 allows
/// 8 as well; a server that is asked for it declines, because it could not keep to it.
const WINDOW_BITS_MIN: u8 = 9;

/// The parameters of an offer or of an agreement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server's messages do not refer to earlier ones (section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client's messages do not refer to earlier ones (section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The server's largest window, as its binary logarithm from 8 to 15 (section 7.1.2.1).
    pub server_max_window_bits: Option<u8>,
    /// The client's largest window, as its binary logarithm from 8 to 15. In an offer,
    /// [`ANY_WINDOW`](Self::ANY_WINDOW) says that the client can keep to whatever the server
    /// chooses (section 7.1.2.2).
    pub client_max_window_bits: Option<u8>,
}

/// What a server is willing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflatePolicy {
    /// Whether the server keeps a compressor for a client that permits it.
    pub server_context_takeover: bool,
    /// Whether the client may refer to earlier messages, of which the server keeps 32 KiB.
    pub client_context_takeover: bool,
    /// The server's largest window, as its binary logarithm from 9 to 15.
    pub server_window_bits: u8,
}

impl DeflateParams {
    /// `client_max_window_bits` without a value.
    pub const ANY_WINDOW: u8 = 0;

    /// The server's answer: to the first offer that it can accept, in the client's order of
    /// preference (section 5.1). Offers with unknown, duplicate or invalid parameters are declined
    /// (section 7.1), and so is a window that the server cannot keep to.
    #[must_use]
    pub fn negotiate(offers: &Extensions<'_>, policy: &DeflatePolicy) -> Option<Self> {
        let mut offers = offers.iter().filter(|offer| offer.name() == NAME);
        offers.find_map(|offer| Self::accept(&Self::parse(&offer, true)?, policy))
    }

    fn accept(offer: &Self, policy: &DeflatePolicy) -> Option<Self> {
        let asked = offer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
        let server_bits = asked.min(policy.server_window_bits);
        let says_bits = offer.server_max_window_bits.is_some() || server_bits < WINDOW_BITS_MAX;
        (server_bits >= WINDOW_BITS_MIN).then_some(Self {
            server_no_context_takeover: offer.server_no_context_takeover
                || !policy.server_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover
                || !policy.client_context_takeover,
            server_max_window_bits: says_bits.then_some(server_bits),
            // The server can read the largest window, and need not restrict the client's.
            client_max_window_bits: None,
        })
    }

    /// The client's check of the server's answer to the offer `self` (section 7.1): `None` if
    /// there is none.
    ///
    /// # Errors
    ///
    /// The answer names another extension, has unknown, duplicate or invalid parameters, does not
    /// keep to the offer, or is there twice.
    pub(super) fn agreed(&self, answer: &Extensions<'_>) -> Result<Option<Self>, InvalidAnswer> {
        let mut answers = answer.iter();
        let Some(answer) = answers.next() else { return Ok(None) };
        let agreed = (answer.name() == NAME).then(|| Self::parse(&answer, false)).flatten();
        let agreed = agreed.ok_or(InvalidAnswer)?;
        if answers.next().is_none() && self.permits(&agreed) {
            Ok(Some(agreed))
        } else {
            Err(InvalidAnswer)
        }
    }

    fn permits(&self, agreed: &Self) -> bool {
        let server_bits = match (self.server_max_window_bits, agreed.server_max_window_bits) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(asked), Some(bits)) => bits <= asked,
        };
        let client_bits = match (self.client_max_window_bits, agreed.client_max_window_bits) {
            (None, Some(_)) => false,
            (Some(offered), Some(bits)) => offered == Self::ANY_WINDOW || bits <= offered,
            (_, None) => true,
        };
        let context = agreed.server_no_context_takeover || !self.server_no_context_takeover;
        server_bits && client_bits && context
    }

    /// `None` if a parameter is unknown, there twice, or has a value it must not have.
    fn parse(extension: &Extension<'_>, is_offer: bool) -> Option<Self> {
        let mut params = Self::default();
        for (name, value) in extension.params() {
            let value = value.as_deref();
            let is_new = match name {
                "server_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut params.server_no_context_takeover, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut params.client_no_context_takeover, true)
                }
                "server_max_window_bits" => {
                    params.server_max_window_bits.replace(window_bits(value?)?).is_none()
                }
                "client_max_window_bits" => {
                    let bits = match value {
                        None if is_offer => Self::ANY_WINDOW,
                        value => window_bits(value?)?,
                    };
                    params.client_max_window_bits.replace(bits).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(params)
    }
}

/// A decimal number from 8 to 15 without a leading zero (section 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// As in Sec-WebSocket-Extensions.
impl fmt::Display for DeflateParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            None => Ok(()),
            Some(Self::ANY_WINDOW) => f.write_str("; client_max_window_bits"),
            Some(bits) => write!(f, "; client_max_window_bits={bits}"),
        }
    }
}

/// The server's answer is not one to the client's offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidAnswer;

#[cfg(test)]
mod tests;

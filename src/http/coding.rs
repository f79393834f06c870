//! Content codings (RFC 9110 section 8.4.1), and which of them a client prefers (12.5.3).

use super::{
    headers::Headers,
    request::Request,
    syntax::{elements, is_token, trim},
};

/// How the content of a file beside the original is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentCoding {
    /// `br` (RFC 7932).
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl ContentCoding {
    /// All codings, the one that compresses best first.
    pub const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// The name in Content-Encoding.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What the name of a file has at its end whose content is coded in this way.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }
}

/// How much a client wants something, in thousandths (RFC 9110 12.4.2); 0 is not at all.
type Weight = u16;

/// What a client says in Accept-Encoding. What it says several times counts as the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptEncoding {
    brotli: Option<Weight>,
    gzip: Option<Weight>,
    identity: Option<Weight>,
    /// The weight of whatever is not named.
    any: Option<Weight>,
}

impl AcceptEncoding {
    /// Reads the request's header. An element that is malformed is ignored.
    #[must_use]
    pub fn of(request: &Request<'_>) -> Self {
        Self::parse(&request.headers())
    }

    fn parse(headers: &Headers<'_>) -> Self {
        let mut accepted = Self::default();
        for element in headers.all("accept-encoding").flat_map(elements) {
            let Some((coding, weight)) = parse_element(element) else { continue };
            let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
            let place = if is("br") {
                &mut accepted.brotli
            } else if is("gzip") || is("x-gzip") {
                // 8.4.1.3: they are the same.
                &mut accepted.gzip
            } else if is("identity") {
                &mut accepted.identity
            } else if is("*") {
                &mut accepted.any
            } else {
                continue;
            };
            *place = Some(place.map_or(weight, |other| other.min(weight)));
        }
        accepted
    }

    /// The codings that may be used, in order: by the client's weight, then by how well they
    /// compress. Those it wants less than the uncoded content are left out.
    pub fn preferred(self) -> impl Iterator<Item = ContentCoding> {
        let mut codings = ContentCoding::ALL;
        codings.sort_by_key(|coding| std::cmp::Reverse(self.weight(*coding)));
        let is_wanted = move |coding: &ContentCoding| {
            self.weight(*coding) > 0 && Some(self.weight(*coding)) >= self.identity
        };
        codings.into_iter().filter(is_wanted)
    }

    /// Whether the content may be sent as it is: unless the client says no (12.5.3).
    #[must_use]
    pub fn accepts_identity(self) -> bool {
        self.identity.or(self.any) != Some(0)
    }

    /// What is not mentioned may not be used.
    fn weight(self, coding: ContentCoding) -> Weight {
        let named = match coding {
            ContentCoding::Brotli => self.brotli,
            ContentCoding::Gzip => self.gzip,
        };
        named.or(self.any).unwrap_or(0)
    }
}

/// `codings [ weight ]`, where a coding is a token: `*` is one.
fn parse_element(element: &[u8]) -> Option<(&[u8], Weight)> {
    let Some(semicolon) = element.iter().position(|&byte| byte == b';') else {
        return is_token(element).then_some((element, 1000));
    };
    let coding = trim(&element[..semicolon]);
    let weight = parse_weight(trim(&element[semicolon + 1..]))?;
    is_token(coding).then_some((coding, weight))
}

/// RFC 9110 12.4.2: `q=` and a number from 0 to 1 with at most three decimals.
fn parse_weight(weight: &[u8]) -> Option<Weight> {
    let [b'q' | b'Q', b'=', number @ ..] = weight else { return None };
    let (whole, decimals) = match number {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| Weight::from(byte - b'0'));
    let whole = digit(whole)?;
    let scales: [Weight; 3] = [100, 10, 1];
    let parts = decimals.iter().zip(scales).map(|(byte, scale)| Some(digit(byte)? * scale));
    let thousandths = whole * 1000 + parts.sum::<Option<Weight>>()?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeaderSlots;

    fn accepted(lines: &[&str]) -> AcceptEncoding {
        let lines: Vec<_> =
            lines.iter().map(|line| format!("Accept-Encoding: {line}\r\n")).collect();
        let fields = lines.concat() + "\r\n";
        let mut slots = HeaderSlots::new();
        let headers = slots.parse(fields.as_bytes(), 100).expect("valid header lines");
        AcceptEncoding::parse(&headers)
    }

    fn preferred(lines: &[&str]) -> Vec<&'static str> {
        accepted(lines).preferred().map(ContentCoding::name).collect()
    }

    #[test]
    fn the_client_prefers_by_weight() {
        for (lines, expected) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&["deflate, zstd"], &[]),
            (&["gzip"], &["gzip"]),
            (&["x-gzip"], &["gzip"]),
            (&["gzip, br"], &["br", "gzip"]),
            (&["GZIP", "BR;Q=0.5"], &["gzip", "br"]),
            (&["br;q=0, gzip;q=0.001"], &["gzip"]),
            (&["*"], &["br", "gzip"]),
            (&["*;q=0.5, br;q=0"], &["gzip"]),
            (&["*;q=0"], &[]),
            (&["gzip;q=0.5, identity;q=1"], &[]),
            (&["gzip;q=0.5 , identity;q=0.5"], &["gzip"]),
            (&["gzip, gzip;q=0"], &[]),
            (&["br ; q=1.000,,gzip\t;\tq=0.999"], &["br", "gzip"]),
        ] {
            assert_eq!(preferred(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_malformed_element_is_ignored() {
        for element in [
            "br;q=1.001",
            "br;q=2",
            "br;q=0.0001",
            "br;q=.5",
            "br;q=",
            "br;q",
            "br;",
            "br;q=-1",
            "br;q=1e0",
            "br;q=\"1\"",
            "br;q = 1",
            "br;level=4",
            "br;q=1;q=0",
            "b r",
            ";q=1",
            "br=1",
        ] {
            assert_eq!(preferred(&[&format!("{element}, gzip")]), ["gzip"], "{element}");
        }
    }

    #[test]
    fn uncoded_content_is_acceptable_unless_it_is_excluded() {
        for lines in ["", "gzip", "*;q=0.5", "*;q=0, identity", "identity;q=0.001, *;q=0"] {
            assert!(accepted(&[lines]).accepts_identity(), "{lines}");
        }
        for lines in ["identity;q=0", "*;q=0", "gzip, identity;q=0.000, *"] {
            assert!(!accepted(&[lines]).accepts_identity(), "{lines}");
        }
        assert!(accepted(&[]).accepts_identity());
    }
}

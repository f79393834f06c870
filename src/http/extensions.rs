//! Sec-WebSocket-Extensions (RFC 6455 section 9.1). The list is checked once, by
//! [`Upgrade::validate`](super::Upgrade::validate), and read again by whoever negotiates.

use std::borrow::Cow;

use super::{
    headers::Headers,
    syntax::{is_token, is_token_byte, token},
};

/// The extensions a client offers, in its order of preference, from all header lines.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a> {
    headers: Headers<'a>,
}

/// One offered extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    name: &'a str,
    /// From the first `;` to the end of the last parameter; valid.
    params: &'a [u8],
}

/// The list violates the grammar of RFC 6455 9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidExtensions;

const NAME: &str = "sec-websocket-extensions";

impl<'a> Extensions<'a> {
    /// Checks every line, so that [`iter`](Self::iter) cannot meet an error.
    pub(super) fn validate(headers: Headers<'a>) -> Result<Self, InvalidExtensions> {
        for line in headers.all(NAME) {
            let mut cursor = Cursor { rest: line };
            while cursor.next_extension()?.is_some() {}
        }
        Ok(Self { headers })
    }

    /// The extensions offered.
    pub fn iter(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        self.headers.all(NAME).flat_map(|line| {
            let mut cursor = Cursor { rest: line };
            std::iter::from_fn(move || cursor.next_extension().ok().flatten())
        })
    }
}

impl<'a> Extension<'a> {
    /// The name, a token.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The parameters in order, as name and value. A quoted value comes without its quotes.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<Cow<'a, str>>)> + use<'a> {
        let mut cursor = Cursor { rest: self.params };
        std::iter::from_fn(move || cursor.next_param().ok().flatten())
    }
}

/// What is left of a header line.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    rest: &'a [u8],
}

type Parsed<T> = Result<Option<T>, InvalidExtensions>;

impl<'a> Cursor<'a> {
    /// `extension = token *( ";" extension-param )`; `None` at the end of the line.
    fn next_extension(&mut self) -> Parsed<Extension<'a>> {
        loop {
            self.skip_space();
            if self.rest.is_empty() {
                return Ok(None);
            }
            if !self.eat(b',') {
                break;
            }
        }
        let name = self.token().ok_or(InvalidExtensions)?;
        let start = self.rest;
        while self.next_param()?.is_some() {}
        let params = &start[..start.len() - self.rest.len()];
        self.skip_space();
        if self.rest.is_empty() || self.eat(b',') {
            Ok(Some(Extension { name, params }))
        } else {
            Err(InvalidExtensions)
        }
    }

    /// `extension-param = token [ "=" ( token / quoted-string ) ]`, after its semicolon; `None`
    /// if there is no semicolon.
    fn next_param(&mut self) -> Parsed<(&'a str, Option<Cow<'a, str>>)> {
        self.skip_space();
        if !self.eat(b';') {
            return Ok(None);
        }
        self.skip_space();
        let name = self.token().ok_or(InvalidExtensions)?;
        if !self.eat(b'=') {
            return Ok(Some((name, None)));
        }
        let value = if self.eat(b'"') { self.quoted() } else { self.token().map(Cow::Borrowed) };
        Ok(Some((name, Some(value.ok_or(InvalidExtensions)?))))
    }

    /// The rest of a quoted string. 9.1: what is in the quotes, without the backslashes of
    /// quoted pairs, must be a token.
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let end = self.rest.iter().position(|&byte| byte == b'"' || byte == b'\\')?;
        let (plain, rest) = self.rest.split_at(end);
        if rest.first() == Some(&b'"') {
            self.rest = &rest[1..];
            return token(plain).map(Cow::Borrowed);
        }
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => break,
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    value.push(escaped);
                }
                _ => value.push(byte),
            }
        }
        is_token(&value).then(|| String::from_utf8(value).ok()).flatten().map(Cow::Owned)
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.rest.iter().position(|&byte| !is_token_byte(byte));
        let (found, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        token(found)
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_space(&mut self) {
        while self.eat(b' ') || self.eat(b'\t') {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeaderSlots;

    type Offer = Vec<(String, Vec<(String, Option<String>)>)>;

    fn offer(lines: &[&str]) -> Result<Offer, InvalidExtensions> {
        let lines: Vec<_> =
            lines.iter().map(|line| format!("Sec-WebSocket-Extensions: {line}\r\n")).collect();
        let fields = lines.concat() + "\r\n";
        let mut slots = HeaderSlots::new();
        let headers = slots.parse(fields.as_bytes(), 100).expect("valid header lines");
        Extensions::validate(headers).map(|extensions| {
            let owned = |(name, value): (&str, Option<Cow<'_, str>>)| {
                (name.to_owned(), value.map(Cow::into_owned))
            };
            let params = |found: Extension<'_>| found.params().map(owned).collect();
            extensions.iter().map(|found| (found.name().to_owned(), params(found))).collect()
        })
    }

    fn deflate(params: &[(&str, Option<&str>)]) -> (String, Vec<(String, Option<String>)>) {
        let owned =
            |(name, value): &(&str, Option<&str>)| (name.to_string(), value.map(Into::into));
        ("permessage-deflate".into(), params.iter().map(owned).collect())
    }

    #[test]
    fn offers_of_all_lines_keep_their_order_and_parameters() {
        let lines = [
            "permessage-deflate; client_max_window_bits ;server_max_window_bits=10,",
            ", permessage-deflate;a=\"1\\0\"; b=\"x\" ,\tx",
        ];
        let expected = [
            deflate(&[("client_max_window_bits", None), ("server_max_window_bits", Some("10"))]),
            deflate(&[("a", Some("10")), ("b", Some("x"))]),
            ("x".into(), vec![]),
        ];
        assert_eq!(offer(&lines).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn an_empty_list_offers_nothing() {
        assert_eq!(offer(&["", " , ,"]), Ok(vec![]));
    }

    #[test]
    fn what_the_grammar_forbids_is_an_error() {
        let bad = [
            "x;",
            "x; ;y",
            ";x",
            "x y",
            "x=1",
            "x; a=",
            "x; a=\"",
            "x; a=\"\"",
            "x; a=\"1",
            "x; a=\"1 0\"",
            "x; a=\"1,0\"",
            "x; a=\"\\",
            "x; a = 1",
            "x; a=1 b",
            "x/y",
            "x; a=1=2",
            "\"x\"",
            "x; a=\"b\"c",
            "x\u{e9}",
        ];
        for line in bad {
            assert_eq!(offer(&[line]), Err(InvalidExtensions), "{line:?}");
        }
    }

    #[test]
    fn a_name_of_a_javascript_prototype_is_just_a_name() {
        let expected = [("__proto__".into(), vec![]), ("constructor".into(), vec![])];
        assert_eq!(offer(&["__proto__, constructor"]).as_deref(), Ok(&expected[..]));
    }
}

#![no_main]
//! Sec-WebSocket-Extensions: the parser against one that first cuts the list into lexemes, and
//! what it yields written down again, in all the ways the grammar has for it.

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use wireloop::http::{
    DeflateParams, DeflatePolicy, Extensions, HeaderSlots, Limits, Upgrade, UpgradeError, parse,
};

/// Names, each with its parameters.
type List = Vec<(String, Vec<(String, Option<String>)>)>;

const LIMITS: Limits = Limits { head_bytes: 100_000, headers: 100, target_bytes: 100 };

fuzz_target!(|data: &[u8]| {
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    let expected: Option<Vec<List>> = lines.iter().map(|line| reference(line)).collect();
    let expected = expected.map(|lists| lists.concat());
    let Some(found) = offered(&lines) else { return };
    // Whether a header without an element may be there is a rule of the handshake's.
    if expected.as_ref().is_some_and(Vec::is_empty) {
        return;
    }
    assert_eq!(found, expected);
    let Some(list) = found else { return };
    for quote in [false, true] {
        let text = written(&list, quote);
        assert_eq!(offered(&[text.as_bytes()]), Some(Some(list.clone())), "{text}");
    }
});

/// What the server sees offered in these lines; `Some(None)` if they are refused, `None` if they
/// are not even header lines.
fn offered(lines: &[&[u8]]) -> Option<Option<List>> {
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        .to_vec();
    for line in lines {
        head.extend([b"Sec-WebSocket-Extensions: ", *line, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let mut slots = HeaderSlots::new();
    let Ok(Some((request, _))) = parse(&head, &LIMITS, &mut slots) else { return None };
    let upgrade = match Upgrade::validate(&request) {
        Err(UpgradeError::Extensions) => return Some(None),
        other => other.expect("the rest of the request is valid"),
    };
    let extensions = upgrade.extensions();
    check_answer(&extensions);
    let owned = extensions.iter().map(|extension| {
        let params = extension.params();
        let params = params.map(|(name, value)| (name.into(), value.map(Into::into)));
        (extension.name().into(), params.collect())
    });
    Some(Some(owned.collect()))
}

/// RFC 7692 section 7.1: the answer keeps to the first offer that keeps to the section.
fn check_answer(offers: &Extensions<'_>) {
    for (takeover, server_window_bits) in [(true, 15), (false, 15), (true, 9)] {
        let policy = DeflatePolicy {
            server_context_takeover: takeover,
            client_context_takeover: takeover,
            server_window_bits,
        };
        let offer = offers.iter().find_map(|extension| {
            let params: Vec<_> = extension.params().collect();
            is_acceptable(extension.name(), &params).then_some(params)
        });
        let answer = DeflateParams::negotiate(offers, &policy);
        assert_eq!(answer.is_some(), offer.is_some());
        let (Some(answer), Some(offer)) = (answer, offer) else { continue };
        let offered = |name| offer.iter().find(|(offered, _)| *offered == name);
        assert!(answer.server_no_context_takeover || takeover && offered(PARAMS[0]).is_none());
        assert!(answer.client_no_context_takeover || takeover && offered(PARAMS[1]).is_none());
        let bits = answer.server_max_window_bits;
        assert!((9..=server_window_bits).contains(&bits.unwrap_or(15)));
        if let Some((_, value)) = offered(PARAMS[2]) {
            let most: u8 = value.as_ref().expect("acceptable").parse().expect("acceptable");
            assert!(bits.is_some_and(|bits| bits <= most));
        }
        assert_eq!(answer.client_max_window_bits, None);
    }
}

const PARAMS: [&str; 4] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
];

fn is_acceptable(name: &str, params: &[(&str, Option<Cow<'_, str>>)]) -> bool {
    let windows = ["8", "9", "10", "11", "12", "13", "14", "15"];
    let is_known = |(name, value): &(&str, Option<Cow<'_, str>>)| match (*name, value.as_deref()) {
        (name, None) => name != PARAMS[2] && PARAMS.contains(&name),
        ("server_max_window_bits", Some(value)) => windows[1..].contains(&value),
        ("client_max_window_bits", Some(value)) => windows.contains(&value),
        _ => false,
    };
    let mut names: Vec<_> = params.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    name == "permessage-deflate"
        && params.iter().all(is_known)
        && names.windows(2).all(|pair| pair[0] != pair[1])
}

fn written(list: &List, quote: bool) -> String {
    let mut text = String::new();
    for (name, params) in list {
        text += &format!("{}{name}", if text.is_empty() { "" } else { "," });
        for (name, value) in params {
            match value {
                None => text += &format!(";{name}"),
                Some(value) if !quote => text += &format!(" ; {name}={value}"),
                Some(value) => {
                    let quoted: String = value.chars().flat_map(|c| ['\\', c]).collect();
                    text += &format!(";\t{name}=\"{quoted}\"");
                }
            }
        }
    }
    text
}

#[derive(Debug, PartialEq)]
enum Lexeme {
    Token(String),
    /// A quoted string whose content is a token.
    Quoted(String),
    /// `,`, `;` or `=`.
    Mark(u8),
    Space,
}

/// RFC 6455 section 9.1 on lexemes; `None` if the line is no list of extensions.
fn reference(line: &[u8]) -> Option<List> {
    let lexemes = lex(line)?;
    let mut list = List::new();
    for element in lexemes.split(|lexeme| *lexeme == Lexeme::Mark(b',')) {
        let mut parts = element.split(|lexeme| *lexeme == Lexeme::Mark(b';')).map(trimmed);
        let first = parts.next()?;
        if first.is_empty() && parts.clone().next().is_none() {
            continue;
        }
        let [Lexeme::Token(name)] = first else { return None };
        let params = parts.map(|part| match part {
            [Lexeme::Token(name)] => Some((name.clone(), None)),
            [
                Lexeme::Token(name),
                Lexeme::Mark(b'='),
                Lexeme::Token(value) | Lexeme::Quoted(value),
            ] => Some((name.clone(), Some(value.clone()))),
            _ => None,
        });
        list.push((name.clone(), params.collect::<Option<_>>()?));
    }
    Some(list)
}

fn trimmed(mut lexemes: &[Lexeme]) -> &[Lexeme] {
    while let [Lexeme::Space, rest @ ..] | [rest @ .., Lexeme::Space] = lexemes {
        lexemes = rest;
    }
    lexemes
}

fn lex(line: &[u8]) -> Option<Vec<Lexeme>> {
    let mut lexemes = Vec::new();
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        lexemes.push(match byte {
            b',' | b';' | b'=' => Lexeme::Mark(byte),
            b' ' | b'\t' => Lexeme::Space,
            b'"' => {
                let mut content = String::new();
                loop {
                    match bytes.next()? {
                        b'"' => break,
                        b'\\' => content.push(bytes.next()?.into()),
                        other => content.push(other.into()),
                    }
                }
                let is_token = !content.is_empty() && content.chars().all(is_tchar);
                is_token.then_some(Lexeme::Quoted(content))?
            }
            _ if is_tchar(byte.into()) => {
                let mut token = String::from(char::from(byte));
                while let Some(next) = bytes.next_if(|&next| is_tchar(next.into())) {
                    token.push(next.into());
                }
                Lexeme::Token(token)
            }
            _ => return None,
        });
    }
    Some(lexemes)
}

/// RFC 9110 section 5.6.2.
fn is_tchar(character: char) -> bool {
    matches!(character, '0'..='9' | 'a'..='z' | 'A'..='Z') || "!#$%&'*+-.^_`|~".contains(character)
}

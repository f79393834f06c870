//! Heads that arrive in pieces, are too long, or are not going to be one.

use super::*;

const HEAD: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";

fn scan(input: &[u8]) -> Result<Option<usize>, RequestError> {
    HeadScanner::default().complete(input, &Limits::default())
}

#[test]
fn every_split_finds_the_same_head() {
    let mut input = b"\r\n".to_vec();
    input.extend_from_slice(HEAD);
    let length = input.len();
    input.extend_from_slice(b"\x81\x85frames");
    for first in 0..length {
        for second in first..length {
            let mut scanner = HeadScanner::default();
            let limits = Limits::default();
            assert_eq!(scanner.complete(&input[..first], &limits), Ok(None));
            assert_eq!(scanner.complete(&input[..second], &limits), Ok(None));
            let head = scanner.scan(&input, &limits).expect("valid").expect("complete");
            assert_eq!(head.len(), length);
            assert_eq!(head.request_line(), b"GET /chat HTTP/1.1");
            assert_eq!(head.fields(), b"Host: a\r\nX: \r\n\r\n");
        }
    }
}

#[test]
fn every_split_finds_the_same_error() {
    let bad: [(&[u8], RequestError); 4] = [
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", RequestError::BareLineFeed),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", RequestError::BareLineFeed),
        (b"\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", RequestError::RequestLine),
        (b"\r\n GET / HTTP/1.1\r\n\r\n", RequestError::RequestLine),
    ];
    for (input, error) in bad {
        for split in 0..input.len() {
            let mut scanner = HeadScanner::default();
            let limits = Limits::default();
            let found = scanner.complete(&input[..split], &limits);
            let found = found.and_then(|_| scanner.complete(input, &limits));
            assert_eq!(found, Err(error), "{} at {split}", input.escape_ascii());
        }
    }
}

#[test]
fn a_head_byte_by_byte_costs_linear_time() {
    let limits = Limits { head_bytes: 1 << 20, ..Limits::default() };
    let mut input = b"GET / HTTP/1.1\r\nX: ".to_vec();
    input.resize(limits.head_bytes - 4, b'x');
    input.extend_from_slice(b"\r\n\r\n");
    // Looking at a million heads from their start would take hours, not milliseconds.
    let mut scanner = HeadScanner::default();
    for end in 1..input.len() {
        assert_eq!(scanner.complete(&input[..end], &limits), Ok(None));
    }
    assert_eq!(scanner.complete(&input, &limits), Ok(Some(input.len())));
}

#[test]
fn a_tls_hello_is_refused_at_its_first_byte() {
    assert_eq!(scan(&[0x16]), Err(RequestError::RequestLine));
    assert_eq!(scan(b"\0"), Err(RequestError::RequestLine));
}

#[test]
fn two_empty_lines_before_the_request_line_are_skipped_but_not_three() {
    for (blank, expected) in [(1, true), (2, true), (3, false)] {
        let input = [b"\r\n".repeat(blank), HEAD.to_vec()].concat();
        assert_eq!(scan(&input).is_ok(), expected, "{blank} empty lines");
    }
}

#[test]
fn a_head_of_exactly_the_limit_passes_and_one_byte_more_is_431() {
    let exact = Limits { head_bytes: HEAD.len(), ..Limits::default() };
    let less = Limits { head_bytes: HEAD.len() - 1, ..Limits::default() };
    assert_eq!(HeadScanner::default().complete(HEAD, &exact), Ok(Some(HEAD.len())));
    assert_eq!(HeadScanner::default().complete(HEAD, &less), Err(RequestError::HeadTooLarge));
    assert_eq!(
        HeadScanner::default().complete(&HEAD[..less.head_bytes], &less),
        Err(RequestError::HeadTooLarge),
        "no byte more is awaited"
    );
    assert_eq!(RequestError::HeadTooLarge.status(), 431);
}

#[test]
fn a_request_line_without_end_is_414_before_the_head_is_too_large() {
    let input = [b"GET /".to_vec(), vec![b'a'; 9000]].concat();
    assert_eq!(scan(&input), Err(RequestError::TargetTooLong));
    assert_eq!(RequestError::TargetTooLong.status(), 414);
}

#[test]
fn a_shorter_input_than_before_is_no_panic() {
    let mut scanner = HeadScanner::default();
    assert_eq!(scanner.complete(&HEAD[..20], &Limits::default()), Ok(None));
    assert_eq!(scanner.complete(b"GET", &Limits::default()), Ok(None));
    assert_eq!(scanner.complete(b"", &Limits::default()), Ok(None));
}

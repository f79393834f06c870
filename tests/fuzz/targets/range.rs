#![no_main]
//! Range requests: what is served lies within the file and is what RFC 9110 section 14 says,
//! worked out in wider numbers.

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use wireloop::http::{Decision, FileInfo, HeaderSlots, Limits, decide, parse};
use wireloop_fuzz::Choices;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let method = choices.one_of(&["GET", "HEAD"]);
    let mut length = 0;
    for _ in 0..8 {
        length = length << 8 | u64::from(choices.byte());
    }
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let read = modified + Duration::from_secs(2);
    let file = FileInfo { length, modified, read, coding: None };
    let etag = file.etag();
    let (condition, holds) = match choices.byte() % 6 {
        0 | 1 => (String::new(), true),
        2 => (format!("If-Range: {etag}\r\n"), true),
        3 => (format!("If-Range: W/{etag}\r\n"), false),
        4 => ("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(), true),
        _ => ("If-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n".into(), false),
    };
    let line = choices.0;
    let start = format!("{method} / HTTP/1.1\r\nHost: a\r\n{condition}Range: ");
    let head = [start.as_bytes(), line, b"\r\n\r\n"].concat();
    let limits = Limits { head_bytes: 100_000, ..Limits::default() };
    let mut slots = HeaderSlots::new();
    let Ok(Some((request, _))) = parse(&head, &limits, &mut slots) else { return };
    if request.headers().len() != 2 + usize::from(!condition.is_empty()) {
        return;
    }
    let line = request.header("Range").expect("it is there");
    let decision = decide(&request, &file);
    let is_asked = method == "GET" && holds;
    let expected = if is_asked { reference(line, length) } else { Decision::Full };
    assert_eq!(decision, expected);
    if let Decision::Partial { start, length: part } = decision {
        assert!(part > 0 && start.checked_add(part).is_some_and(|end| end <= length));
    }
});

/// Sections 14.1 and 14.2: one range of bytes; anything else is as if there were no header.
fn reference(line: &[u8], length: u64) -> Decision {
    let Ok(text) = std::str::from_utf8(line) else { return Decision::Full };
    let text = text.trim_matches([' ', '\t']).to_ascii_lowercase();
    let range = text.strip_prefix("bytes=").map(|range| range.trim_matches([' ', '\t']));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return Decision::Full;
    };
    let number = |digits: &str| -> Option<u128> {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Numbers of any length: all those beyond 64 bits are beyond every file.
        let beyond = u128::from(u64::MAX);
        let digits = digits.trim_start_matches('0');
        let value = if digits.len() > 30 { beyond } else { digits.parse().unwrap_or(0) };
        is_number.then_some(value.min(beyond))
    };
    let total = u128::from(length);
    let (start, end) = match (first, number(first), last, number(last)) {
        (_, Some(first), "", _) => (first, total),
        (_, Some(first), _, Some(last)) if first <= last => (first, total.min(last + 1)),
        ("", _, _, Some(0)) => return Decision::Unsatisfiable,
        ("", _, _, Some(_)) if total == 0 => return Decision::Full,
        ("", _, _, Some(suffix)) => (total.saturating_sub(suffix), total),
        _ => return Decision::Full,
    };
    if start >= total {
        return Decision::Unsatisfiable;
    }
    Decision::Partial { start: start as u64, length: (end - start) as u64 }
}

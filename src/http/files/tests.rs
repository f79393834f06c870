//! Conditional and range requests, one test for each rule of RFC 9110.

use super::*;
use crate::http::{HeaderSlots, Limits, SourceError, parse};

const MODIFIED: u64 = 784_111_777;
const LAST_MODIFIED_DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn file() -> FileInfo {
    let modified = SystemTime::UNIX_EPOCH + Duration::new(MODIFIED, 5);
    FileInfo { length: 10, modified, read: modified + Duration::from_secs(60), coding: None }
}

/// The same file a moment after it was written.
fn new_file() -> FileInfo {
    FileInfo { read: file().modified + Duration::from_millis(1_999), ..file() }
}

fn decision_of(method: &str, lines: &[&str]) -> Decision {
    decide_on(&file(), method, lines)
}

fn decide_on(file: &FileInfo, method: &str, lines: &[&str]) -> Decision {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let input = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let mut slots = HeaderSlots::new();
    let parsed = parse(input.as_bytes(), &Limits::default(), &mut slots);
    let (request, _) = parsed.expect("valid").expect("complete");
    decide(&request, file)
}

fn decision(lines: &[&str]) -> Decision {
    decision_of("GET", lines)
}

fn response(decision: Decision, file: &FileInfo) -> Response {
    struct Nothing;
    impl Source for Nothing {
        fn read(&mut self, _: &mut [u8]) -> Result<usize, SourceError> {
            Err(SourceError::Truncated)
        }
    }
    file_response(decision, "a/page.html", file, |_, _| Box::new(Nothing))
}

fn header(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name).map(|value| value.to_str().expect("ASCII"))
}

#[test]
fn a_path_names_a_file_below_the_root() {
    let good = [
        ("/", "index.html"),
        ("", "index.html"),
        ("/a", "a"),
        ("/a/", "a/index.html"),
        ("/a/b%20c.css", "a/b c.css"),
        ("/caf%C3%A9", "caf\u{e9}"),
        ("/%252e%252e/a", "%2e%2e/a"),
        ("/...", "..."),
        ("/..;/a", "..;/a"),
        ("/c:/a", "c:/a"),
        ("/a. ", "a. "),
    ];
    for (path, name) in good {
        assert_eq!(relative_path(path).as_deref(), Ok(name), "{path:?}");
    }
}

#[test]
fn a_path_cannot_lead_out() {
    let bad = [
        ("/..", InvalidPath::Dots),
        ("/../x", InvalidPath::Dots),
        ("/a/../x", InvalidPath::Dots),
        ("/%2e%2e/x", InvalidPath::Dots),
        ("/.%2E", InvalidPath::Dots),
        ("/./x", InvalidPath::Dots),
        ("/a/.", InvalidPath::Dots),
        ("//etc/passwd", InvalidPath::EmptyComponent),
        ("/a//b", InvalidPath::EmptyComponent),
        ("/a//", InvalidPath::EmptyComponent),
        ("/..%2fx", InvalidPath::ForbiddenCharacter),
        ("/%2fetc/passwd", InvalidPath::ForbiddenCharacter),
        ("/..\\x", InvalidPath::ForbiddenCharacter),
        ("/..%5cx", InvalidPath::ForbiddenCharacter),
        ("/a%00.html", InvalidPath::ForbiddenCharacter),
        ("/a%0d%0aSet-Cookie:b", InvalidPath::ForbiddenCharacter),
        ("/a%7f", InvalidPath::ForbiddenCharacter),
        ("/a%c2%85", InvalidPath::ForbiddenCharacter),
        ("/%c0%ae%c0%ae/x", InvalidPath::NotUtf8),
        ("/%ff", InvalidPath::NotUtf8),
    ];
    for (path, error) in bad {
        assert_eq!(relative_path(path), Err(error), "{path:?}");
        assert_eq!(error.status(), 404);
    }
}

#[test]
fn a_name_is_a_dotfile_if_any_segment_begins_with_a_dot() {
    for name in [".env", ".git/config", "a/.b/c", "a/.htpasswd", "...", "..;/a", ".Well-Known/a"] {
        assert!(is_dotfile(name), "{name}");
    }
    for name in [".well-known/.a", ".well-known.html", ".well-known2/a"] {
        assert!(is_dotfile(name), "{name}");
    }
    for name in ["index.html", "a.b/c.", ".well-known/acme", "a/.well-known", "%2egit/config"] {
        assert!(!is_dotfile(name), "{name}");
    }
}

#[test]
fn the_tag_is_strong_quoted_and_changes_with_the_file() {
    let tag = file().etag();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{tag}");
    let later = file().modified + Duration::from_nanos(1);
    for other in [
        FileInfo { length: 11, ..file() },
        FileInfo { modified: later, ..file() },
        FileInfo { coding: Some(ContentCoding::Gzip), ..file() },
    ] {
        assert_ne!(other.etag(), tag);
    }
    let copied = FileInfo { read: file().read + Duration::from_secs(1), ..file() };
    assert_eq!(copied.etag(), tag, "copies on several servers have one tag");
}

/// 8.8.1: two changes within a step of the clock leave the same time and length.
#[test]
fn the_tag_of_a_file_that_has_just_changed_is_weak() {
    let (strong, weak) = (file().etag(), new_file().etag());
    assert!(weak.starts_with("W/\"") && weak.ends_with('"'), "{weak}");
    let opaque = weak.trim_start_matches("W/");
    assert_ne!(opaque, strong, "it must not stand for what the strong one stands for");
    let of = |line: String| decide_on(&new_file(), "GET", &[&line, "Range: bytes=2-4"]);
    assert_eq!(of(format!("If-None-Match: {weak}")), Decision::NotModified);
    assert_eq!(of(format!("If-Match: {weak}")), Decision::PreconditionFailed);
    assert_eq!(of(format!("If-Match: {opaque}")), Decision::PreconditionFailed);
    // 13.1.5: neither is a strong validator.
    for value in [&*weak, opaque, &strong, LAST_MODIFIED_DATE] {
        assert_eq!(of(format!("If-Range: {value}")), Decision::Full, "{value}");
    }
    let later = decision(&[&format!("If-None-Match: {weak}")]);
    assert_eq!(later, Decision::Full, "it is for two seconds");
    let future = FileInfo { read: file().modified - Duration::from_secs(60), ..file() };
    assert!(future.etag().starts_with("W/"), "a change may come at any time until then");
}

#[test]
fn a_plain_request_gets_the_whole_file() {
    assert_eq!(decision(&[]), Decision::Full);
    let response = response(Decision::Full, &file());
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, ETAG), Some(&*file().etag()));
    assert_eq!(header(&response, LAST_MODIFIED), Some(LAST_MODIFIED_DATE));
    assert_eq!(header(&response, ACCEPT_RANGES), Some("bytes"));
    assert_eq!(header(&response, CONTENT_TYPE), Some("text/html; charset=utf-8"));
    assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
    assert_eq!(response.into_body().len(), 10);
}

#[test]
fn if_none_match_compares_weakly_in_a_list() {
    let tag = file().etag();
    let matching = [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"a,b\", W/\"c\" ,{tag}"),
        "*".into(),
        format!(",, {tag}"),
    ];
    for value in matching {
        let line = format!("If-None-Match: {value}");
        assert_eq!(decision(&[&line]), Decision::NotModified, "{value}");
        assert_eq!(decision_of("HEAD", &[&line]), Decision::NotModified, "{value}");
    }
    let bare = tag.trim_matches('"');
    for value in ["\"other\"", "", bare, "\"*\"", "w/\"a\"", "\""] {
        assert_eq!(decision(&[&format!("If-None-Match: {value}")]), Decision::Full, "{value}");
    }
    let lines = ["If-None-Match: \"other\"", &format!("If-None-Match: {tag}")];
    assert_eq!(decision(&lines), Decision::NotModified);
}

#[test]
fn if_none_match_overrides_if_modified_since() {
    let since = format!("If-Modified-Since: {LATER}");
    assert_eq!(decision(&["If-None-Match: \"other\"", &since]), Decision::Full);
}

#[test]
fn if_modified_since_counts_whole_seconds() {
    let of = |date: &str| decision(&[&format!("If-Modified-Since: {date}")]);
    assert_eq!(of(LAST_MODIFIED_DATE), Decision::NotModified);
    assert_eq!(of(LATER), Decision::NotModified);
    assert_eq!(of(EARLIER), Decision::Full);
    assert_eq!(of("Sunday, 06-Nov-94 08:49:37 GMT"), Decision::NotModified);
    assert_eq!(of("yesterday"), Decision::Full);
    let twice = format!("If-Modified-Since: {LATER}");
    assert_eq!(decision(&[&twice, &twice]), Decision::Full);
}

#[test]
fn if_match_compares_strongly() {
    let tag = file().etag();
    let of = |value: &str| decision(&[&format!("If-Match: {value}")]);
    assert_eq!(of(&tag), Decision::Full);
    assert_eq!(of("*"), Decision::Full);
    assert_eq!(of(&format!("W/{tag}")), Decision::PreconditionFailed);
    assert_eq!(of("\"other\""), Decision::PreconditionFailed);
}

#[test]
fn if_unmodified_since_counts_without_if_match_only() {
    let line = format!("If-Unmodified-Since: {EARLIER}");
    assert_eq!(decision(&[&line]), Decision::PreconditionFailed);
    assert_eq!(decision(&[&line, &format!("If-Match: {}", file().etag())]), Decision::Full);
    assert_eq!(decision(&[&format!("If-Unmodified-Since: {LATER}")]), Decision::Full);
}

#[test]
fn a_range_is_for_get_only() {
    let part = Decision::Partial { start: 2, length: 3 };
    assert_eq!(decision(&["Range: bytes=2-4"]), part);
    assert_eq!(decision_of("HEAD", &["Range: bytes=2-4"]), Decision::Full);
    assert_eq!(decision(&["Range: bytes=10-"]), Decision::Unsatisfiable);
    assert_eq!(decision(&["Range: bytes=0-1", "Range: bytes=2-3"]), Decision::Full);
}

#[test]
fn a_precondition_precedes_the_range() {
    let condition = format!("If-None-Match: {}", file().etag());
    assert_eq!(decision(&[&condition, "Range: bytes=2-4"]), Decision::NotModified);
    assert_eq!(decision(&["If-Match: \"x\"", "Range: bytes=99-"]), Decision::PreconditionFailed);
}

#[test]
fn if_range_is_exact() {
    let of = |value: &str| decision(&[&format!("If-Range: {value}"), "Range: bytes=2-4"]);
    let tag = file().etag();
    let part = Decision::Partial { start: 2, length: 3 };
    assert_eq!(of(&tag), part);
    assert_eq!(of(LAST_MODIFIED_DATE), part);
    for value in [&*format!("W/{tag}"), "\"other\"", LATER, EARLIER, "*", "", "nonsense"] {
        assert_eq!(of(value), Decision::Full, "{value:?}");
    }
    let line = format!("If-Range: {tag}");
    assert_eq!(decision(&[&line, &line, "Range: bytes=2-4"]), Decision::Full);
}

#[test]
fn coded_content_says_so_and_keeps_the_type_of_the_original() {
    let coded = FileInfo { coding: Some(ContentCoding::Brotli), ..file() };
    let full = response(Decision::Full, &coded);
    assert_eq!(header(&full, CONTENT_ENCODING), Some("br"));
    assert_eq!(header(&full, CONTENT_TYPE), Some("text/html; charset=utf-8"));
    assert_eq!(header(&response(Decision::NotModified, &coded), CONTENT_ENCODING), None);
    assert_eq!(header(&response(Decision::Full, &file()), CONTENT_ENCODING), None);
}

#[test]
fn a_part_says_which_it_is() {
    let response = response(Decision::Partial { start: 2, length: 3 }, &file());
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&response, CONTENT_RANGE), Some("bytes 2-4/10"));
    assert_eq!(response.into_body().len(), 3);
}

#[test]
fn answers_without_content_open_no_source() {
    for (decision, status) in [
        (Decision::NotModified, 304),
        (Decision::PreconditionFailed, 412),
        (Decision::Unsatisfiable, 416),
    ] {
        let source = |_, _| -> Box<dyn Source> { panic!("nothing is to be read") };
        let response = file_response(decision, "a", &file(), source);
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key(ETAG));
        let range = (status == 416).then_some("bytes */10");
        assert_eq!(header(&response, CONTENT_RANGE), range);
        assert!(response.into_body().is_empty());
    }
}

#[test]
fn a_time_no_http_date_can_express_is_left_out() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
    for modified in [before, far] {
        let file = FileInfo { modified, ..file() };
        assert_eq!(header(&response(Decision::Full, &file), LAST_MODIFIED), None);
    }
    let source = |_, _| -> Box<dyn Source> { panic!("nothing is to be read") };
    let future = FileInfo { read: SystemTime::UNIX_EPOCH, ..file() };
    let future = file_response(Decision::NotModified, "a", &future, source);
    assert_eq!(header(&future, LAST_MODIFIED), None);
}

#[test]
fn text_is_declared_to_be_utf8() {
    let types = [
        ("index.html", "text/html; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "application/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.wasm", "application/wasm"),
        ("a.woff2", "font/woff2"),
        ("a.png", "image/png"),
        ("favicon.ico", "image/x-icon"),
        ("a.unheard-of", "application/octet-stream"),
        ("Makefile", "application/octet-stream"),
    ];
    for (name, expected) in types {
        assert_eq!(content_type(name), expected, "{name}");
    }
}

#[test]
fn sixteen_kilobytes_of_tags_cost_linear_time() {
    let tags = format!("If-None-Match: {}", "\"a\",".repeat(3_500));
    assert_eq!(decision(&[&tags]), Decision::Full);
    let quotes = format!("If-None-Match: {}", "W/".repeat(7_000));
    assert_eq!(decision(&[&quotes]), Decision::Full);
}

#![no_main]
//! Request targets: what becomes of a path. A file's name never leads out of the root, and is the
//! path decoded exactly once; a route is found if and only if a pattern fits.

use std::path::{Component, Path};

use http::Method;
use libfuzzer_sys::fuzz_target;
use wireloop::http::{
    HeaderSlots, Limits, Lookup, Router, TRAILING_WILDCARD, parse, relative_path,
};
use wireloop_fuzz::Choices;

const PATTERNS: [&str; 10] = [
    "/",
    "/static/**",
    "/users/{id}",
    "/users/{id}/posts/{post}",
    "/users/me/*",
    "/a/b/c",
    "/a/*/c/",
    "/{any}/b/**",
    "/a/{x}/c/d",
    "/%41/~x",
];

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let choice = choices.byte();
    // Any text at all must be safe to look at, not only what a request can hold.
    if let Ok(text) = std::str::from_utf8(choices.0) {
        file(text);
        routes(text, choice);
    }
    let head = [b"GET ", choices.0, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let mut slots = HeaderSlots::new();
    let Ok(Some((request, length))) = parse(&head, &Limits::default(), &mut slots) else { return };
    // Two requests in one would be smuggling.
    assert_eq!(length, head.len());
    assert_eq!(request.target().as_bytes(), choices.0);
    let path = request.path();
    assert!(path.starts_with('/') && !path.contains(['?', '#']));
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
    let with_query =
        [Some(path), request.query()].into_iter().flatten().collect::<Vec<_>>().join("?");
    assert!(request.target().ends_with(&with_query) || path == "/");
    file(path);
    routes(path, choice);
});

fn file(path: &str) {
    let Ok(name) = relative_path(path) else { return };
    assert!(!name.contains(|character: char| character.is_control() || character == '\\'));
    let components: Vec<_> = Path::new(&name).components().collect();
    assert!(components.iter().all(|component| matches!(component, Component::Normal(_))), "{name}");
    // No component vanishes, as `.` and empty ones do.
    assert_eq!(components.len(), name.split('/').count(), "{name}");
    let meant = path.strip_prefix('/').unwrap_or(path);
    let is_directory = meant.is_empty() || meant.ends_with('/');
    let meant = format!("{meant}{}", if is_directory { "index.html" } else { "" });
    assert_eq!(decoded(&meant), name.as_bytes(), "decoded once");
    assert_eq!(meant.split('/').count(), components.len(), "an encoded slash is no separator");
}

/// RFC 3986 section 2.1; what is no encoding stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        match after {
            [high, low, after @ ..] if first == b'%' && digit(high).and(digit(low)).is_some() => {
                let value = digit(high).unwrap_or(0) * 16 + digit(low).unwrap_or(0);
                bytes.push(value as u8);
                rest = after;
            }
            _ => bytes.push(first),
        }
    }
    bytes
}

fn routes(path: &str, choice: u8) {
    let mut router = Router::new();
    let with: Vec<&str> = PATTERNS
        .into_iter()
        .enumerate()
        .filter(|(index, _)| choice & (1 << (index % 8)) == 0)
        .map(|(_, pattern)| pattern)
        .collect();
    for pattern in &with {
        router.add(Some(Method::GET), pattern, *pattern).expect("it is well formed");
    }
    let fits = |pattern: &&&str| path.starts_with('/') && fits(pattern, path);
    match router.find(&Method::GET, path) {
        Lookup::Found { value, variables } => {
            assert!(fits(&value), "{value} does not fit {path}");
            let parts = value.split('/').zip(path.split('/'));
            for (name, part) in parts {
                if let Some(name) = name.strip_prefix('{').and_then(|n| n.strip_suffix('}')) {
                    assert_eq!(variables.value(name).map(str::as_bytes), Some(&*decoded(part)));
                }
            }
            if let Some(prefix) = value.strip_suffix("/**") {
                let depth = prefix.split('/').count();
                let rest: String =
                    path.split('/').skip(depth).map(|part| format!("/{part}")).collect();
                assert_eq!(variables.value(TRAILING_WILDCARD), Some(&*rest));
            }
        }
        Lookup::NotFound => assert_eq!(with.iter().find(fits), None, "{path}"),
        Lookup::Options { .. } => assert_eq!(path, "*"),
        Lookup::MethodNotAllowed { .. } => panic!("every route is for GET"),
    }
}

/// Whether a path is one that a pattern stands for.
fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for component in pattern.split('/') {
        if component == "**" {
            return true;
        }
        let Some(part) = parts.next() else { return false };
        let part_text = decoded(part);
        let is_fit = match component {
            "*" => true,
            _ if component.starts_with('{') => {
                !part.is_empty() && std::str::from_utf8(&part_text).is_ok()
            }
            _ => part_text.eq_ignore_ascii_case(component.as_bytes()),
        };
        if !is_fit {
            return false;
        }
    }
    parts.next().is_none()
}

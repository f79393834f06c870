//! What the design forbids and no compiler checks: which layer may name which, where `unsafe` may
//! stand, how long a file may be, and that each one says what it is.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The only files that may hold `unsafe`.
const UNSAFE_FILES: [&str; 2] = ["src/io/sys.rs", "src/io/uring.rs"];

const LINES_MAX: usize = 500;
const LINES_WITH_TESTS_MAX: usize = 800;

/// What a layer may name, each by the start of its path.
struct Layer {
    name: &'static str,
    /// Modules and types of this crate.
    own: &'static [&'static str],
    /// Other crates.
    crates: &'static [&'static str],
    /// What it may not name although the crate is allowed.
    never: &'static [&'static str],
}

/// Where the kernel or a clock could be reached.
const WORLD: &[&str] = &[
    "std::net",
    "std::io",
    "std::fs",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "std::time::Instant",
    "SystemTime::now",
    "std::time::SystemTime::now",
];

/// The arrows of docs/ARCHITECTURE.md. `Config` and `Error` are the words all connections share.
const LAYERS: [Layer; 6] = [
    Layer { name: "ws", own: &["ws"], crates: &["std", "flate2", "simdutf8"], never: WORLD },
    Layer {
        name: "http",
        own: &["http"],
        crates: &[
            "std",
            "http",
            "httparse",
            "httpdate",
            "mime_guess",
            "percent_encoding",
            "tungstenite",
        ],
        never: WORLD,
    },
    Layer {
        name: "io",
        own: &["io"],
        crates: &[
            "std", "mio", "rustix", "libc", "socket2", "io_uring", "memmap2", "fastrand", "slab",
            "tracing",
        ],
        never: &[],
    },
    Layer {
        name: "conn",
        own: &["conn", "ws", "http", "io", "config", "error", "sync", "Config", "Error"],
        crates: &["std", "http", "slab", "tracing"],
        never: &[
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::fs",
            "std::thread",
            "Instant",
            "std::time::Instant",
            "SystemTime::now",
        ],
    },
    Layer {
        name: "server",
        own: &["server", "conn", "io", "session", "config", "error", "sync", "Config", "Error"],
        crates: &["std", "tracing"],
        never: &[],
    },
    Layer {
        name: "session",
        own: &[
            "session", "conn", "ws", "http", "config", "error", "Config", "Error", "Received",
            "Handle", "Frame",
        ],
        crates: &["std", "http", "httpdate", "rustix", "tracing"],
        never: &["std::net::TcpStream", "std::net::TcpListener"],
    },
];

/// A source file, as it is and as the rules look at it.
struct Source {
    path: String,
    text: String,
    /// Words and punctuation, without comments and literals.
    tokens: Vec<String>,
}

#[test]
fn layers_name_only_what_is_below_them() {
    let crates = dependencies();
    let mut faults = String::new();
    for source in sources(&["src"]) {
        let layer = LAYERS.iter().find(|layer| {
            source.path.starts_with(&format!("src/{}/", layer.name))
                || source.path == format!("src/{}.rs", layer.name)
        });
        let Some(layer) = layer else { continue };
        for path in paths(&source.tokens) {
            if let Some(fault) = fault(layer, &path, &crates) {
                let _ = writeln!(
                    faults,
                    "{}: {} may not name {path}: {fault}",
                    source.path, layer.name
                );
            }
        }
    }
    assert!(
        faults.is_empty(),
        "\n{faults}Move the code to a layer that may, or hand in what is needed as an argument."
    );
}

fn fault(layer: &Layer, path: &str, crates: &[String]) -> Option<&'static str> {
    let starts = |prefix: &&str| path == *prefix || path.starts_with(&format!("{prefix}::"));
    if layer.never.iter().any(starts) {
        return Some("it reaches the kernel or a clock");
    }
    let (first, rest) = path.split_once("::")?;
    if first == "crate" {
        let own = rest.split("::").next()?;
        return (!layer.own.contains(&own)).then_some("it is above or beside it");
    }
    let is_crate = crates.iter().any(|name| name == first) && first != "http";
    let is_allowed = layer.crates.contains(&first);
    (is_crate && !is_allowed).then_some("the layer does without this crate")
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let holders: Vec<String> = sources(&["src", "bench-client", "benches", "tests", "examples"])
        .into_iter()
        .filter(|source| source.tokens.iter().any(|token| token == "unsafe"))
        .map(|source| source.path)
        .filter(|path| !UNSAFE_FILES.contains(&path.as_str()))
        .collect();
    assert!(
        holders.is_empty(),
        "unsafe in {holders:?}: move it behind a safe function of src/io/sys.rs"
    );
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let unfinished =
        [concat!("FIX", "ME"), concat!("XX", "X"), concat!("db", "g!("), concat!("to", "do!(")];
    let mut faults = String::new();
    for Source { path, text, .. } in
        sources(&["src", "bench-client", "benches", "tests", "examples"])
    {
        let lines = text.lines().count();
        let code = text.lines().take_while(|line| *line != "mod tests {").count();
        if code > LINES_MAX || lines > LINES_WITH_TESTS_MAX {
            let _ = writeln!(
                faults,
                "{path}: {code} lines, {lines} with tests: split it by what it owns"
            );
        }
        let first = text.lines().find(|line| !line.starts_with("#!"));
        if !first.is_some_and(|line| line.starts_with("//! ")) {
            let _ = writeln!(faults, "{path}: start it with //! and what it owns, in 2 to 5 lines");
        }
        for word in unfinished.iter().filter(|word| text.contains(**word)) {
            let _ = writeln!(faults, "{path}: holds {word}: finish it, or say TODO and why");
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

/// A table that promises a test which is not there is worse than none.
#[test]
fn conformance_names_tests_that_exist_and_leaves_none_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/CONFORMANCE.md")).expect("it can be read");
    let named: Vec<(String, &str)> = text.split('`').skip(1).step_by(2).filter_map(link).collect();
    let sources = sources(&["src", "tests", "bench-client"]);
    let mut faults = String::new();
    for (path, name) in &named {
        let source = sources.iter().find(|source| source.path == *path);
        if !source.is_some_and(|source| functions(source).any(|function| function == *name)) {
            let _ = writeln!(faults, "docs/CONFORMANCE.md: there is no test {name} in {path}");
        }
    }
    for source in sources.iter().filter(|source| source.path.starts_with("tests/conformance/")) {
        for name in tests(source) {
            if !named.contains(&(source.path.clone(), name)) {
                let _ =
                    writeln!(faults, "docs/CONFORMANCE.md leaves out {name} of {}", source.path);
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

/// The file and the function that `frames::name` or `tests/endings.rs: name` stands for.
fn link(code: &str) -> Option<(String, &str)> {
    if let Some((path, name)) = code.split_once(".rs: ") {
        return Some((format!("{path}.rs"), name));
    }
    let (module, name) = code.split_once("::")?;
    let is_name =
        |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c));
    (is_name(module) && is_name(name)).then(|| (format!("tests/conformance/{module}.rs"), name))
}

/// The names of all functions in a file.
fn functions(source: &Source) -> impl Iterator<Item = &str> {
    source.tokens.windows(2).filter(|pair| pair[0] == "fn").map(|pair| pair[1].as_str())
}

/// The names of all functions that are marked as tests and nothing else.
fn tests(source: &Source) -> impl Iterator<Item = &str> {
    let marked = source.tokens.windows(6).filter(|six| six[..5] == ["#", "[", "test", "]", "fn"]);
    marked.map(|six| six[5].as_str())
}

/// All Rust files below these directories.
fn sources(directories: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = directories.iter().map(|name| root.join(name)).collect();
    while let Some(directory) = open.pop() {
        // Not all of the directories have to be there.
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.expect("the source can be read").path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "target" {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the source can be read");
                let path = path.strip_prefix(root).expect("it is below").display().to_string();
                found.push(Source { path, tokens: tokens(&text), text });
            }
        }
    }
    assert!(!found.is_empty(), "there is source");
    found
}

/// The crates that Cargo.toml names, as Rust names them, and the standard library.
fn dependencies() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("it can be read");
    let names = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let names = names.take_while(|line| !line.starts_with('['));
    let names = names.filter_map(|line| line.split([' ', '.', '=']).next());
    let names = names.filter(|name| !name.is_empty() && !name.starts_with('#'));
    names.chain(["std", "core", "alloc"]).map(|name| name.replace('-', "_")).collect()
}

/// Words, `::` and other single characters; comments, strings and character literals are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            string_length(rest)
        } else if let Some(length) = character_length(rest) {
            length
        } else if first.is_alphabetic() || first == '_' {
            let is_end = |c: char| !c.is_alphanumeric() && c != '_';
            let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
            tokens.push(word.into());
            word.len()
        } else if rest.starts_with("::") {
            tokens.push("::".into());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.into());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |(index, _)| index + 1)
}

/// The length of a character literal; `None` for a lifetime.
fn character_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let after = if inner.starts_with('\\') { 2 } else { inner.chars().next()?.len_utf8() };
    let close = inner[after..].find('\'')?;
    // `'a, 'b` is no literal; `'\u{1F600}'` is one.
    (close == 0 || inner.starts_with('\\')).then_some(1 + after + close + 1)
}

/// All paths of two or more words, those of a list `a::{b, c::d}` one by one.
fn paths(tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = 0;
    while next < tokens.len() {
        let start = next;
        next = collect(tokens, next, "", &mut found).max(start + 1);
    }
    found.retain(|path| path.contains("::"));
    found
}

/// Collects the path that starts at `next`, and those of its list; where it ends.
fn collect(tokens: &[String], mut next: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut path = prefix.to_owned();
    loop {
        match tokens.get(next).map(String::as_str) {
            Some("{") if path.ends_with("::") => {
                next += 1;
                while tokens.get(next).is_some_and(|token| token != "}") {
                    let start = next;
                    next = collect(tokens, next, &path, found);
                    // Commas, `as` and `*` are no paths.
                    next = next.max(start + 1);
                }
                return next + 1;
            }
            Some(word) if is_word(word) && (path.is_empty() || path.ends_with("::")) => {
                path.push_str(word);
                next += 1;
            }
            _ => break,
        }
        if tokens.get(next).is_none_or(|token| token != "::") {
            break;
        }
        path.push_str("::");
        next += 1;
    }
    if path != prefix {
        found.push(path.trim_end_matches("::").to_owned());
    }
    next
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

#[test]
fn the_rules_see_through_lists_comments_and_literals() {
    let text = "use std::{fmt, io::{self, Read}}; // std::net\nlet a = \"std::fs\"; let b = '\"'; \
                fn f<'a>(x: &'a crate::ws::Role) -> u8 { Instant::now(); b'\\'' }";
    let expected =
        ["std::fmt", "std::io::self", "std::io::Read", "crate::ws::Role", "Instant::now"];
    assert_eq!(paths(&tokens(text)), expected);
    let faults =
        |path| LAYERS.iter().filter(|layer| fault(layer, path, &["mio".into()]).is_some()).count();
    assert_eq!(faults("crate::server::Worker"), 5);
    assert_eq!(faults("crate::ws::Role"), 3);
    assert_eq!(faults("mio::Poll"), 5);
    assert_eq!(faults("std::io::Read"), 2);
}

//! Static files over a real directory: what is served, and that nothing outside it is.

use std::{fs, os::unix::fs::symlink};

use ::http::header;
use tempfile::TempDir;

use super::*;
use crate::http::{Body, HeaderSlots, Limits, Lookup, Router, parse};

/// A root with some files, beside a secret that must never be served.
struct Site {
    directory: TempDir,
    router: Router<StaticFiles>,
}

impl Site {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("dir/sub")).expect("directories");
        fs::write(root.join("index.html"), "home").expect("a file");
        fs::write(root.join("dir/index.html"), "dir").expect("a file");
        fs::write(root.join("a b.txt"), "0123456789").expect("a file");
        fs::write(directory.path().join("secret"), "secret").expect("a file");
        let mut router = Router::new();
        for pattern in ["/**", "/files/**", "/*/any/**"] {
            router.add(None, pattern, StaticFiles::new(&root)).expect("a valid pattern");
        }
        Self { directory, router }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn request(&self, line: &str, lines: &str) -> Response {
        let input = format!("{line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut slots = HeaderSlots::new();
        let parsed = parse(input.as_bytes(), &Limits::default(), &mut slots);
        let (mut request, _) = parsed.expect("valid").expect("complete");
        match self.router.find(request.method(), request.path()) {
            Lookup::Found { value, variables } => {
                request.set_variables(variables);
                value.respond(&request)
            }
            other => panic!("{line} has a route, but found {other:?}"),
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let response = self.request(&format!("GET {path}"), "");
        (response.status().as_u16(), content(response))
    }
}

fn content(response: Response) -> String {
    match response.into_body() {
        Body::Empty => String::new(),
        Body::Bytes(bytes) => String::from_utf8(bytes.into_owned()).expect("text"),
        Body::Stream { length, mut source } => {
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < length {
                let mut buffer = [0; 4];
                let count = source.read(&mut buffer).expect("the file is readable");
                bytes.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(source.read(&mut [0; 4]), Ok(0), "no byte more than promised");
            String::from_utf8(bytes).expect("text")
        }
    }
}

fn location(response: &Response) -> &str {
    let location = response.headers().get(LOCATION).expect("a redirect has a location");
    location.to_str().expect("ASCII")
}

#[test]
fn files_are_served_with_their_type() {
    let site = Site::new();
    assert_eq!(site.get("/"), (200, "home".into()));
    assert_eq!(site.get("/dir/"), (200, "dir".into()));
    assert_eq!(site.get("/a%20b.txt?query"), (200, "0123456789".into()));
    assert_eq!(site.get("http://a/a%20b.txt"), (200, "0123456789".into()));
    let response = site.request("HEAD /", "");
    let content_type = response.headers().get(header::CONTENT_TYPE).expect("a type");
    assert_eq!(content_type, "text/html; charset=utf-8");
}

#[test]
fn a_route_serves_what_its_trailing_wildcard_stands_for() {
    let site = Site::new();
    assert_eq!(site.get("/files/"), (200, "home".into()));
    assert_eq!(site.get("/files/dir/"), (200, "dir".into()));
    assert_eq!(location(&site.request("GET /files", "")), "/files/");
}

#[test]
fn what_is_missing_or_no_file_is_404() {
    let site = Site::new();
    std::os::unix::net::UnixListener::bind(site.root().join("socket")).expect("a socket");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.root().join("fifo"),
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .expect("a FIFO");
    let long = format!("/{}", "a".repeat(4096));
    for path in ["/none", "/dir/sub/", "/index.html/", "/index.html/a", "/socket", "/fifo", &long] {
        assert_eq!(site.get(path).0, 404, "{path}");
    }
}

#[test]
fn dotfiles_are_served_only_if_asked_for() {
    let mut site = Site::new();
    fs::create_dir(site.root().join(".git")).expect("a directory");
    fs::write(site.root().join(".git/config"), "config").expect("a file");
    assert_eq!(site.get("/.git/config"), site.get("/none"));
    let files = StaticFiles::new(site.root()).dotfiles(true);
    site.router = Router::new();
    site.router.add(None, "/**", files).expect("a valid pattern");
    assert_eq!(site.get("/.git/config"), (200, "config".into()));
}

#[test]
fn no_path_leads_out_of_the_root() {
    let site = Site::new();
    let paths = [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%252e%252e/secret",
        "//etc/passwd",
        "/..\\secret",
        "/dir/../../secret",
        "/./secret",
        "/..;/secret",
        "/%c0%ae%c0%ae/secret",
        "/secret%00",
        "/files/../secret",
        "/files//etc/passwd",
        "http://a/../secret",
    ];
    for path in paths {
        assert_eq!(site.get(path).0, 404, "{path}");
    }
}

#[test]
fn symbolic_links_are_followed_inside_only() {
    let site = Site::new();
    let link = |target: &Path, name: &str| symlink(target, site.root().join(name)).expect("a link");
    link(Path::new("dir/index.html"), "inside");
    link(Path::new("dir"), "directory");
    link(Path::new("../secret"), "relative");
    link(&site.directory.path().join("secret"), "absolute");
    link(Path::new(".."), "parent");
    link(Path::new("loop"), "loop");
    link(Path::new("/proc/self/fd/0"), "magic");
    assert_eq!(site.get("/inside"), (200, "dir".into()));
    assert_eq!(site.get("/directory/"), (200, "dir".into()));
    for path in ["/relative", "/absolute", "/parent/secret", "/loop", "/magic", "/parent"] {
        assert_eq!(site.get(path).0, 404, "{path}");
    }
}

#[test]
fn a_link_swapped_in_while_serving_leads_nowhere() {
    let site = Site::new();
    let (inside, outside) = (site.root().join("swap"), site.root().join("swap-out"));
    fs::create_dir(&inside).expect("a directory");
    fs::write(inside.join("secret"), "public").expect("a file");
    symlink("..", &outside).expect("a link");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            let cwd = rustix::fs::CWD;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::fs::renameat_with(cwd, &inside, cwd, &outside, flags).expect("a swap");
            }
        });
        for _ in 0..2_000 {
            let (status, content) = site.get("/swap/secret");
            assert!(!content.contains("secret"), "escaped with status {status}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_directory_is_redirected_to_its_slash() {
    let site = Site::new();
    let response = site.request("GET /dir?a=//b", "");
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(location(&response), "/dir/?a=//b");
}

#[test]
fn an_index_that_is_a_directory_is_404_and_no_endless_redirect() {
    let site = Site::new();
    fs::create_dir(site.root().join("dir/sub/index.html")).expect("a directory");
    assert_eq!(site.get("/dir/sub/").0, 404);
}

#[test]
fn a_redirect_never_names_another_server() {
    let site = Site::new();
    for path in
        ["//evil.com/dir", "/\\evil.com/dir", "/dir%0d%0aX:y", "/\\/any/dir", "/%5cevil.com/dir"]
    {
        assert_eq!(site.request(&format!("GET {path}"), "").status(), 404, "{path}");
    }
    assert_eq!(location(&site.request("GET //any/dir", "")), "/any/dir/");
    assert_eq!(location(&site.request("GET http://evil.com/dir", "")), "/dir/");
}

#[test]
fn only_get_and_head_are_served() {
    let site = Site::new();
    let response = site.request("POST /", "");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers().get(header::ALLOW).expect("Allow"), "GET, HEAD, OPTIONS");
}

#[test]
fn a_range_is_read_from_its_start() {
    let site = Site::new();
    let response = site.request("GET /a%20b.txt", "Range: bytes=2-7\r\n");
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(content(response), "234567");
    let response = site.request("GET /a%20b.txt", "Range: bytes=10-\r\n");
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[test]
fn a_coded_sibling_is_sent_to_who_accepts_it() {
    let site = Site::new();
    fs::write(site.root().join("a b.txt.gz"), "gzip").expect("a file");
    fs::create_dir(site.root().join("a b.txt.br")).expect("a directory");
    let get = |lines: &str| {
        let response = site.request("GET /a%20b.txt", lines);
        let encoding = response.headers().get(header::CONTENT_ENCODING).cloned();
        assert_eq!(response.headers().get(VARY).expect("Vary"), "Accept-Encoding");
        (encoding.map(|value| value.to_str().expect("ASCII").to_owned()), content(response))
    };
    let coded = (Some("gzip".into()), "gzip".into());
    assert_eq!(get("Accept-Encoding: br, gzip\r\n"), coded);
    assert_eq!(get(""), (None, "0123456789".into()));
    assert_eq!(get("Accept-Encoding: br\r\n"), (None, "0123456789".into()));
    assert_eq!(get("Accept-Encoding: gzip, identity;q=0\r\n"), coded);
    let refused = site.request("GET /", "Accept-Encoding: gzip, identity;q=0\r\n");
    assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
    let alone = site.request("GET /a%20b.txt.gz", "");
    assert_eq!(content(alone), "gzip");
}

#[test]
fn a_client_that_has_the_file_gets_304() {
    let site = Site::new();
    let response = site.request("GET /", "");
    let tag = response.headers().get(header::ETAG).expect("a tag").to_str().expect("ASCII");
    let response = site.request("GET /", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    fs::write(site.root().join("index.html"), "newer").expect("a file");
    let response = site.request("GET /", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(response.status(), StatusCode::OK);
}

#[test]
fn a_file_truncated_while_it_is_sent_is_an_error() {
    let site = Site::new();
    let response = site.request("GET /a%20b.txt", "");
    let Body::Stream { length: 10, mut source } = response.into_body() else {
        panic!("files are streamed")
    };
    let mut buffer = [0; 4];
    assert_eq!(source.read(&mut buffer), Ok(4));
    fs::write(site.root().join("a b.txt"), "01234").expect("a file");
    assert_eq!(source.read(&mut buffer), Ok(1));
    assert_eq!(source.read(&mut buffer), Err(SourceError::Truncated));
}

#[test]
fn a_file_that_grows_while_it_is_sent_keeps_its_promised_length() {
    let site = Site::new();
    let response = site.request("GET /", "");
    fs::write(site.root().join("index.html"), "home and more").expect("a file");
    assert_eq!(content(response), "home");
}

#[test]
fn a_missing_root_is_an_error_at_the_start() {
    let site = Site::new();
    let missing = StaticFiles::new(site.root().join("none"));
    assert_eq!(missing.open().expect_err("missing").kind(), io::ErrorKind::NotFound);
    let file = StaticFiles::new(site.root().join("index.html"));
    assert_eq!(file.open().expect_err("no directory").kind(), io::ErrorKind::NotADirectory);
    StaticFiles::new(site.root()).open().expect("a directory");
}

//! Static files: which file a path means, and that no path, link or race leads out of the
//! directory.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use tempfile::TempDir;
use wireloop::{Routes, StaticFiles};

use crate::support::{Binary, Client, Response, serve};

/// A directory with some files, beside a secret that must never be served.
pub(crate) struct Site(TempDir);

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self(TempDir::new().expect("a temporary directory"));
        fs::create_dir_all(site.path("dir/sub")).expect("directories");
        site.write("index.html", "home");
        site.write("dir/index.html", "dir");
        site.write("ten.txt", "0123456789");
        site.age("ten.txt");
        fs::write(site.0.path().join("secret"), "secret").expect("a file");
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("root").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file");
    }

    /// Makes a file a minute old: what has just been written has no strong tag.
    pub(crate) fn age(&self, name: &str) {
        self.set_modified(name, SystemTime::now() - Duration::from_secs(60));
    }

    pub(crate) fn set_modified(&self, name: &str, time: SystemTime) {
        let file = fs::File::options().write(true).open(self.path(name)).expect("it is there");
        file.set_times(fs::FileTimes::new().set_modified(time)).expect("it is ours");
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.path(name)).expect("a link");
    }

    pub(crate) fn fifo(&self, name: &str) {
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, self.path(name), FileType::Fifo, mode, 0).expect("a FIFO");
    }

    pub(crate) fn routes(&self) -> Routes {
        let files = || StaticFiles::new(self.path(""));
        Routes::new().get("/**", files()).get("/files/**", files()).get("/*/any/**", files())
    }
}

pub(crate) fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

/// The status for a path, whose answer never holds the secret.
#[track_caller]
fn status(client: &mut Client, path: &str) -> u16 {
    let response = client.request(&get(path, ""));
    assert!(!response.body.windows(6).any(|bytes| bytes == b"secret"), "{path} leads out");
    assert!(!response.body.windows(5).any(|bytes| bytes == b"root:"), "{path} leads out");
    response.status
}

#[test]
fn rustsec_2021_0126_no_path_leads_out_of_the_directory() {
    let site = Site::new();
    let long = format!("/{}", "a".repeat(4096));
    let deep = "/..".repeat(2000) + "/etc/passwd";
    let absolute = site.0.path().join("secret");
    let absolute = absolute.to_str().expect("ASCII");
    let paths = [
        "/../secret",
        "/../../../../etc/passwd",
        "/%2e%2e/secret",
        "/%2E%2E/secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/..%5csecret",
        "/%252e%252e/secret",
        "/dir/../../secret",
        "/dir/%2e%2e/%2e%2e/secret",
        "/./secret",
        "/./index.html",
        "/..;/secret",
        "/..\\secret",
        "\\..\\secret",
        "//etc/passwd",
        "///etc/passwd",
        "/%2fetc/passwd",
        "/c:/secret",
        "/c:\\secret",
        "/file:///etc/passwd",
        "/secret%00",
        "/ten.txt%00",
        "/ten.txt%00.html",
        "/%c0%ae%c0%ae/secret",
        "/%c0%af",
        "/%e0%80%ae%e0%80%ae/secret",
        "/%ff%fe",
        "/%u002e%u002e/secret",
        "/ten.txt%20",
        "/ten.txt.",
        "/ten.txt::$DATA",
        "/ten.txt/",
        "/ten.txt/..",
        "/index.html/sub",
        "/..",
        "/...",
        "/~root",
        "/files/../secret",
        "/files//etc/passwd",
        "/files/%2e%2e/secret",
        "http://test/../secret",
        "http://test//etc/passwd",
        absolute,
        &long,
        &deep,
        "/%",
        "/%2",
        "/%zz",
    ];
    serve(
        || site.routes(),
        |server| {
            for path in paths {
                let status = status(&mut server.connect(), path);
                assert!(matches!(status, 400 | 404), "{path}: {status}");
            }
            assert_eq!(status(&mut server.connect(), "http://other/ten.txt?../secret"), 200);
        },
    );
}

#[test]
fn cve_2024_23334_links_are_followed_inside_only() {
    let site = Site::new();
    site.link("dir/index.html", "inside");
    site.link("dir", "directory");
    site.link("../secret", "relative");
    site.link(site.0.path().join("secret"), "absolute");
    site.link(site.path("ten.txt"), "absolute-inside");
    site.link("..", "parent");
    site.link("dir/../../secret", "winding");
    site.link("loop", "loop");
    site.link("loop-b", "loop-a");
    site.link("loop-a", "loop-b");
    site.link("nowhere", "dangling");
    site.link("/proc/self/fd/0", "magic");
    site.link("/proc/self/root/etc/passwd", "magic-root");
    site.link("/dev/zero", "device");
    let outside = [
        "/relative",
        "/absolute",
        "/absolute-inside",
        "/parent",
        "/parent/secret",
        "/winding",
        "/loop",
        "/loop-a",
        "/dangling",
        "/magic",
        "/magic-root",
        "/device",
    ];
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            assert_eq!(client.request(&get("/inside", "")).text(), "dir");
            assert_eq!(client.request(&get("/directory/", "")).text(), "dir");
            for path in outside {
                assert_eq!(status(&mut client, path), 404, "{path}");
            }
        },
    );
}

/// `.env`, `.git` and their like are left in the root by mistake. What is refused is answered as
/// what is absent, so that nobody learns that it is there.
#[test]
fn websocketd_476_dotfiles_are_404_as_if_absent() {
    let site = Site::new();
    for name in [".git", "dir/.ssh", ".well-known", ".well-known/.git", ".site"] {
        fs::create_dir(site.path(name)).expect("a directory");
        site.write(&format!("{name}/config"), "secret");
        site.write(&format!("{name}/index.html"), "secret");
    }
    site.write(".env", "secret");
    site.write(".env.gz", "secret");
    site.write(".well-known/acme", "challenge");
    site.write("dir/.htpasswd", "secret");
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            let mut body = |path: &str| {
                let response = client.request(&get(path, "Accept-Encoding: br, gzip\r\n"));
                let is_dated = |line: &&str| line.starts_with("Date");
                let head: Vec<_> = response.head.lines().filter(|line| !is_dated(line)).collect();
                (head.join("\n"), response.text().to_owned())
            };
            let absent = body("/nothing");
            for path in [
                "/.git/config",
                "/.git/",
                "/.git",
                "/%2egit/config",
                "/%2Egit%2fconfig",
                "/.site/",
                "/.env",
                "/.env.gz",
                "/%2eenv",
                "/dir/.htpasswd",
                "/dir/.ssh/config",
                "/files/.env",
                "/files/%2eenv",
                "/files/dir/.ssh/",
                "/.well-known/.git/config",
                "/.none",
            ] {
                assert_eq!(body(path), absent, "{path}");
            }
            for path in ["/.well-known/acme", "/%2ewell-known/acme", "/files/.well-known/acme"] {
                assert_eq!(body(path).1, "challenge", "{path}");
            }
        },
    );
}

#[test]
fn the_binary_serves_dotfiles_only_if_asked_to() {
    let site = Site::new();
    site.write(".env", "A=b");
    let root = site.path("");
    let root = root.to_str().expect("ASCII");
    for (arguments, status) in
        [(&["--webroot", root][..], 404), (&["--webroot", root, "--dotfiles"], 200)]
    {
        let server = Binary::start(arguments);
        let response = Client::connect(server.address()).request(&get("/.env", ""));
        assert_eq!(response.status, status, "{arguments:?}");
    }
}

/// The links of /proc lead anywhere without naming it.
#[test]
fn magic_links_are_not_followed_even_where_they_are_inside() {
    serve(
        || Routes::new().get("/**", StaticFiles::new("/proc/self")),
        |server| {
            let mut client = server.connect();
            for path in ["/root/etc/passwd", "/cwd/Cargo.toml", "/exe", "/fd/0", "/task/../exe"] {
                assert_eq!(status(&mut client, path), 404, "{path}");
            }
        },
    );
}

/// None of them may hold up the worker, with which the same connection is served afterwards.
#[test]
fn what_is_no_regular_file_is_404_at_once() {
    let site = Site::new();
    site.fifo("fifo");
    let _socket = UnixListener::bind(site.path("socket")).expect("a socket");
    fs::create_dir(site.path("dir/sub/index.html")).expect("a directory");
    // Only root may make one.
    let null = rustix::fs::makedev(1, 3);
    let has_device =
        mknodat(CWD, site.path("device"), FileType::CharacterDevice, Mode::RUSR, null).is_ok();
    let kinds = ["/fifo", "/socket", "/dir/sub/", "/dir/sub/index.html/"];
    let device = has_device.then_some("/device");
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            for path in kinds.into_iter().chain(device) {
                assert_eq!(status(&mut client, path), 404, "{path}");
                assert_eq!(status(&mut client, "/ten.txt"), 200, "after {path}");
            }
        },
    );
}

/// A directory is exchanged for a link to its parent, thousands of times a second, while what
/// would be the secret behind the link is asked for.
#[test]
fn a_link_swapped_in_while_requests_are_served_never_leads_out() {
    const REQUESTS: usize = 20_000;
    const PIPELINED: usize = 50;
    let site = Site::new();
    fs::create_dir(site.path("swap")).expect("a directory");
    site.write("swap/secret", "public");
    // With it `openat2` has `..` to resolve, and to be raced at.
    site.link("../../secret", "dir/link");
    site.link("..", "out");
    let (inside, outside) = (site.path("swap"), site.path("out"));
    let done = AtomicBool::new(false);
    let swaps = || {
        while !done.load(Ordering::Relaxed) {
            renameat_with(CWD, &inside, CWD, &outside, RenameFlags::EXCHANGE).expect("a swap");
        }
    };
    let ask = |client: &mut Client, found: &mut usize| {
        for path in ["/swap/secret", "/out/secret"] {
            client.send_raw(get(path, "").repeat(PIPELINED).as_bytes());
            for _ in 0..PIPELINED {
                let response: Response = client.read_response();
                assert_ne!(response.body, b"secret", "{path} has led out");
                assert!(matches!(response.status, 200 | 404 | 503), "{}", response.status);
                *found += usize::from(response.status == 200);
            }
        }
    };
    serve(
        || site.routes(),
        |server| {
            done.store(false, Ordering::Relaxed);
            let mut found = 0;
            thread::scope(|scope| {
                let swapping = scope.spawn(swaps);
                let mut client = server.connect();
                (0..REQUESTS / PIPELINED / 2).for_each(|_| ask(&mut client, &mut found));
                done.store(true, Ordering::Relaxed);
                swapping.join().expect("it does not panic");
            });
            assert!(found > 0 && found < REQUESTS, "the race takes place: {found}");
        },
    );
}

#[track_caller]
fn location(client: &mut Client, path: &str) -> String {
    let response = client.request(&get(path, ""));
    assert_eq!(response.status, 308, "{path}");
    response.header("Location").expect("a redirect has a location").to_owned()
}

#[test]
fn rustsec_2022_0072_a_redirect_never_names_another_host() {
    let site = Site::new();
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            for (path, expected) in [
                ("/dir", "/dir/"),
                ("/dir?a=//b", "/dir/?a=//b"),
                ("/dir/sub", "/dir/sub/"),
                ("/files", "/files/"),
                ("/files/dir", "/files/dir/"),
                ("http://evil.com/dir", "/dir/"),
                // The first component is empty.
                ("//any", "/any/"),
                ("//any?//evil.com", "/any/?//evil.com"),
            ] {
                assert_eq!(location(&mut client, path), expected, "{path}");
            }
            for path in [
                "//evil.com/dir",
                "//evil.com/..",
                "//evil.com/%2e%2e",
                "//evil.com/%2e%2e/any",
                "///evil.com/any",
                "/\\evil.com/dir",
                "/\\/any",
                "/%5cevil.com/dir",
                "/%2fevil.com/dir",
                "/%09/evil.com/dir",
                "/dir%0d%0aInjected:%20yes",
                "/dir%0aInjected",
                "/.",
                "/dir/.",
            ] {
                let response = client.request(&get(path, ""));
                if let Some(location) = response.header("Location") {
                    let mut bytes = location.bytes();
                    assert_eq!(bytes.next(), Some(b'/'), "{path}: {location}");
                    assert!(!matches!(bytes.next(), Some(b'/' | b'\\')), "{path}: {location}");
                } else {
                    assert_eq!(response.status, 404, "{path}");
                }
                assert!(!response.head.contains("\nInjected"), "{path}");
            }
        },
    );
}

#[test]
fn rfc9110_8_3_types_are_declared_and_not_to_be_guessed() {
    let site = Site::new();
    let types = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.wasm", "application/wasm"),
        ("a.gz", "application/gzip"),
        ("a.unheard-of", "application/octet-stream"),
        ("none", "application/octet-stream"),
    ];
    types.iter().for_each(|(name, _)| site.write(name, "<script>"));
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            for (name, expected) in types {
                let response = client.request(&get(&format!("/{name}"), ""));
                assert_eq!(response.header("Content-Type"), Some(expected), "{name}");
                assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
            }
        },
    );
}

/// The page of the binary gives its address to nobody, a site of files to nobody else.
#[test]
fn referrer_policy_keeps_addresses_from_other_sites() {
    let site = Site::new();
    let policy = |client: &mut Client, path: &str| {
        let response = client.request(&get(path, ""));
        assert_eq!(response.status, 200, "{path}");
        response.header("Referrer-Policy").map(str::to_owned)
    };
    serve(
        || site.routes(),
        |server| {
            for path in ["/", "/ten.txt", "/dir/"] {
                let found = policy(&mut server.connect(), path);
                assert_eq!(found.as_deref(), Some("same-origin"), "{path}");
            }
        },
    );
    let page = Binary::start(&[]);
    for path in ["/", "/page.js", "/page.css"] {
        let found = policy(&mut Client::connect(page.address()), path);
        assert_eq!(found.as_deref(), Some("no-referrer"), "{path}");
    }
}

#[test]
fn rfc9110_9_3_2_head_says_what_get_would_say() {
    let site = Site::new();
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            for path in ["/ten.txt", "/", "/dir", "/nothing"] {
                let got = client.request(&get(path, ""));
                client.send_raw(get(path, "").replacen("GET", "HEAD", 1).as_bytes());
                let head = client.read_head();
                let without_date = |response: &Response| {
                    let lines = response.head.lines().map(str::to_owned);
                    lines.filter(|line| !line.starts_with("Date")).collect::<Vec<_>>()
                };
                assert_eq!(without_date(&head), without_date(&got), "{path}");
            }
            assert_eq!(status(&mut client, "/ten.txt"), 200, "the framing is intact");
            let post = get("/ten.txt", "").replacen("GET", "POST", 1);
            assert_eq!(client.request(&post).status, 405);
        },
    );
}

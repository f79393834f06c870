//! Conditional, range and negotiated requests for files (RFC 9110 sections 8.8, 12.5.3, 13 and 14),
//! and files that change while they are sent.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};

use crate::{
    files::{Site, get},
    support::{Binary, Client, Response, serve},
};

/// What the server says of `ten.txt` without any condition.
struct Known {
    etag: String,
    modified: String,
}

/// Dates an hour before and after that of the file.
fn around(modified: &str) -> (String, String) {
    let hour = Duration::from_secs(3600);
    let date = httpdate::parse_http_date(modified).expect("an HTTP date");
    (httpdate::fmt_http_date(date - hour), httpdate::fmt_http_date(date + hour))
}

/// Runs a test on a site with a connection to it and what is known of `ten.txt`.
fn with_file(test: impl Fn(&mut Client, &Known)) {
    let site = Site::new();
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            let response = client.request(&get("/ten.txt", ""));
            let header = |name| response.header(name).expect("it is there").to_owned();
            let known = Known { etag: header("ETag"), modified: header("Last-Modified") };
            test(&mut client, &known);
        },
    );
}

/// Asks for `ten.txt` under conditions: the status, and the body, which is whole if it is 200.
#[track_caller]
fn ask(client: &mut Client, lines: &[&str]) -> Response {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let response = client.request(&get("/ten.txt", &lines));
    match response.status {
        200 => assert_eq!(response.text(), "0123456789", "{lines}"),
        206 => assert!(response.header("Content-Range").is_some(), "{lines}"),
        _ => assert!(response.body.is_empty(), "{lines}"),
    }
    response
}

#[test]
fn rfc9110_8_8_3_the_tag_is_strong_and_changes_with_the_file() {
    let site = Site::new();
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            let first = tag(&mut client);
            assert!(first.starts_with('"') && first.ends_with('"') && first.len() > 2, "{first}");
            assert_eq!(tag(&mut client), first);
            let modified = fs::metadata(site.path("ten.txt")).and_then(|data| data.modified());
            let modified = modified.expect("a time");
            // A copy, such as another server has it: another inode, the same time and length.
            site.write("new", "0123456789");
            site.set_modified("new", modified);
            fs::rename(site.path("new"), site.path("ten.txt")).expect("it is there");
            assert_eq!(tag(&mut client), first);
            site.set_modified("ten.txt", modified + Duration::from_nanos(1));
            let second = tag(&mut client);
            assert_ne!(second, first);
            site.write("ten.txt", "0123456789 and more");
            site.set_modified("ten.txt", modified + Duration::from_nanos(1));
            assert_ne!(tag(&mut client), second);
            site.write("ten.txt", "0123456789");
            site.age("ten.txt");
        },
    );
}

/// Two changes of the same length within a step of the file system's clock have the same time. So
/// a part of the second content is not sent to a client that has the tag of the first.
#[test]
fn rfc9110_8_8_1_the_tag_of_a_file_that_may_change_unseen_is_weak() {
    let site = Site::new();
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            site.write("ten.txt", "first text");
            let now = SystemTime::now();
            site.set_modified("ten.txt", now);
            let between = tag(&mut client);
            assert!(between.starts_with("W/\""), "{between}");
            site.write("ten.txt", "0123456789");
            site.set_modified("ten.txt", now);
            let part = format!("If-Range: {between}");
            assert_eq!(ask(&mut client, &[&part, "Range: bytes=2-4"]).status, 200);
            site.age("ten.txt");
            assert!(tag(&mut client).starts_with('"'));
        },
    );
}

fn tag(client: &mut Client) -> String {
    let response = client.request(&get("/ten.txt", ""));
    response.header("ETag").expect("a tag").to_owned()
}

#[test]
fn rfc9110_13_1_1_if_match_compares_strongly() {
    with_file(|client, Known { etag, .. }| {
        for value in [etag, "*", &format!("\"x\", {etag}"), &format!("W/\"x\",\t{etag} ,")] {
            assert_eq!(ask(client, &[&format!("If-Match: {value}")]).status, 200, "{value}");
        }
        let lines = ["If-Match: \"x\"", &format!("If-Match: {etag}")];
        assert_eq!(ask(client, &lines).status, 200, "lines are one list");
        for value in ["\"x\"", &format!("W/{etag}"), "", etag.trim_matches('"'), "\"*\""] {
            assert_eq!(ask(client, &[&format!("If-Match: {value}")]).status, 412, "{value}");
        }
    });
}

#[test]
fn rfc9110_13_1_2_if_none_match_compares_weakly() {
    with_file(|client, Known { etag, .. }| {
        for value in [
            etag,
            "*",
            &format!("W/{etag}"),
            &format!("\"a,b\", \"x\" , {etag}"),
            &format!(",{etag}"),
        ] {
            let response = ask(client, &[&format!("If-None-Match: {value}")]);
            assert_eq!(response.status, 304, "{value}");
            // 15.4.5: what a 200 would have had.
            assert_eq!(response.header("ETag"), Some(&**etag));
            assert_eq!(response.header("Vary"), Some("Accept-Encoding"));
            assert_eq!(response.header("Content-Length"), None);
        }
        for value in ["\"x\"", "", etag.trim_matches('"'), &format!("w/{etag}"), "\"unclosed"] {
            assert_eq!(ask(client, &[&format!("If-None-Match: {value}")]).status, 200, "{value}");
        }
    });
}

#[test]
fn rfc9110_13_1_3_if_modified_since_counts_valid_dates_of_all_three_forms() {
    with_file(|client, Known { modified, .. }| {
        let (before, after) = around(modified);
        for (date, status) in [(modified, 304), (&after, 304), (&before, 200)] {
            assert_eq!(ask(client, &[&format!("If-Modified-Since: {date}")]).status, status);
        }
        for (date, status) in [
            ("Sunday, 06-Nov-94 08:49:37 GMT", 200),
            ("Sun Nov  6 08:49:37 1994", 200),
            ("Fri Dec 31 23:59:59 2100", 304),
            ("nonsense", 200),
            ("0", 200),
            ("", 200),
        ] {
            let line = format!("If-Modified-Since: {date}");
            assert_eq!(ask(client, &[&line]).status, status, "{date}");
        }
        let twice = format!("If-Modified-Since: {after}");
        assert_eq!(ask(client, &[&twice, &twice]).status, 200, "two dates are none");
    });
}

#[test]
fn rfc9110_13_1_4_if_unmodified_since_fails_on_a_later_change() {
    with_file(|client, Known { modified, .. }| {
        let (before, after) = around(modified);
        for (date, status) in [(modified, 200), (&after, 200), (&before, 412)] {
            assert_eq!(ask(client, &[&format!("If-Unmodified-Since: {date}")]).status, status);
        }
        assert_eq!(ask(client, &["If-Unmodified-Since: nonsense"]).status, 200);
    });
}

#[test]
fn rfc9110_13_1_5_if_range_is_exact() {
    with_file(|client, Known { etag, modified }| {
        let (before, after) = around(modified);
        for (value, status) in [
            (&**etag, 206),
            (modified, 206),
            (&*format!("W/{etag}"), 200),
            ("\"x\"", 200),
            (&before, 200),
            (&after, 200),
            ("*", 200),
            ("", 200),
        ] {
            let line = format!("If-Range: {value}");
            assert_eq!(ask(client, &[&line, "Range: bytes=2-4"]).status, status, "{value}");
        }
        assert_eq!(ask(client, &[&format!("If-Range: {etag}")]).status, 200, "without a range");
    });
}

#[test]
fn rfc9110_13_2_2_conditions_are_evaluated_in_order() {
    with_file(|client, Known { etag, modified }| {
        let (before, after) = around(modified);
        let line = |name: &str, value: &str| format!("{name}: {value}");
        let (hit, miss) = (line("If-Match", etag), line("If-Match", "\"x\""));
        let (none_hit, none_miss) = (line("If-None-Match", etag), line("If-None-Match", "\"x\""));
        let since = |date: &str| line("If-Modified-Since", date);
        let unmodified = |date: &str| line("If-Unmodified-Since", date);
        let range = "Range: bytes=2-4";
        for (lines, status) in [
            // 1 and 2: If-Unmodified-Since counts only without If-Match.
            (vec![&*hit, &*unmodified(&before)], 200),
            (vec![&miss, &unmodified(&after)], 412),
            // 3: what If-Match lets pass, If-None-Match judges.
            (vec![&hit, &none_hit], 304),
            (vec![&miss, &none_hit], 412),
            (vec![&unmodified(&before), &none_hit], 412),
            // 4: If-Modified-Since counts only without If-None-Match.
            (vec![&none_miss, &since(&after)], 200),
            (vec![&none_hit, &since(&before)], 304),
            // 5: the range comes last.
            (vec![&none_hit, range], 304),
            (vec![&miss, range], 412),
            (vec![&hit, &none_miss, range], 206),
            (vec![&none_hit, "Range: bytes=99-"], 304),
        ] {
            assert_eq!(ask(client, &lines).status, status, "{lines:?}");
        }
        // 13.2.1: a condition on what is not there does not matter.
        let missing = client.request(&get("/nothing", "If-Match: *\r\n"));
        assert_eq!(missing.status, 404);
    });
}

#[test]
fn rfc9110_14_1_2_one_range_is_served() {
    with_file(|client, _| {
        for (range, content, served) in [
            ("bytes=0-0", "0", "bytes 0-0/10"),
            ("bytes=2-5", "2345", "bytes 2-5/10"),
            ("bytes=9-", "9", "bytes 9-9/10"),
            ("bytes=0-99", "0123456789", "bytes 0-9/10"),
            ("bytes=8-99999999999999999999", "89", "bytes 8-9/10"),
            ("bytes=-1", "9", "bytes 9-9/10"),
            ("bytes=-10", "0123456789", "bytes 0-9/10"),
            ("bytes=-99999999999999999999", "0123456789", "bytes 0-9/10"),
            ("BYTES=1-1", "1", "bytes 1-1/10"),
        ] {
            let response = ask(client, &[&format!("Range: {range}")]);
            assert_eq!((response.status, response.text()), (206, content), "{range}");
            assert_eq!(response.header("Content-Range"), Some(served));
            assert_eq!(response.header("Accept-Ranges"), Some("bytes"));
        }
        let head = get("/ten.txt", "Range: bytes=2-5\r\n").replacen("GET", "HEAD", 1);
        client.send_raw(head.as_bytes());
        let head = client.read_head();
        assert_eq!((head.status, head.header("Content-Length")), (200, Some("10")));
    });
}

#[test]
fn rfc9110_15_5_17_what_the_file_has_not_is_416() {
    with_file(|client, _| {
        for range in ["10-", "10-20", "-0", "99999999999999999999-", "18446744073709551615-"] {
            let response = ask(client, &[&format!("Range: bytes={range}")]);
            assert_eq!(response.status, 416, "{range}");
            assert_eq!(response.header("Content-Range"), Some("bytes */10"));
        }
    });
}

/// CVE-2011-3192: a thousand ranges that overlap cost the file once.
#[test]
fn rfc9110_14_2_several_ranges_other_units_and_malformed_ones_are_ignored() {
    let thousand = format!("Range: bytes={}", ["0-"; 1000].join(","));
    with_file(|client, _| {
        assert_eq!(ask(client, &[&thousand]).status, 200);
        for range in [
            "bytes=0-0,2-3",
            "bytes=5-2",
            "bytes=",
            "bytes=-",
            "bytes=--1",
            "bytes=1",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes 0-1",
            "lines=0-1",
            "",
        ] {
            assert_eq!(ask(client, &[&format!("Range: {range}")]).status, 200, "{range}");
        }
        assert_eq!(ask(client, &["Range: bytes=0-1", "Range: bytes=2-3"]).status, 200);
    });
}

#[test]
fn one_byte_of_a_gigabyte_costs_no_memory() {
    let site = Site::new();
    let file = fs::File::create(site.path("sparse")).expect("a file");
    file.set_len(1 << 30).expect("a sparse file");
    let root = site.path("");
    let server = Binary::start(&["--webroot", root.to_str().expect("ASCII")]);
    let mut client = Client::connect(server.address());
    let before = server.resident_bytes();
    for range in ["0-0", "1073741823-", "-1"] {
        let response = client.request(&get("/sparse", &format!("Range: bytes={range}\r\n")));
        assert_eq!((response.status, response.body.len()), (206, 1), "{range}");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for three");
}

#[test]
fn rfc9110_12_5_3_a_coded_sibling_is_sent_to_who_prefers_it() {
    let site = Site::new();
    site.write("a.js", "original");
    site.write("a.js.br", "in br");
    site.write("a.js.gz", "in gzip");
    ["a.js", "a.js.br", "a.js.gz"].iter().for_each(|name| site.age(name));
    let many = format!("{}gzip", "a;q=0.1,".repeat(1000));
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            let mut tags = Vec::new();
            for (accepted, coding) in [
                ("", None),
                ("identity", None),
                ("gzip", Some("gzip")),
                ("x-gzip", Some("gzip")),
                ("br", Some("br")),
                ("gzip, deflate, br, zstd", Some("br")),
                ("gzip;q=1.0, br;q=0.5", Some("gzip")),
                ("GZIP;Q=0.001", Some("gzip")),
                ("br;q=0, gzip;q=0", None),
                ("br;q=0.000, *;q=0.1", Some("gzip")),
                ("*", Some("br")),
                ("*;q=0, identity", None),
                ("gzip;q=0.5, identity", None),
                ("br;q=2, gzip;q=x, zstd", None),
                (&many, Some("gzip")),
            ] {
                let line = format!("Accept-Encoding: {accepted}\r\n");
                let response = client.request(&get("/a.js", &line));
                let content =
                    coding.map_or_else(|| "original".into(), |coding| format!("in {coding}"));
                assert_eq!((response.status, response.text()), (200, &*content), "{accepted}");
                assert_eq!(response.header("Content-Encoding"), coding, "{accepted}");
                let content_type = response.header("Content-Type");
                assert_eq!(content_type, Some("text/javascript; charset=utf-8"));
                assert_eq!(response.header("Vary"), Some("Accept-Encoding"));
                tags.push((coding, response.header("ETag").expect("a tag").to_owned()));
            }
            tags.sort();
            tags.dedup();
            assert_eq!(tags.len(), 3, "each has its own: {tags:?}");
            for (coding, tag) in &tags {
                let accepted = coding.unwrap_or("identity");
                let lines = format!("Accept-Encoding: {accepted}\r\nIf-None-Match: {tag}\r\n");
                assert_eq!(client.request(&get("/a.js", &lines)).status, 304);
                let lines = format!("Accept-Encoding: x\r\nIf-Match: {tag}\r\n");
                let status = if coding.is_some() { 412 } else { 200 };
                assert_eq!(client.request(&get("/a.js", &lines)).status, status);
            }
            let part = "Accept-Encoding: gzip\r\nRange: bytes=3-\r\n";
            let part = client.request(&get("/a.js", part));
            assert_eq!((part.status, part.text()), (206, "gzip"));
            assert_eq!(part.header("Content-Range"), Some("bytes 3-6/7"));
        },
    );
}

#[test]
fn rfc9110_12_5_3_406_where_only_uncoded_content_is_there_and_excluded() {
    with_file(|client, _| {
        for accepted in ["identity;q=0", "*;q=0", "gzip, identity;q=0", "br;q=1, *;q=0.000"] {
            let lines = format!("Accept-Encoding: {accepted}\r\n");
            let response = client.request(&get("/ten.txt", &lines));
            assert_eq!(response.status, 406, "{accepted}");
            assert_eq!(response.header("Vary"), Some("Accept-Encoding"));
        }
    });
}

#[test]
fn a_sibling_that_is_no_file_of_the_directory_is_none() {
    let site = Site::new();
    site.write("a.txt", "original");
    site.write("a.txt.gz", "in gzip");
    fs::create_dir(site.path("a.txt.br")).expect("a directory");
    site.write("b.txt", "original");
    site.fifo("b.txt.br");
    symlink("../secret", site.path("b.txt.gz")).expect("a link");
    site.write("only.txt.gz", "in gzip");
    serve(
        || site.routes(),
        |server| {
            let mut client = server.connect();
            let mut both = |path: &str| client.request(&get(path, "Accept-Encoding: br, gzip\r\n"));
            assert_eq!(both("/a.txt").text(), "in gzip");
            assert_eq!(both("/b.txt").text(), "original");
            assert_eq!(both("/only.txt").status, 404, "there is no original");
            let itself = both("/a.txt.gz");
            assert_eq!((itself.text(), itself.header("Content-Encoding")), ("in gzip", None));
        },
    );
}

/// What happens to a large file once its first bytes have been read by a client that takes little.
fn change_while_sent(change: impl Fn(&Site), finish: impl Fn(&mut Client, usize)) {
    const LENGTH: usize = 16 << 20;
    let site = Site::new();
    serve(
        || site.routes(),
        |server| {
            site.write("large", vec![b'a'; LENGTH]);
            let mut client = Client::connect_narrow(server.address());
            client.send_raw(get("/large", "").as_bytes());
            let head = client.read_head();
            assert_eq!(head.header("Content-Length"), Some(&*LENGTH.to_string()));
            client.read_bytes(1000);
            change(&site);
            finish(&mut client, LENGTH - 1000);
            // The worker serves others as before.
            assert_eq!(server.connect().request(&get("/ten.txt", "")).status, 200);
        },
    );
}

#[test]
fn a_file_truncated_while_it_is_sent_ends_the_connection_short() {
    let truncate = |site: &Site| {
        let file = fs::File::options().write(true).open(site.path("large")).expect("it is there");
        file.set_len(10_000).expect("it is ours");
    };
    change_while_sent(truncate, |client, rest| {
        assert!(client.read_until_gone() < rest, "what is not there is not made up");
    });
}

#[test]
fn a_file_that_grows_or_is_deleted_while_it_is_sent_is_sent_as_promised() {
    let grow = |site: &Site| {
        let file = fs::File::options().append(true).open(site.path("large")).expect("it is there");
        file.set_len(32 << 20).expect("it is ours");
    };
    let delete = |site: &Site| fs::remove_file(site.path("large")).expect("it is there");
    let finish = |client: &mut Client, rest: usize| {
        assert!(client.read_bytes(rest).iter().all(|byte| *byte == b'a'));
        assert_eq!(client.request(&get("/ten.txt", "")).text(), "0123456789");
    };
    change_while_sent(grow, finish);
    change_while_sent(delete, finish);
}

/// 8.8.2.1: a date in the future would make a later change look like none.
#[test]
fn rfc9110_8_8_2_1_last_modified_is_never_in_the_future() {
    let site = Site::new();
    site.set_modified("ten.txt", SystemTime::now() + Duration::from_secs(1_000_000));
    serve(
        || site.routes(),
        |server| {
            let response = server.connect().request(&get("/ten.txt", ""));
            assert_eq!((response.status, response.header("Last-Modified")), (200, None));
        },
    );
}

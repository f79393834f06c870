//! What messages hold: sizes that vary, files and texts come back whole, and what is wrong with an
//! echo is told apart as far as its payload says.

mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use support::{Faults, answer, failure, refusal, serve, serve_all, success};

fn write(directory: &Path, name: &str, bytes: &[u8]) -> String {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn sizes_that_vary_come_back_whole() {
    for (sizes, words) in [
        ("16-4k", "16 to 4096 B binary"),
        ("0-40", "0 to 40 B binary"),
        ("exp:1k", "exponential 1024 B binary"),
        ("64:80,16k:20", "64 B (80 %) or 16384 B (20 %) binary"),
    ] {
        let text = success(&format!("-c 5 -d 200ms --depth 4 -s {sizes}"));
        assert!(text.contains(words), "{text}");
        success(&format!("-c 5 -d 200ms -R 500 --text -s {sizes}"));
    }
    success("-c 5 --compression kept --json-like -s 16-4k");
}

#[test]
fn files_and_texts_come_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "file", &[0xff; 300]);
    let lines = write(directory.path(), "lines", "one\nzwö\r\nthree".as_bytes());
    let text = success(&format!("-c 3 --payload-file {file}"));
    assert!(text.contains("300 B binary of a file"), "{text}");
    let text = success(&format!("-c 3 --payload-lines {lines} --text"));
    assert!(text.contains("3 lines of a file as text"), "{text}");
    let text = success("-c 3 --depth 4 --payload-text {connection}:{sequence}");
    assert!(text.contains("text of a template"), "{text}");
}

#[test]
fn a_server_sees_the_lines_in_turn_and_the_numbers_of_a_text() {
    let directory = tempfile::tempdir().unwrap();
    let lines = write(directory.path(), "lines", b"one\ntwo\n");
    for (arguments, expected) in [
        (format!("--payload-lines {lines}"), ["one", "two", "one"]),
        ("--payload-text <{connection}/{sequence}>".into(), ["<0/0>", "<0/1>", "<0/2>"]),
    ] {
        let (tell, told) = mpsc::channel();
        let url = serve(1, move |stream| {
            answer(stream, |_, frame, answers| {
                let _ = tell.send(String::from_utf8(frame.payload.clone()).unwrap());
                answers.push(frame);
            });
        });
        success(&format!("-c 1 -R 100 {arguments} {url}"));
        assert_eq!(told.iter().take(3).collect::<Vec<_>>(), expected);
    }
}

/// Drops every 10th message, repeats every 15th, and damages every 7th.
fn expect_faults(arguments: &str) {
    let (tell, told) = mpsc::channel();
    let url = serve(1, move |stream| {
        let mut faults = Faults::default();
        answer(stream, |number, mut frame, answers| {
            if number % 10 == 9 {
                faults.lost += 1;
                return;
            }
            if number % 15 == 3 {
                faults.repeated += 1;
                answers.push(frame.clone());
            } else if number % 7 == 5 {
                faults.corrupt += 1;
                frame.payload[0] ^= 1;
            }
            answers.push(frame);
        });
        let _ = tell.send(faults);
    });
    let text = failure(&format!("-c 1 -R 2000 --drain 300ms {arguments} {url}"));
    let told = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(told.lost > 0 && told.corrupt > 0);
    assert_eq!(Faults::of(&text), told, "{text}");
}

#[test]
fn faults_of_payloads_of_any_size_and_of_texts_are_told_apart() {
    expect_faults("-s 20-100 --text");
    expect_faults("-s 20:50,100:50");
    expect_faults("--payload-text <{sequence}>");
}

#[test]
fn faults_of_a_constant_payload_are_seen() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "file", b"0123456789012345678901234567890");
    let url = serve(1, |stream| {
        answer(stream, |number, mut frame, answers| {
            frame.payload[30] ^= u8::from(number % 50 == 7);
            answers.push(frame);
        });
    });
    let text = failure(&format!("-c 1 --payload-file {file} {url}"));
    assert!(text.contains("x echo with wrong content"), "{text}");
}

#[test]
fn a_seed_gives_the_same_payloads_on_the_same_connections() {
    let seen = ["7", "7", "8"].map(|seed| {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let by_server = Arc::clone(&seen);
        let url = serve_all(2, move |stream| {
            let seen = Arc::clone(&by_server);
            answer(stream, move |number, frame, answers| {
                if number < 5 {
                    let name = frame.payload[..16].to_vec();
                    seen.lock().unwrap().insert(name, frame.payload.clone());
                }
                answers.push(frame);
            });
        });
        success(&format!("-c 2 -R 100 -s 16-100 --seed {seed} {url}"));
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 10);
        seen.clone()
    });
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

#[test]
fn what_cannot_be_sent_is_refused_in_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "file", &[0xff]);
    let empty = write(directory.path(), "empty", b"");
    for (arguments, advice) in [
        (format!("--text --payload-file {file}"), "is not UTF-8: leave out --text"),
        (format!("--payload-lines {empty}"), "has no lines"),
        ("--payload-file /nowhere/x".into(), "/nowhere/x: No such file"),
    ] {
        let text = refusal(&format!("{arguments} ws://127.0.0.1:1/"));
        assert!(text.contains(advice), "{text}");
    }
    for arguments in
        [["-s", "9-3"], ["-s", "1:x"], ["--payload-text", "{sequence}1"], ["--seed", "x"]]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_wireloop-bench")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

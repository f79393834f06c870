//! Several groups, and several processes: one run, one report.

mod support;

use std::{
    io::Write,
    process::{Command, Output},
};

use support::{bench, refusal, results, said};

#[track_caller]
fn report(output: Output) -> String {
    let (code, text) = said(output);
    assert!(matches!(code, Some(0 | 3)), "{text}");
    text
}

#[test]
fn processes_share_the_connections_and_report_as_one() {
    let text = report(bench("-c 30 --processes 3 -R 900 --warm-up 0 -d 1s"));
    assert!(text.contains("ok: 30 of 30 connections, no errors"), "{text}");
    assert!(text.contains("3 threads in 3 processes"), "{text}");
    // None is sent twice, and none by nobody.
    let line = text.lines().find(|line| line.contains("echoes in 1.00 s")).unwrap();
    let echoes: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    assert!((850..=900).contains(&echoes), "{text}");
}

#[test]
fn more_connections_than_a_process_may_have_files_take_several() {
    let script = format!(
        "ulimit -n 200; exec {} --quiet -c 500 --warm-up 0 -d 300ms",
        env!("CARGO_BIN_EXE_wireloop-bench")
    );
    let text = report(Command::new("sh").args(["-c", &script]).output().unwrap());
    assert!(text.contains("4 threads in 4 processes"), "{text}");
    assert!(text.contains("server: wireloop, 4 processes of its own"), "{text}");
    assert!(text.contains("ok: 500 of 500 connections, no errors"), "{text}");
}

#[test]
fn too_few_processes_for_the_files_are_refused_with_advice() {
    let script = format!(
        "ulimit -n 200; exec {} -c 500 --processes 2",
        env!("CARGO_BIN_EXE_wireloop-bench")
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.lines().count() == 1 && text.contains("more --processes"), "{text}");
}

#[test]
fn publishers_and_receivers_may_be_in_different_processes() {
    let text = report(bench("-c 20 --publishers 1 --processes 2 -R 50 --drain 1s --seed 7"));
    assert!(text.contains(" 0 missing"), "{text}");
}

#[test]
fn a_failure_in_another_process_is_counted() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = bench(&format!("-c 6 --processes 2 ws://{unused}/"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("6 x connection refused"), "{text}");
}

#[test]
fn the_groups_of_a_scenario_run_at_once() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let scenario = r#"
        duration = "500ms"
        warm-up = "0"
        [group.holders]
        connections = 50
        rate = 100
        [group.talkers]
        connections = 5
        depth = 4
        text = true
    "#;
    file.write_all(scenario.as_bytes()).unwrap();
    let path = file.path().display();
    for more in ["", "-t 2", "--processes 2"] {
        let text = report(bench(&format!("--scenario {path} {more}")));
        assert!(text.contains("holders") && text.contains("talkers"), "{text}");
        assert!(text.contains("ok: 55 of 55 connections, no errors"), "{text}");
    }
    let results = results(&format!("--scenario {path}"));
    let echoes = results["tally"]["groups"][0]["echoes"].as_u64().unwrap();
    // What came late on a busy machine is not in time.
    assert!((40..=50).contains(&echoes), "{echoes}");
    refusal("--scenario /nonexistent");
}

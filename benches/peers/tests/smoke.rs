//! The comparison from outside: two short rounds of servers that need no installing.
//!
//! `PEERS_SERVERS` may name others; run.sh adds wireloop, which it has built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_peers");

/// The control is not held against rounds as short as these.
const CONTROL_IS_OFF: i32 = 3;

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("it starts")
}

fn servers() -> String {
    std::env::var("PEERS_SERVERS").unwrap_or_else(|_| "fastwebsockets,tungstenite".into())
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn servers_are_compared_and_reported() {
    let (json, svg) = (scratch("smoke.json"), scratch("smoke.svg"));
    let names = servers();
    let mut arguments = vec!["--servers", &names, "--rounds", "2", "--slice", "30ms"];
    arguments.extend(["--warmup", "30ms", "-c", "120", "--depth", "3", "-s", "700"]);
    arguments.extend(["--open-loop", "20", "--open-rounds", "2", "--open-slice", "50ms"]);
    let files = [json.display().to_string(), svg.display().to_string()];
    arguments.extend(["--json", &files[0], "--svg", &files[1]]);
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | CONTROL_IS_OFF)), "{said}");

    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let case = &report["cases"][0];
    assert_eq!((&case["connections"], &case["depth"]), (&120.into(), &3.into()));
    assert!(case["ksoftirqd_is_counted"].is_boolean());
    let rows = case["servers"].as_array().unwrap();
    let expected: Vec<&str> = names.split(',').collect();
    assert_eq!(rows.len(), expected.len() + 1);
    for (row, name) in rows.iter().zip(&expected) {
        assert_eq!(row["name"], *name);
    }
    let control = rows.last().unwrap();
    assert_eq!(control["is_control"], true);
    assert_eq!(control["name"], format!("{} (control)", expected[0]));
    for row in rows {
        for figures in [&row["closed_loop"], &row["open_loop"]] {
            assert!(figures["cpu_ns"].as_f64().unwrap() > 100.0, "{row}");
            assert!(figures["ksoftirqd_ns"].as_f64().unwrap() >= 0.0, "{row}");
            assert!(figures["cpu_ratio"]["median"].as_f64().unwrap() > 0.01, "{row}");
            assert!(figures["latency"]["p50"].as_u64().unwrap() > 1000, "{row}");
        }
        assert!(row["resident_bytes_per_connection"].is_f64(), "{row}");
    }
    assert!(fs::read_to_string(&svg).unwrap().contains("</svg>"));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(expected.iter().all(|name| table.contains(name)), "{table}");
}

#[test]
fn what_cannot_be_measured_is_one_line() {
    let cases: [(&[&str], &str); 5] = [
        (&["--servers", "nonesuch"], "no server is called nonesuch"),
        (&["--servers", "fastwebsockets,fastwebsockets"], "given twice"),
        (&["--servers", "fastwebsockets", "--baseline", "x"], "--baseline x"),
        (&["--servers", "fastwebsockets", "--server", "x=false {port}"], "x ended with"),
        (&["--servers", "fastwebsockets", "--server-core", "4096"], "processor 4096"),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let faults: Vec<&str> = said.lines().filter(|line| line.contains(expected)).collect();
        assert_eq!(faults.len(), 1, "{said}");
    }
}

//! Comparing the results of runs: a difference is found, and none is not.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use support::{bench, said};
use tempfile::TempDir;

/// Results of a short run, whose seconds are made by hand.
struct Runs {
    directory: TempDir,
    results: Value,
}

/// What is made of a second.
#[derive(Clone, Copy)]
struct Second {
    /// All times, and the gaps between echoes.
    slowness: f64,
    failures: u64,
}

const GOOD: Second = Second { slowness: 1.0, failures: 0 };

impl Runs {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.json");
        let output = bench(&format!("-c 2 --warm-up 100ms --json {}", path.display()));
        assert!(path.exists(), "{output:?}");
        let results = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        Self { directory, results }
    }

    /// Writes results with so many seconds, of which one is not measured as a whole.
    fn write(&self, name: &str, seconds: usize, seed: usize, second: Second) -> PathBuf {
        let mut results = self.results.clone();
        let moment = |number: usize, phase: &str| {
            // A few percent, in an order without a period that blocks could have.
            let noise = ((number * number + seed * 7) * 37 % 101) as f64 / 101.0;
            let time = |nanos: f64| (nanos * second.slowness * (1.0 + 0.04 * noise)) as u64;
            let times = json!({
                "mean_ns": time(1e5), "p50_ns": time(1e5), "p90_ns": time(2e5),
                "p99_ns": time(3e5), "p99_9_ns": time(5e5), "max_ns": time(9e5),
            });
            json!({
                "at_ns": number as u64 * 1_000_000_000, "length_ns": 1_000_000_000, "phase": phase,
                "open": 2, "sent": 20_000, "echoes": 2_000_000_000 / time(1e5), "opened": 0,
                "failures": second.failures, "response": times, "service": times,
                "server_busy": 0.5, "server_bytes": null,
            })
        };
        let mut series = vec![moment(0, "warm_up")];
        series.extend((1..=seconds + 1).map(|number| moment(number, "measuring")));
        results["series"] = series.into();
        // Another run has another start.
        results["begun_s"] = name.bytes().map(f64::from).sum::<f64>().into();
        self.write_value(name, &results)
    }

    fn write_value(&self, name: &str, value: &Value) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, value.to_string()).unwrap();
        path
    }
}

fn compare(arguments: &[&Path], options: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wireloop-bench"))
        .arg("compare")
        .args(arguments)
        .args(options)
        .output()
        .unwrap();
    let (code, text) = said(output);
    (code.unwrap(), text)
}

#[test]
fn times_five_percent_longer_are_found_and_a_copy_is_not() {
    let runs = Runs::new();
    let first = runs.write("a.json", 20, 1, GOOD);
    let copy = runs.write("copy.json", 20, 1, GOOD);
    let again = runs.write("again.json", 20, 2, GOOD);
    let slower = runs.write("slower.json", 20, 2, Second { slowness: 1.05, ..GOOD });
    for same in [&copy, &again] {
        let (code, text) = compare(&[&first, same], &["--fail-on-regression"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with("No difference was found."), "{text}");
        assert!(text.contains("a single run on a side cannot see"), "{text}");
    }
    let (code, text) = compare(&[&first, &slower], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with("The difference is real: the second side has throughput 5.0 % lower"),
        "{text}"
    );
    assert!(text.contains("All of that is worse."), "{text}");
    let row = text.lines().find(|line| line.starts_with("  p50 ")).unwrap();
    assert!(row.ends_with('*') && (row.contains("+4.") || row.contains("+5.")), "{text}");
    assert_eq!(compare(&[&first, &slower], &["--fail-on-regression"]).0, 99);
    // The other way round it is better, which is no regression.
    let (code, text) = compare(&[&slower, &first], &["--fail-on-regression"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("All of that is better."), "{text}");
}

#[test]
fn errors_are_a_regression() {
    let runs = Runs::new();
    let first = runs.write("a.json", 20, 1, GOOD);
    let failing = runs.write("b.json", 20, 1, Second { failures: 100, ..GOOD });
    let (code, text) = compare(&[&first, &failing], &["--fail-on-regression"]);
    assert_eq!(code, 99, "{text}");
    assert!(text.contains("second side has success 0."), "{text}");
}

#[test]
fn several_runs_on_a_side_show_what_changes_between_them() {
    let runs = Runs::new();
    let path = |name: &str, slowness| runs.write(name, 20, 1, Second { slowness, ..GOOD });
    let first = [path("a1", 1.0), path("a2", 1.1), path("a3", 1.2)];
    let second = [path("b1", 1.05), path("b2", 1.15), path("b3", 1.25)];
    let third = [path("c1", 3.0), path("c2", 3.1), path("c3", 3.2)];
    let sides = |one: &[PathBuf], other: &[PathBuf]| {
        let mut words: Vec<PathBuf> = one.to_vec();
        words.push("--with".into());
        words.extend_from_slice(other);
        compare(&words.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &["--format", "json"]).1
    };
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    // Single runs of both differ, but so do those of a side.
    let (_, text) = compare(&[&first[0], &second[0]], &[]);
    assert!(text.starts_with("The difference is real"), "{text}");
    let comparison = read(&sides(&first, &second));
    assert_eq!(comparison["schema"], "wireloop-bench-compare/1");
    assert_eq!(comparison["seconds"], json!([60, 60]));
    assert_eq!(comparison["is_worse"], false, "{comparison:#}");
    assert!(comparison["conclusion"].as_str().unwrap().starts_with("No difference was found."));
    let comparison = read(&sides(&first, &third));
    assert_eq!(comparison["is_worse"], true, "{comparison:#}");
}

#[test]
fn few_seconds_say_nothing_but_the_values() {
    let runs = Runs::new();
    let short = runs.write("a.json", 9, 1, GOOD);
    let long = runs.write("b.json", 20, 1, Second { slowness: 2.0, ..GOOD });
    let (code, text) = compare(&[&short, &long], &["--fail-on-regression"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("9 and 20 whole seconds are too few to say anything"), "{text}");
    let row = text.lines().find(|line| line.starts_with("  throughput ")).unwrap();
    assert!(row.ends_with(" -") && row.contains("/s"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_said_in_a_line() {
    let runs = Runs::new();
    let good = runs.write("a.json", 20, 1, GOOD);
    let mut other = runs.results.clone();
    other["schema"] = "wireloop-bench/9".into();
    let mut damaged = runs.results.clone();
    damaged.as_object_mut().unwrap().remove("tally");
    let text = runs.directory.path().join("text");
    fs::write(&text, "not JSON").unwrap();
    for (path, complaint) in [
        (runs.write_value("other.json", &other), "has the schema \"wireloop-bench/9\""),
        (runs.write_value("damaged.json", &damaged), "is damaged: missing field `tally`"),
        (runs.write_value("list.json", &json!([1])), "is no result of wireloop-bench"),
        (text, "is no result of wireloop-bench"),
        (runs.directory.path().join("none"), "cannot be read"),
    ] {
        let (code, text) = compare(&[&good, &path], &[]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(complaint) && text.lines().count() == 1, "{text}");
    }
    let twice: [&Path; 4] = [&good, &good, Path::new("--with"), &good];
    let (code, text) = compare(&twice, &[]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(text.contains("is of the same run as another"), "{text}");
    let (code, text) = compare(&[&good], &[]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert_eq!(compare(&[], &[]).0, 2);
}

#[test]
fn a_run_that_ended_early_or_is_not_valid_has_a_note() {
    let runs = Runs::new();
    let good = runs.write("a.json", 20, 1, GOOD);
    let mut partial: Value = serde_json::from_slice(&fs::read(&good).unwrap()).unwrap();
    partial["outcome"]["was_interrupted"] = true.into();
    partial["verdict"] = "INVALID".into();
    partial["reasons"] = json!([["INVALID", "a thread was busy"]]);
    partial["groups"][0]["load"] = "another".into();
    let partial = runs.write_value("b.json", &partial);
    let (code, text) = compare(&[&good, &partial], &[]);
    assert_eq!(code, 0, "{text}");
    for note in ["ended early", "is INVALID: a thread was busy", "the same load"] {
        assert!(text.contains(note), "{text}");
    }
}

//! What a run leaves: files in every form, thresholds and their exit codes, and what is there when a
//! run is ended early, at whatever moment.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use support::{accept, bench, refusal, said, serve_all};

/// When the figures are not the server's. That is this machine's affair here.
const INVALID: i32 = 3;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn expect_code(arguments: &str, expected: i32) -> String {
    let (code, text) = said(bench(arguments));
    let code = code.unwrap();
    assert!(code == expected || (expected == 0 && code == INVALID), "{code}: {text}");
    text
}

#[test]
fn json_goes_to_the_standard_output_and_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.json");
    let output = bench(&format!("-c 5 --format json --json {}", path.display()));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown, json(&path));
    assert_eq!(shown["schema"], "wireloop-bench/1");
    assert_eq!(shown["environment"]["same_host"], true);
    assert!(shown["environment"]["kernel"].as_str().unwrap().starts_with("Linux "), "{shown:#}");
    assert_eq!(shown["tally"]["groups"][0]["opened"], 5);
    // Written to be read.
    assert!(output.stdout.starts_with(b"{\n  \"schema\""));
}

#[test]
fn what_is_known_of_the_machine_is_said_and_written() {
    let quiet = bench("-c 1 --format json");
    assert!(quiet.stderr.is_empty(), "{quiet:?}");
    let results: Value = serde_json::from_slice(&quiet.stdout).unwrap();
    let warnings = results["environment"]["warnings"].as_array().unwrap();
    let first = warnings[0].as_str().unwrap();
    assert!(first.starts_with("client and server share this host"), "{warnings:?}");
    let output = Command::new(env!("CARGO_BIN_EXE_wireloop-bench"))
        .args(["-c", "1", "-d", "100ms", "--warm-up", "0"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(&format!("wireloop-bench: note: {first}\n")), "{said}");
}

#[test]
fn secrets_are_not_written() {
    let output = bench("-c 1 --user me:hush -HX-Key:hush --cookie=a=hush --format json");
    let text = String::from_utf8(output.stdout).unwrap();
    let shown: Value = serde_json::from_str(&text).unwrap();
    let arguments = shown["arguments"].as_array().unwrap();
    let expected = ["--user", "***", "-H***", "--cookie=***", "--format", "json"];
    assert!(arguments.ends_with(&expected.map(Value::from)), "{arguments:?}");
    assert!(!text.contains("hush"));
}

#[test]
fn what_cannot_be_written_is_said_before_the_run() {
    for option in ["--json", "--html", "--hgrm", "--hlog"] {
        let text = refusal(&format!("{option} /nowhere/file -d 60s"));
        assert!(text.contains("cannot write /nowhere/file: "), "{text}");
    }
    refusal("--prometheus 192.0.2.1:1 -d 60s");
}

#[test]
fn thresholds_come_first_and_have_their_exit_code() {
    let text = expect_code("-c 2 --threshold errors==0 --threshold p50<10s", 0);
    assert!(text.starts_with("  ✓ errors==0  0\n  ✓ p50<10s    "), "{text}");
    let text = expect_code("-c 2 --threshold errors==0 --threshold p50<1ns", 99);
    assert!(text.contains("\n  ✗ p50<1ns    "), "{text}");
    // Nothing was measured, which is another matter.
    expect_code("-c 2 --threshold p50<1ns ws://127.0.0.1:1/", 1);
    let text = expect_code("--threshold nonsense", 2);
    assert!(text.contains("p99<2ms"), "{text}");
}

#[test]
fn a_broken_threshold_ends_the_run_if_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.json");
    let options =
        format!("--threshold p50<1ns --abort-on-threshold=500ms --json {}", path.display());
    let text = expect_code(&format!("-c 2 -d 60s {options}"), 99);
    assert!(text.contains("a threshold was broken: the run has ended early"), "{text}");
    let results = json(&path);
    assert_eq!(results["outcome"]["was_aborted"], true);
    assert!(
        results["measured_ns"].as_u64().unwrap() < 30_000_000_000,
        "{}",
        results["measured_ns"]
    );
}

#[test]
fn an_open_loop_has_a_file_of_its_service_times() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.hgrm");
    expect_code(&format!("-c 2 -R 1k --hgrm {}", path.display()), 0);
    for name in ["run.hgrm", "run.service.hgrm"] {
        let text = fs::read_to_string(directory.path().join(name)).unwrap();
        let rows = text.lines().filter(|line| line.split_whitespace().count() == 4);
        assert!(rows.count() > 10, "{text}");
        assert!(text.contains("#[Mean    = "), "{text}");
    }
}

#[test]
fn prometheus_reads_the_figures_while_the_run_lasts() {
    let mut child = start(&["-c", "3", "-d", "60s", "--prometheus", "127.0.0.1:0"], Stdio::piped());
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().split("http://").nth(1).unwrap().strip_suffix("/metrics").unwrap();
    let echoes = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("wireloop_bench_echoes_total "));
        line.map_or(0, |number| number.parse::<u64>().unwrap())
    };
    let first = until(|| Some(scrape(address)).filter(|text| echoes(text) > 0));
    assert!(
        first.to_lowercase().contains("\r\ncontent-type: text/plain; version=0.0.4"),
        "{first}"
    );
    assert!(first.contains("wireloop_bench_response_seconds_bucket{le=\"+Inf\"} "), "{first}");
    assert!(first.contains("wireloop_bench_connections_open 3"), "{first}");
    until(|| (echoes(&scrape(address)) > echoes(&first)).then_some(()));
    interrupt(&child);
    assert!(matches!(child.wait().unwrap().code(), Some(0 | INVALID)));
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_run_that_is_killed_leaves_its_log_and_no_other_file() {
    let directory = tempfile::tempdir().unwrap();
    let [log, other] = ["run.hlog", "run.json"].map(|name| directory.path().join(name));
    let arguments = ["-c", "2", "-d", "60s", "--hlog", log.to_str().unwrap()];
    let mut child =
        start(&[&arguments[..], &["--json", other.to_str().unwrap()]].concat(), Stdio::null());
    let lines = || fs::read_to_string(&log).unwrap_or_default();
    until(|| (lines().matches("Tag=response,").count() >= 2).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let text = lines();
    assert!(text.contains("#[Histogram log format version 1.3]\n#[StartTime: "), "{text}");
    assert!(
        text.lines().filter(|line| line.starts_with("Tag=")).all(|line| line.contains(",HISTF"))
    );
    assert!(text.ends_with('\n'));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// Where in a run it is interrupted, how that is reached, and what is there then.
#[test]
fn a_run_that_is_interrupted_leaves_complete_files() {
    // It never answers an upgrade.
    let silent = serve_all(3, |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    // It answers no message, so that the end of the run has to be waited for.
    let mute = serve_all(3, |mut stream| {
        accept(&mut stream, "");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let moments = [
        ("connecting", vec!["--connect-timeout", "60s", "-d", "60s", &silent], 700),
        ("warm-up", vec!["--warm-up", "60s"], 1500),
        ("measuring", vec!["--warm-up", "0", "-d", "60s"], 1500),
        ("draining", vec!["--warm-up", "0", "-d", "200ms", "--drain", "4s", &mute], 1500),
    ];
    thread::scope(|scope| {
        for (moment, arguments, millis) in &moments {
            scope.spawn(|| interrupt_at(moment, arguments, Duration::from_millis(*millis)));
        }
    });
}

#[track_caller]
fn interrupt_at(moment: &str, arguments: &[&str], after: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(format!("run.{name}"));
    let mut options = vec!["-c".to_owned(), "3".to_owned()];
    for name in ["json", "html", "hgrm", "hlog"] {
        options.extend([format!("--{name}"), path(name).display().to_string()]);
    }
    let options: Vec<_> =
        options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    let mut child = start(&options, Stdio::null());
    thread::sleep(after);
    interrupt(&child);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert!(text.contains("interrupted: these are the results until then"), "{moment}: {text}");
    let results = json(&path("json"));
    assert_eq!(results["outcome"]["was_interrupted"], true, "{moment}");
    let echoes = results["tally"]["groups"][0]["echoes"].as_u64().unwrap();
    assert_eq!(echoes > 0, moment == "measuring", "{moment}: {echoes}");
    let page = fs::read_to_string(path("html")).unwrap();
    assert!(page.contains("Partial: the run has ended early, as it was interrupted"), "{moment}");
    assert!(page.ends_with("</html>\n"), "{moment}");
    assert!(fs::read_to_string(path("hgrm")).unwrap().starts_with("# The run was ended early"));
    assert!(fs::read_to_string(path("hlog")).unwrap().ends_with("# The run was ended early.\n"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "{moment}");
}

/// Starts a run with its text in a pipe.
fn start(arguments: &[&str], stderr: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireloop-bench"));
    command.arg("--quiet").args(arguments).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap()
}

fn interrupt(child: &Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..400 {
        if let Some(found) = found() {
            return found;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("not within 20 s");
}

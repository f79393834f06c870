//! Searching the highest rate, and comparing two servers.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{answer, bench, refusal, results, said, serve};

fn report(arguments: &str) -> (Option<i32>, String) {
    said(bench(arguments))
}

/// A server that answers 500 messages a second, one after the other.
fn limited() -> String {
    serve(1, |stream| {
        answer(stream, |_, frame, answers| {
            thread::sleep(Duration::from_millis(2));
            answers.push(frame);
        });
    })
}

#[test]
fn the_highest_rate_that_holds_is_found() {
    let (_, text) = report(&format!(
        "-c 1 --find-max p50<100ms --probe 200ms --repeats 1 -d 300ms -R 150 {}",
        limited()
    ));
    let line = text.lines().find(|line| line.contains("is the most at which p50<100ms"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    let rate: f64 = line.split_whitespace().next().unwrap().replace(',', "").parse().unwrap();
    // A sleep takes a little longer than it is asked to.
    assert!((90.0..=560.0).contains(&rate), "{text}");
    assert!(text.contains("confirmed") && text.contains("was too much"), "{text}");
}

#[test]
fn an_objective_that_nothing_holds_is_said() {
    let (code, text) =
        report(&format!("-c 1 --find-max p50<1us --probe 100ms --repeats 1 -R 10 {}", limited()));
    assert!(text.contains("no rate was found at which p50<1us"), "{text}");
    assert_eq!(code, Some(1), "{text}");
}

/// A server of ours.
struct Server(Child, String);

impl Server {
    fn start(arguments: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wireloop-bench"))
            .args(["--serve", "0"])
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, format!("ws://{}/echo", line.trim()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_that_is_slower_is_told_from_one_that_is_not() {
    let (one, other) = (Server::start(""), Server::start("--server-spin 50us"));
    let (code, text) = report(&format!("-c 4 -d 3s --slice 50ms --versus {} {}", other.1, one.1));
    assert!(matches!(code, Some(0 | 3)), "{text}");
    assert!(text.contains("The difference is real: "), "{text}");
    let cpu = text.lines().find(|line| line.starts_with("  server CPU")).unwrap();
    assert!(cpu.ends_with('*') && cpu.contains(" +"), "{text}");
}

#[test]
fn too_short_a_comparison_says_nothing() {
    let one = Server::start("");
    let (code, text) = report(&format!("-c 4 -d 300ms --versus {} {}", one.1, one.1));
    assert!(matches!(code, Some(0 | 3)), "{text}");
    assert!(text.contains("too few to say anything"), "{text}");
}

#[test]
fn the_own_server_has_as_many_workers_as_it_is_told_to() {
    let servers = ["1", "3"].map(|workers| Server::start(&format!("--server-workers {workers}")));
    let [one, three] = servers.each_ref().map(|Server(child, _)| {
        let tasks = format!("/proc/{}/task", child.id());
        move || std::fs::read_dir(&tasks).unwrap().count()
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while three() != one() + 2 {
        assert!(Instant::now() < deadline, "{} and {} threads", one(), three());
        thread::sleep(Duration::from_millis(10));
    }
}

/// The server is this process, unless another one is named.
#[test]
fn the_process_whose_cost_is_reported_can_be_named() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let cpu = |arguments: String| {
        let url = support::serve_all(4, |stream| support::echo(stream, |_, _| ()));
        let results = results(&format!("-c 4 {arguments} {url}"));
        assert!((0.0..=1.0).contains(&results["server"]["delayed"].as_f64().unwrap()), "{results}");
        results["server"]["cpu_ns"].as_u64().unwrap()
    };
    let (own, named) = (cpu(String::new()), cpu(format!("--server-pid {}", sleeper.id())));
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    assert!(own > 10_000_000 && named < 1_000_000, "{own} {named}");
    let line = refusal(&format!("--server-pid {} ws://127.0.0.1:9/", sleeper.id()));
    assert!(line.contains("there is no process"), "{line}");
}

/// A server of metrics, as others serve them: half a processor is in use all the time.
fn metrics(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    thread::spawn(move || {
        let begun = Instant::now();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let head = String::from_utf8(support::read_request(&mut stream)).unwrap();
            assert!(head.starts_with("GET /metrics HTTP/1.1\r\n"), "{head}");
            let body = text.replace("CPU", &(begun.elapsed().as_secs_f64() / 2.0).to_string());
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn the_cost_of_a_server_that_is_elsewhere_is_told_by_its_metrics() {
    let metrics = metrics("process_cpu_seconds_total CPU\nprocess_resident_memory_bytes 4.2e+07\n");
    let url = support::serve_all(2, |stream| support::echo(stream, |_, _| ()));
    let results = results(&format!("-c 2 -d 1s --server-metrics {metrics} {url}"));
    let server = &results["server"];
    assert!((450_000_000..=600_000_000).contains(&server["cpu_ns"].as_u64().unwrap()), "{server}");
    assert_eq!((&server["system_ns"], &server["delayed"]), (&Value::Null, &Value::Null));
    assert_eq!(server["ksoftirqd_uncounted"], "metrics");
    assert_eq!(server["resident_bytes"], 42_000_000);
}

#[test]
fn metrics_that_are_not_there_are_told_of_before_the_run() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wrong = metrics("process_start_time_seconds 1\n");
    for (metrics, reason) in
        [(format!("http://{unused}/"), "refused"), (wrong, "there is no process_cpu_seconds_total")]
    {
        let line = refusal(&format!("--server-metrics {metrics} ws://127.0.0.1:9/"));
        assert!(line.contains("--server-metrics") && line.contains(reason), "{line}");
    }
}

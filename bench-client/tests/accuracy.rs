//! Servers whose times are known beforehand: the report says what arithmetic says.

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use support::{Row, answer, bench, failure, serve};

/// Tests that mostly sleep share the processors, and one that works has them for itself.
static PROCESSORS: RwLock<()> = RwLock::new(());

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The report of the first of a few runs that is as it should be. The others may have shared their
/// processor; if all are wrong, it is the client's fault.
#[track_caller]
fn expect_one_of(
    runs: usize,
    arguments: &str,
    url: impl Fn() -> String,
    is_right: impl Fn(&str) -> bool,
) {
    expect_one_of_outputs(runs, || {
        let output = bench(&format!("{arguments} {}", url()));
        let text = String::from_utf8(output.stdout).unwrap();
        if is_right(&text) { Ok(()) } else { Err(text) }
    });
}

/// A server that does nothing for half a second in each five seconds.
fn stalling() -> String {
    serve(1, |stream| {
        let begun = Instant::now();
        answer(stream, |_, frame, answers| {
            let phase = Duration::from_nanos((begun.elapsed().as_nanos() % 5_000_000_000) as u64);
            if (millis(2500)..millis(3000)).contains(&phase) {
                thread::sleep(millis(3000) - phase);
            }
            answers.push(frame);
        });
    })
}

/// A server that answers each message two milliseconds after it was asked.
fn slow() -> String {
    serve(1, |stream| {
        answer(stream, |_, frame, answers| {
            let asked = Instant::now();
            // A sleep may be late, and is not to be.
            thread::sleep(millis(1));
            while asked.elapsed() < millis(2) {
                std::hint::spin_loop();
            }
            answers.push(frame);
        });
    })
}

#[test]
fn an_open_loop_counts_all_messages_that_a_stall_delays_and_a_closed_loop_one() {
    let _shared = PROCESSORS.read().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        scope.spawn(open_loop_with_a_stall);
        closed_loop_with_a_stall();
    });
}

fn open_loop_with_a_stall() {
    // A tenth of the messages are due in the stall, evenly spread over it: a twentieth waits for
    // more than half of it, a hundredth for more than nine tenths.
    expect_one_of(3, "-c 1 -R 1000 -d 5s", stalling, |text| {
        let row = Row::of(text, "response");
        (237..=263).contains(&row.p95.time.as_millis())
            && (427..=473).contains(&row.p99.time.as_millis())
            && row.p50.time < millis(5)
    });
}

fn closed_loop_with_a_stall() {
    expect_one_of(3, "-c 1 -d 5s", stalling, |text| {
        let row = Row::of(text, "echo");
        row.p99.time < millis(5) && (480..=520).contains(&row.max.time.as_millis())
    });
}

#[test]
fn a_fixed_delay_is_measured_as_it_is() {
    let _alone = PROCESSORS.write().unwrap_or_else(PoisonError::into_inner);
    let is_right = |row: Row| (millis(2)..=Duration::from_micros(2200)).contains(&row.p50.time);
    expect_one_of(20, "-c 1", slow, |text| is_right(Row::of(text, "echo")));
    expect_one_of(20, "-c 1 -R 100", slow, |text| {
        is_right(Row::of(text, "service")) && is_right(Row::of(text, "response"))
    });
}

#[test]
fn unanswered_messages_count_with_their_age() {
    let _shared = PROCESSORS.read().unwrap_or_else(PoisonError::into_inner);
    // 120 messages behind 24 of the warm-up, of which the second half is not answered.
    let url = serve(1, |stream| {
        answer(stream, |number, frame, answers| {
            if number < 84 {
                answers.push(frame);
            }
        });
    });
    let text = failure(&format!("-c 1 -R 240 --drain 300ms {url}"));
    for name in ["response", "service"] {
        let row = Row::of(&text, name);
        assert!(row.p50.is_exact && row.p50.time < millis(300), "{text}");
        // The oldest was sent 250 ms before the end.
        assert!(!row.p90.is_exact && row.p90.time > millis(450), "{text}");
        assert!(!row.max.is_exact && row.max.time > millis(545), "{text}");
    }
    assert!(text.contains("60 x message without an answer"), "{text}");
}

/// A client that does not run for half a second of five: what it should have sent meanwhile was
/// late, which is in the response times and not in the service times, and the verdict says whose
/// fault it was.
#[test]
fn a_client_that_stalls_tells_response_from_service_time() {
    let _shared = PROCESSORS.read().unwrap_or_else(PoisonError::into_inner);
    expect_one_of_outputs(3, || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wireloop-bench"))
            .args(["-c", "1", "-R", "1000", "-d", "5s", "--warm-up", "100ms"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        lines
            .find(|line| line.as_ref().is_ok_and(|line| line.starts_with("measuring")))
            .unwrap()
            .unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        thread::sleep(millis(500));
        kill_process(pid, Signal::CONT).unwrap();
        lines.for_each(drop);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (response, service) = (Row::of(&text, "response"), Row::of(&text, "service"));
        let is_right = (237..=280).contains(&response.p95.time.as_millis())
            && (427..=490).contains(&response.p99.time.as_millis())
            && service.p99.time < millis(20)
            && text.contains("INVALID: p99 of the send lag")
            && output.status.code() == Some(3);
        is_right.then_some(()).ok_or(text)
    });
}

/// The first of a few runs that is as it should be, as in `expect_one_of`.
#[track_caller]
fn expect_one_of_outputs(runs: usize, run: impl Fn() -> Result<(), String>) {
    let mut texts = Vec::new();
    for _ in 0..runs {
        match run() {
            Ok(()) => return,
            Err(text) => texts.push(text),
        }
    }
    panic!("{}", texts.concat());
}

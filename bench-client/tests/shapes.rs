//! The shapes of a load: when connections come and go, and when they send.

mod support;

use std::{
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use support::{Row, answer, bench, refusal, said, serve_all};

/// The report of a run that is as it should be but for the machine.
#[track_caller]
fn report(arguments: &str) -> String {
    let (code, text) = said(bench(arguments));
    assert!(matches!(code, Some(0 | 3)), "{text}");
    text
}

/// What two functions return that run at the same time.
fn at_once<T: Send>(one: impl FnOnce() -> T + Send, other: impl FnOnce() -> T) -> (T, T) {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap(), other)
    })
}

/// The number before a word.
#[track_caller]
fn number_of(report: &str, word: &str) -> u64 {
    let line =
        report.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{report}"));
    let number = line[..line.find(word).unwrap()].split_whitespace().last().unwrap();
    number.replace(',', "").parse().unwrap()
}

/// How many connections were opened, behind the colon of the last line.
fn opened(report: &str) -> u64 {
    number_of(report.lines().last().unwrap_or_default(), " of ")
}

#[test]
fn stages_are_ramps_and_give_the_length_of_the_run() {
    let begun = Instant::now();
    // 0 to 1,000 in a second, then 1,000 for half of one: 500 and 500 messages. And a step, then a
    // rate that falls to nothing.
    let (text, falling) = at_once(
        || report("-c 10 --warm-up 0 --stage 1s:1000 --stage 500ms:1k"),
        || report("-c 10 --warm-up 0 --stage 0:500 --stage 1s:0"),
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(text.contains("open loop of 2 stages, 667 msg/s on average"), "{text}");
    assert!((950..=1001).contains(&number_of(&text, " echoes in 1.50 s")), "{text}");
    assert!((240..=251).contains(&number_of(&falling, " echoes in 1.00 s")), "{falling}");
}

/// The moments at which a server is sent something, by connection.
fn watched(connections: usize) -> (String, Arc<Mutex<Vec<Vec<Instant>>>>) {
    let lives = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lives);
    let url = serve_all(connections, move |stream: TcpStream| {
        let mut moments = vec![Instant::now()];
        answer(stream, |_, frame, answers| {
            moments.push(Instant::now());
            answers.push(frame);
        });
        moments.push(Instant::now());
        seen.lock().unwrap().push(moments);
    });
    (url, lives)
}

#[test]
fn poisson_arrivals_are_irregular() {
    // The deviation of the gaps by their mean: 1 for Poisson arrivals, 0 for uniform ones.
    let variation = |arguments: &str| {
        let (url, lives) = watched(1);
        report(&format!("-c 1 -R 400 --warm-up 0 -d 2s {arguments} {url}"));
        let lives = lives.lock().unwrap();
        let gaps: Vec<f64> =
            lives[0].windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let gaps = &gaps[1..gaps.len() - 1];
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        variance.sqrt() / mean
    };
    let (random, even) = at_once(|| variation("--poisson"), || variation(""));
    assert!((0.75..1.35).contains(&random) && even < 0.6, "{random} {even}");
}

#[test]
fn connections_come_at_the_connect_rate() {
    let begun = Instant::now();
    let text = report("-c 40 --connect-rate 50 -d 100ms");
    assert!(begun.elapsed() > Duration::from_millis(780), "{text}");
    assert_eq!(opened(&text), 40, "{text}");
}

#[test]
fn each_connection_sends_its_messages_and_leaves() {
    let (url, lives) = watched(10_000);
    let text = report(&format!("-c 4 --depth 3 --messages 10 --warm-up 0 {url}"));
    let lives = lives.lock().unwrap();
    assert!(lives.len() > 20 && opened(&text) >= lives.len() as u64, "{text}");
    // Its begin, its messages and its end; the last ones were interrupted.
    let whole = lives.iter().filter(|moments| moments.len() == 12).count();
    assert!(whole + 4 >= lives.len(), "{whole} of {}", lives.len());
}

#[test]
fn connections_live_as_long_as_they_were_told() {
    let (url, lives) = watched(1000);
    let text = report(&format!("-c 5 -R 500 --lifetime 200ms --warm-up 0 -d 1500ms {url}"));
    let lives = lives.lock().unwrap();
    assert!((30..=60).contains(&lives.len()), "{} {text}", lives.len());
    let length = |moments: &Vec<Instant>| (moments[moments.len() - 1] - moments[0]).as_millis();
    let whole = lives.iter().filter(|moments| (195..260).contains(&length(moments))).count();
    // The first ones live shorter, so that not all leave at the same time, and the last ones were
    // interrupted.
    assert!(whole + 12 >= lives.len(), "{whole} of {}", lives.len());
}

#[test]
fn time_to_think_passes_between_an_answer_and_the_next_message() {
    let text = report("-c 10 --think 50ms --warm-up 0 -d 1s");
    // 20 a second each, but for the time that answers take.
    assert!((150..=210).contains(&number_of(&text, " echoes in")), "{text}");
}

#[test]
fn sessions_come_whether_or_not_others_have_left() {
    let (url, lives) = watched(1000);
    let text =
        report(&format!("-c 100 --sessions 100 --messages 4 --think 10ms --warm-up 0 -d 1s {url}"));
    assert!(text.contains("uniform sessions, 100 /s"), "{text}");
    let lives = lives.lock().unwrap();
    assert!((95..=101).contains(&lives.len()), "{} {text}", lives.len());
    let whole = lives.iter().filter(|moments| moments.len() == 6).count();
    assert!(whole + 6 >= lives.len(), "{whole} of {}", lives.len());
}

#[test]
fn a_session_that_finds_no_connection_is_counted() {
    let output = bench("-c 2 --sessions 100 --messages 2 --think 500ms --warm-up 0 -d 500ms");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(number_of(&text, " x session not begun") >= 40, "{text}");
}

#[test]
fn slow_readers_take_no_more_than_they_were_told() {
    let text = report("-c 2 -s 50k --depth 4 --read-rate 500k --warm-up 0 -d 2s --drain 3s");
    // 20 a second, and what the first buffer held.
    assert!((30..=60).contains(&number_of(&text, " echoes in")), "{text}");
}

#[test]
fn idle_connections_send_nothing() {
    let (url, lives) = watched(3);
    let text = report(&format!("-c 3 --idle --warm-up 0 {url}"));
    assert!(text.contains("3 connections") && text.contains(", idle"), "{text}");
    assert!(lives.lock().unwrap().iter().all(|moments| moments.len() == 2));
}

#[test]
fn a_constant_rate_is_the_same_with_several_threads() {
    let text = report("-c 7 -t 3 -R 1000 --warm-up 0 -d 1s");
    assert!((990..=1000).contains(&number_of(&text, " echoes in")), "{text}");
    assert!(Row::of(&text, "response").p50.time < Duration::from_millis(50), "{text}");
}

#[test]
fn who_leaves_is_sent_no_more_than_its_messages() {
    // More than connections can be made for: some are due when there is none.
    let (_, text) = said(bench("-c 5 -R 30k --messages 7 -d 300ms"));
    assert!(text.contains(" echoes in ") && !text.contains("too many in flight"), "{text}");
}

#[test]
fn what_cannot_be_is_one_line_that_says_what_to_do() {
    for (arguments, advice) in [
        ("--poisson", "needs a rate"),
        ("--publishers 5 -c 5 -R 1", "fewer --publishers"),
        ("--publishers 1", "give one with -R or --stage"),
        ("--stage 0:100", "above 0"),
    ] {
        let text = refusal(arguments);
        assert!(text.contains(advice), "{text}");
    }
    for wrong in ["--stage 10s", "--stage 10s:x", "--sessions 5", "--idle -R 5", "--depth 2 -R 5"] {
        assert_eq!(bench(wrong).status.code(), Some(2), "{wrong}");
    }
}

//! The load generator as it is used: runs of a second against its own server, and against servers
//! that are not there or that lie.

mod support;

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::{Duration, Instant},
};

use support::{Frame, answer, bench, echo, failure, read_request, refusal, said, serve, serve_all};

/// Runs, expects success, and returns the report. That this machine has other things to do may
/// make the figures invalid, but nothing else.
fn report(arguments: &str) -> String {
    let output = bench(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let expected = if text.contains("  INVALID: ") { 3 } else { 0 };
    assert_eq!(output.status.code(), Some(expected), "{text}{errors}");
    text
}

#[test]
fn a_closed_loop_with_a_server_of_its_own() {
    let text = report("-c 50");
    assert!(text.contains("ok: 50 of 50 connections, no errors"), "{text}");
    assert!(text.contains("closed loop, 1 in flight each"), "{text}");
    assert!(text.contains("us CPU per echo"), "{text}");
}

#[test]
fn many_in_flight_as_text_on_two_threads() {
    let text = report("-c 20 -t 2 --depth 16 --text -s 1000");
    assert!(text.contains("ok: 20 of 20 connections, no errors"), "{text}");
}

#[test]
fn the_client_runs_on_either_driver() {
    for load in ["--depth 4", "-R 1000 --poisson", "--messages 20 -t 2", "-s 1m --depth 2"] {
        for (driver, servers) in [("epoll", "io-uring"), ("io-uring", "epoll")] {
            let drivers = format!("--driver {driver} --server-driver {servers}");
            let text = report(&format!("-c 10 -d 200ms {drivers} {load}"));
            assert!(text.contains(&format!(" on {driver}, ")), "{text}");
            assert!(text.contains("no errors"), "{text}");
        }
    }
    assert_eq!(bench("--driver kqueue").status.code(), Some(2));
}

#[test]
fn empty_and_large_messages_come_back_whole() {
    report("-c 2 -s 0");
    report("-c 2 -s 5m");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let text = report("-c 20 -R 2000");
    let line = text.lines().find(|line| line.contains("echoes in")).unwrap();
    let echoes: u32 = line.trim().split(' ').next().unwrap().replace(',', "").parse().unwrap();
    // Half a second of 2,000 a second, and what came late or early at its ends.
    assert!((950..=1050).contains(&echoes), "{text}");
    assert!(text.contains("response"), "{text}");
}

#[test]
fn a_rate_beyond_the_client_is_invalid_and_has_its_own_exit_code() {
    let output = bench("-c 1 -R 100m --max-in-flight 1g --drain 10s -d 300ms");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("INVALID: ") && text.contains("messages were sent"), "{text}");
    assert!(text.contains("ok: 1 of 1 connections, no errors"), "{text}");
}

#[test]
fn what_is_late_is_sent_whole_and_in_its_order() {
    for driver in ["epoll", "io-uring"] {
        for load in ["--poisson", "--text -s 100", "-s 20-3000", "--compression fresh"] {
            let arguments = "-c 7 -R 1m --max-in-flight 1m --drain 15s -d 200ms";
            let (_, text) = said(bench(&format!("{arguments} --driver {driver} {load}")));
            assert!(text.contains(" 0 reordered, 0 corrupt,"), "{text}");
            // What the server does not take in time is not sent.
            let errors = text.lines().filter(|line| line.contains(" x "));
            let others: Vec<_> = errors.filter(|line| !line.ends_with("in flight")).collect();
            assert!(others.is_empty(), "{text}");
        }
    }
}

#[test]
fn a_rate_that_is_kept_is_not_invalid() {
    // Others may have had this machine for some of the time, but not each time.
    let reports = (0..20).map(|_| report("-c 10 -R 100"));
    let good = reports.into_iter().find(|text| !text.contains("INVALID: "));
    assert!(good.is_some_and(|text| text.contains("VALID: ") || text.contains("SUSPECT: ")));
}

#[test]
fn nobody_listening_is_said_in_a_word() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = failure(&format!("-c 3 ws://{unused}/"));
    assert!(text.contains("3 x connection refused"), "{text}");
}

#[test]
fn a_refused_upgrade_is_counted_with_its_status() {
    let url = serve(1, |mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let text = failure(&format!("-c 1 {url}"));
    assert!(text.contains("1 x upgrade refused with status 503"), "{text}");
}

#[test]
fn one_corrupted_echo_is_counted_once() {
    let url =
        serve(1, |stream| echo(stream, |number, payload| payload[3] ^= u8::from(number == 5)));
    let text = failure(&format!("-c 1 {url}"));
    assert!(text.contains("1 x echo with wrong content"), "{text}");
}

#[test]
fn an_answer_that_never_comes_is_counted() {
    let url = serve(1, |mut stream| {
        read_request(&mut stream);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let text = failure(&format!("-c 1 --connect-timeout 300ms {url}"));
    assert!(text.contains("1 x connection not open in time"), "{text}");
}

#[test]
fn a_wrong_accept_value_is_not_a_websocket() {
    let url = serve(1, |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        );
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let text = failure(&format!("-c 1 {url}"));
    assert!(text.contains("1 x invalid handshake: wrong Sec-WebSocket-Accept"), "{text}");
}

#[test]
fn a_run_ends_when_all_connections_have_failed() {
    for load in ["-t 2", "-R 1000", "-t 2 --warm-up 60s"] {
        let url = serve_all(2, |stream| {
            let mut echoes = 0;
            answer(stream, |_, mut frame, answers| {
                echoes += 1;
                if echoes == 5 {
                    frame = Frame { first: 0x88, payload: vec![3, 0xf3] };
                }
                answers.push(frame);
            });
        });
        let begun = Instant::now();
        let text = failure(&format!("-c 2 -d 60s {load} {url}"));
        assert!(begun.elapsed() < Duration::from_secs(20), "{text}");
        assert!(text.contains("2 x closed by the server with 1011"), "{text}");
        assert!(text.contains("all connections had failed after"), "{text}");
    }
}

#[test]
fn a_wrong_url_is_one_line_that_says_what_to_do() {
    for url in ["http://127.0.0.1/", "ws://127.0.0.1/#x", "ws://nowhere.invalid/", "nonsense"] {
        refusal(url);
    }
}

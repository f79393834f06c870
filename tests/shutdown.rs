//! The binary from outside: how it stops, what it says when it cannot start, and its exit codes.

mod support;

use std::{
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{BINARY, Binary, Client};
use wireloop::{Routes, io::Epoll, server::Worker};

#[test]
fn sigterm_under_load_says_1001_to_everybody_and_exits_with_0() {
    let mut server = Binary::start(&["--grace", "5s"]);
    let mut idle: Vec<Client> = (0..50).map(|_| server.upgrade("/echo")).collect();
    let busy: Vec<Client> = (0..4).map(|_| server.upgrade("/echo")).collect();
    thread::scope(|scope| {
        for mut client in busy {
            scope.spawn(move || {
                loop {
                    // Both fail in the end, when the server has closed.
                    if client.try_send_raw(&support::frame(true, BINARY, [1; 4], b"load")).is_err()
                    {
                        return;
                    }
                    match client.read_frame() {
                        (true, BINARY, payload) => assert_eq!(payload, b"load"),
                        (true, support::CLOSE, payload) => {
                            assert_eq!(payload[..2], 1001_u16.to_be_bytes());
                            client.send_close(1001, "");
                            return client.expect_gone();
                        }
                        other => panic!("not a frame of this test: {other:?}"),
                    }
                }
            });
        }
        server.signal(Signal::TERM);
        idle.iter_mut().for_each(|client| client.expect_closing(1001));
    });
    // Until a peer has ended its direction too, the server waits for it.
    drop(idle);
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// SIGQUIT and SIGHUP, as supervisors and closed terminals send them, used to leave the peers without
/// a Close frame.
#[test]
fn each_signal_that_asks_for_the_end_says_1001_to_everybody() {
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP] {
        let mut server = Binary::start(&[]);
        let mut client = server.upgrade("/echo");
        server.signal(signal);
        client.expect_closing(1001);
        drop(client);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{signal:?}: {stderr}");
    }
}

#[test]
fn signals_without_a_meaning_do_nothing() {
    let mut server = Binary::start(&[]);
    let mut client = server.upgrade("/echo");
    for signal in [Signal::USR1, Signal::USR2] {
        server.signal(signal);
        client.ping_and_wait(b"served");
    }
    // Signals are seen in the order of their numbers, so those two have been by now.
    server.signal(Signal::TERM);
    client.expect_closing(1001);
    drop(client);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_server_under_nohup_outlives_its_terminal() {
    let mut server = Binary::start_without_hangup(&[]);
    let mut client = server.upgrade("/echo");
    server.signal(Signal::HUP);
    client.ping_and_wait(b"served");
    server.signal(Signal::TERM);
    client.expect_closing(1001);
    drop(client);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn peers_that_do_not_answer_do_not_keep_the_server_beyond_its_grace() {
    let mut server = Binary::start(&["--grace", "200ms"]);
    let mut client = server.upgrade("/echo");
    let begun = Instant::now();
    server.signal(Signal::INT);
    client.expect_close(1001);
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(3), "the grace is over");
}

#[test]
fn a_second_signal_exits_at_once_with_130() {
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT] {
        let mut server = Binary::start(&["--grace", "1h", "--close-timeout", "1h"]);
        let mut client = server.upgrade("/echo");
        server.signal(Signal::TERM);
        // The first one has been seen when the Close arrives.
        client.expect_close(1001);
        server.signal(signal);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(130), "{signal:?}: {stderr}");
    }
}

/// A supervisor may send it together with SIGTERM.
#[test]
fn a_hangup_while_the_server_stops_does_not_cut_it_short() {
    for first in [Signal::TERM, Signal::HUP] {
        let mut server = Binary::start(&["--grace", "1h"]);
        let mut client = server.upgrade("/echo");
        server.signal(first);
        client.expect_close(1001);
        server.signal(Signal::HUP);
        client.send_close(1001, "");
        client.expect_gone();
        drop(client);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{first:?}: {stderr}");
    }
}

/// Runs the binary with arguments it cannot serve with: it exits with 1 and one line that names
/// what is wrong and says what to do.
#[track_caller]
fn expect_one_line(arguments: &[&str], words: &[&str]) {
    let output = Binary::run(arguments);
    let stderr = String::from_utf8(output.stderr).expect("stderr is text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty(), "it does not say that it listens");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not said: {stderr}");
    }
}

#[test]
fn a_port_in_use_is_said_in_one_line() {
    let other = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = other.local_addr().expect("it is bound").to_string();
    expect_one_line(&["--listen", &address], &[&address, "in use", "choose another --listen"]);
}

#[test]
fn a_port_that_another_wireloop_serves_is_in_use() {
    let server = Binary::start(&[]);
    let address = server.address().to_string();
    expect_one_line(&["--listen", &address], &[&address, "in use"]);
}

/// The advice used to be to stop the other server, which was the same one.
#[test]
fn addresses_of_which_one_is_part_of_the_other_are_said_in_one_line() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = port.expect("there is a free port").port();
    for (first, second) in [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "[::]"), ("[::]", "[::1]")] {
        let [first, second] = [first, second].map(|host| format!("{host}:{port}"));
        let port = format!(":{port}");
        let words = [&port, "cannot listen on both", "part of the other", "leave out one --listen"];
        expect_one_line(&["--listen", &first, "--listen", &second], &words);
    }
}

#[test]
fn a_bad_address_is_said_in_one_line() {
    expect_one_line(&["--listen", "nonsense"], &["nonsense", "HOST:PORT"]);
    expect_one_line(&["--listen", "127.0.0.1:99999"], &["127.0.0.1:99999", "HOST:PORT"]);
    expect_one_line(&["--listen", "192.0.2.1:0"], &["192.0.2.1:0", "address of this machine"]);
}

#[test]
fn a_missing_webroot_is_said_in_one_line() {
    let arguments = ["--listen", "127.0.0.1:0", "--webroot", "/no/such/directory"];
    expect_one_line(&arguments, &["/no/such/directory", "--webroot"]);
    let file = env!("CARGO_BIN_EXE_wireloop");
    expect_one_line(&["--listen", "127.0.0.1:0", "--webroot", file], &[file, "--webroot"]);
}

#[test]
fn wrong_arguments_exit_with_2() {
    for arguments in [
        &["--no-such-flag"][..],
        &["--max-message", "16q"],
        &["--grace", "soon"],
        &["--workers", "0"],
    ] {
        let output = Binary::run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_flag() {
    let output = Binary::run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("help is text");
    for flag in [
        "listen",
        "workers",
        "pin",
        "driver",
        "webroot",
        "share-address",
        "max-connections",
        "when-full",
        "max-message",
        "max-frame",
        "max-fragments",
        "max-head",
        "send-queue",
        "handshake-timeout",
        "ping-interval",
        "pong-timeout",
        "close-timeout",
        "grace",
        "quiet",
        "help",
        "version",
    ] {
        assert!(help.contains(&format!("--{flag}")), "--{flag} is not in the help");
    }
    let longest = help.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "the help fits into a terminal");
}

#[test]
fn a_file_limit_below_the_connections_wanted_is_said() {
    let mut server = Binary::start_with_files(128, &["--max-connections", "5000"]);
    server.signal(Signal::TERM);
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
    for word in ["5000 connections", "128", "ulimit"] {
        assert!(stderr.contains(word), "{word:?} is not said: {stderr}");
    }
}

#[test]
fn whoever_stops_listening_to_it_does_not_stop_it() {
    let mut server = Binary::start(&[]);
    server.close_stdout();
    let mut client = server.upgrade("/echo");
    client.send_text("still here");
    client.expect_text("still here");
    client.close();
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
}

/// The worker used to wait for its whole grace period when there was nobody to wait for.
#[test]
fn a_worker_without_connections_stops_at_once() {
    let routes = Arc::new(Routes::new());
    let mut worker =
        Worker::new(Epoll::new().unwrap(), routes, Arc::default(), Vec::new()).unwrap();
    worker.stop();
    let start = Instant::now();
    assert!(!worker.pass().unwrap());
    assert!(start.elapsed() < Duration::from_secs(5));
}

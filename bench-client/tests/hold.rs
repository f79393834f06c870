//! A client of `benches/million.sh`: what it answers to the lines that it is given.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    thread,
};

use wireloop::{Echo, Routes, Server};

/// Gives the client these lines, and with them the end of its input.
fn hold(url: &str, connections: &str, lines: &str) -> Output {
    let mut client = Command::new(env!("CARGO_BIN_EXE_wireloop-bench"))
        .args(["--hold", "-c", connections, "--connecting", "3", "--hold-source", "127.0.0.2", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    client.wait_with_output().unwrap()
}

fn server() -> String {
    let routes =
        Routes::new().websocket("/echo", |_request, protocols| Ok(protocols.none().session(Echo)));
    let server = Server::new(routes).workers(1).listen("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/echo", server.addresses().next().unwrap());
    thread::spawn(move || server.run());
    url
}

#[test]
fn connections_are_opened_loaded_in_turn_and_checked() {
    let output = hold(&server(), "20", "check\nopen\nload 100 0.5 0.4\ncheck\n");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], ["{\"alive\": 0}", "{\"open\": 20}"]);
    // Due at 0, 10, ... 390 ms after the first, two on each connection.
    let counts = "{\"sent\": 40, \"missed\": 0, \"echoes\": 40, \"response\": [[";
    assert!(lines[2].starts_with(counts), "{text}");
    assert_eq!(lines[3..], ["{\"alive\": 20}"]);
}

#[test]
fn what_cannot_be_opened_is_missing_in_the_answer() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = hold(&format!("ws://{nobody}/"), "5", "open\ncheck\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"open\": 0}\n{\"alive\": 0}\n");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.matches("connection refused").count(), 3, "{errors}");
}

#[test]
fn a_line_that_is_no_command_ends_it() {
    let output = hold(&server(), "1", "load 100 0 1\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not to be obeyed now"));
}

//! Where io_uring is not to be had: containers forbid its system calls with a filter, each with
//! its own error. Then `auto` serves on epoll and says so; `io-uring` says what to do, and ends.

mod support;

use rustix::process::Signal;
use support::{Binary, script, without};
use wireloop::{DriverKind, Server, ServerError};

/// What filters answer, and old kernels.
const ERRORS: [i32; 4] = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EINVAL];

/// The system calls without which there is no ring.
const CALLS: [i64; 3] =
    [libc::SYS_io_uring_setup, libc::SYS_io_uring_register, libc::SYS_io_uring_enter];

fn each(test: impl Fn(i64, i32)) {
    for (call, error) in CALLS.into_iter().flat_map(|call| ERRORS.map(|error| (call, error))) {
        test(call, error);
    }
}

#[test]
fn auto_serves_on_epoll_and_says_why_in_one_line() {
    each(|call, error| {
        let start = || Binary::start_with_log(&["--driver", "auto"]);
        let mut server = without(call, vec![], error, start);
        let mut client = server.upgrade("/echo");
        client.send_text("here");
        client.expect_text("here");
        client.close();
        drop(client);
        server.signal(Signal::TERM);
        let (status, log) = server.wait();
        assert!(status.success(), "{call} {error}: {log}");
        let about: Vec<&str> = log.lines().filter(|line| line.contains("io_uring")).collect();
        let [line] = about[..] else { panic!("not one line: {log}") };
        assert!(line.contains("serving") && line.contains("driver=epoll"), "{line}");
        assert!(line.contains("io_uring is not available: "), "{line}");
        assert!(line.contains(&format!("(os error {error})")), "{call} {error}: {line}");
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    });
}

#[test]
fn io_uring_fails_with_a_line_that_says_what_to_do() {
    each(|call, error| {
        let arguments = ["--driver", "io-uring", "--listen", "127.0.0.1:0"];
        let output = without(call, vec![], error, || Binary::run(&arguments));
        let text = String::from_utf8(output.stderr).expect("stderr is text");
        assert_eq!(output.status.code(), Some(1), "{call} {error}: {text}");
        let lines: Vec<&str> = text.lines().collect();
        let [line] = lines[..] else { panic!("not one line: {text}") };
        assert!(line.starts_with("wireloop: io_uring is not available ("), "{line}");
        assert!(line.contains(&format!("(os error {error})")), "{call} {error}: {line}");
        assert!(line.ends_with("choose --driver epoll or auto"), "{line}");
    });
}

/// The same for a library's caller: the error is a value, and nothing listens any more.
#[test]
fn a_server_that_was_to_have_io_uring_returns_why_it_does_not_run() {
    for error in ERRORS {
        let result = without(libc::SYS_io_uring_setup, vec![], error, || {
            let server = Server::new(script(|_| {})).workers(1).driver(DriverKind::IoUring);
            server.listen("127.0.0.1:0").expect("port 0 can always be listened on").run()
        });
        match result {
            Err(ServerError::Driver(told)) => assert_eq!(told.raw_os_error(), Some(error)),
            other => panic!("{error}: {other:?}"),
        }
    }
}

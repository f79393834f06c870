//! A server has no more connections than its process may open files, whoever made it.
//!
//! A file of its own, since it lowers the file limit of its process.

mod support;

use std::{thread, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Client, TestServer, config, drivers, script};
use wireloop::{Server, WhenFull};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn limit_files(files: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: files.or(maximum), maximum };
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be changed");
}

/// So many connections of a crowd are answered; the others wait, or are refused.
#[test]
fn a_limit_on_open_files_is_one_on_connections() {
    for (driver, when_full) in
        drivers().flat_map(|driver| [(driver, WhenFull::Wait), (driver, WhenFull::Refuse)])
    {
        let limits = config(|config| config.when_full = when_full);
        let server = Server::new(script(|_| {})).config(limits).workers(1).driver(driver);
        let server = server.listen("127.0.0.1:0").expect("a free port");
        limit_files(Some(200));
        let server = TestServer::run(server);
        // An eighth in reserve, 3 of the driver, one that listens.
        let possible = if when_full == WhenFull::Wait { 171 } else { 155 };
        server.connect().request(REQUEST);
        // The clients are files of this process, too.
        limit_files(None);
        thread::sleep(Duration::from_millis(100));
        let mut crowd: Vec<Client> = (0..possible + 1).map(|_| server.connect()).collect();
        let mut last = crowd.pop().expect("there are many");
        for client in &mut crowd {
            assert_eq!(client.request(REQUEST).status, 426, "{driver}");
        }
        if when_full == WhenFull::Wait {
            last.send_raw(REQUEST.as_bytes());
            last.expect_silence(Duration::from_millis(150));
            drop(crowd);
            assert_eq!(last.read_response().status, 426, "{driver}");
        } else {
            assert_eq!(last.request(REQUEST).status, 503, "{driver}");
        }
    }
}

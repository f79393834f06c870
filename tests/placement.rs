//! On which processors the workers of a server run.

mod support;

use std::collections::BTreeSet;

use support::{Binary, drivers};
use wireloop::{DriverKind, io::sys};

/// Starts a server and returns on which processors its workers may run.
fn processors(arguments: &[&str]) -> Vec<Vec<String>> {
    let start = |driver: DriverKind| {
        let driver = driver.to_string();
        let arguments = [&["--quiet", "--driver", &driver], arguments].concat();
        let server = Binary::start_at(([127, 0, 0, 1], 0).into(), &arguments);
        // All workers have been placed before the first one accepts.
        server.upgrade("/echo").close();
        server.processors_of_workers()
    };
    drivers().map(start).collect()
}

/// Every server with fewer workers than processors used to put the first one on the same processor.
#[test]
fn a_server_that_leaves_processors_to_others_is_not_pinned() {
    let all = sys::allowed_processors();
    if all.len() == 1 {
        return;
    }
    for workers in processors(&["--workers", "1"]) {
        assert_eq!(workers.len(), 1);
        assert!(!all.iter().any(|one| one.to_string() == workers[0]), "{workers:?}");
    }
}

#[test]
fn the_workers_of_a_server_that_is_pinned_have_a_processor_each() {
    let all = sys::allowed_processors();
    let count = all.len().min(4).to_string();
    for workers in processors(&["--pin", "on", "--workers", &count]) {
        let expected: BTreeSet<String> = all.iter().take(4).map(ToString::to_string).collect();
        assert_eq!(workers.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn a_server_that_is_not_to_be_pinned_is_not() {
    let all = sys::allowed_processors();
    if all.len() == 1 {
        return;
    }
    let count = all.len().to_string();
    for workers in processors(&["--pin", "off", "--workers", &count]) {
        assert_eq!(workers.len(), all.len());
        assert!(workers.windows(2).all(|pair| pair[0] == pair[1]), "{workers:?}");
    }
}

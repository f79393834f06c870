//! How much memory a server's connections may take.

use crate::{
    Config,
    conn::INBOX_BYTES_MAX,
    io::{cgroup, sys},
};

/// The budget of all workers, in bytes: [`Config::memory_bytes`].
pub(super) fn of_server(config: &Config) -> usize {
    config.memory_bytes.unwrap_or_else(|| quarter(granted()))
}

/// Divides the budget of a worker into that of its connections and that of its inbox, in bytes. A
/// quarter is left for the holes between blocks of memory: with glibc, messages of all lengths that
/// stayed incomplete took 1.4 times what was counted.
pub(super) fn divide(worker_bytes: usize) -> (usize, usize) {
    let inbox = (worker_bytes / 8).min(INBOX_BYTES_MAX);
    (worker_bytes / 8 * 5, inbox)
}

/// How much memory the process may have, in bytes: the least of what the machine has and what
/// limits allow.
fn granted() -> u64 {
    let limits = [cgroup::memory_limit(), sys::address_space_limit()];
    limits.into_iter().flatten().fold(sys::machine_memory(), u64::min)
}

fn quarter(bytes: u64) -> usize {
    usize::try_from(bytes / 4).unwrap_or(usize::MAX)
}

/// A budget as it is logged.
pub(super) fn text(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_quarter_of_what_is_granted() {
        let mut config = Config::default();
        let granted = granted();
        assert!(granted <= sys::machine_memory());
        assert_eq!(of_server(&config) as u64, granted / 4);
        config.memory_bytes = Some(1000);
        assert_eq!(of_server(&config), 1000);
    }

    #[test]
    fn an_inbox_has_an_eighth_but_no_more_than_it_needs() {
        assert_eq!(divide(8 << 20), (5 << 20, 1 << 20));
        assert_eq!(divide(8 << 30), (5 << 30, INBOX_BYTES_MAX));
    }
}

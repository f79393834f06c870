//! How many connections the limit on open files allows.

use super::refusing::REFUSALS;
use crate::{Config, config::WhenFull, io::sys};

/// Descriptors that are neither connections nor the workers': files being served, and what the rest
/// of the process has open. Under a low limit it is an eighth of it.
const RESERVED: usize = 64;

/// How many a worker takes for its driver: the queue of its events, its waker and its timer.
const OF_A_DRIVER: usize = 3;

/// Lowers the limit on connections to what the process's soft limit on open files allows, with so
/// many workers that have so many sockets to listen each.
pub(super) fn fit(mut config: Config, workers: usize, sockets: usize) -> Config {
    let limit = sys::file_limit();
    let of_workers = workers * (OF_A_DRIVER + sockets);
    let refusals = if config.when_full == WhenFull::Refuse { REFUSALS } else { 0 };
    let possible = possible(limit, RESERVED.min(limit / 8) + of_workers + refusals);
    let wanted = config.connections;
    if wanted > possible {
        config.connections = possible;
        if wanted != Config::default().connections {
            tracing::warn!(
                "{wanted} connections need a higher limit on open files than {limit}: {possible} \
                 are served; raise the hard limit (ulimit -Hn, LimitNOFILE)"
            );
        }
    }
    config
}

/// How many connections there can be with so many open files of which some are reserved. Under a
/// very low limit at least half of it is for connections.
fn possible(limit: usize, reserved: usize) -> usize {
    limit.saturating_sub(reserved).max(limit / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_what_else_needs_a_descriptor_but_not_under_a_very_low_limit() {
        assert_eq!(possible(20_000, 100), 19_900);
        assert_eq!(possible(128, 70), 64);
        assert_eq!(possible(50, 70), 25);
        assert_eq!(possible(0, 70), 1);
        assert_eq!(possible(usize::MAX, 70), usize::MAX - 70);
    }
}

//! What the server and the machine have done between two moments.

use std::time::Duration;

use super::{
    cost::{MachineTime, Spent, Times},
    probe::Probe,
};

/// What they have done until a moment.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    at: Duration,
    server: Option<Times>,
    machine: Option<MachineTime>,
}

/// What they have done between two moments, as far as anybody tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meanwhile {
    pub(crate) cpu: Option<Spent>,
    /// The share of the time in which one of the server's threads, the worst, waited for a
    /// processor.
    pub(crate) delayed: Option<f64>,
    /// The share of the machine's time that its host gave to others.
    pub(crate) stolen: Option<f64>,
}

impl Reading {
    /// What has been done `now`.
    pub(crate) fn take(server: &Probe, now: Duration) -> Self {
        Self { at: now, server: server.times(), machine: MachineTime::now() }
    }

    /// What has been done since then.
    pub(crate) fn since(&self, earlier: &Self) -> Meanwhile {
        let time = self.at.saturating_sub(earlier.at).as_secs_f64().max(1e-9);
        let server = self.server.as_ref().zip(earlier.server.as_ref());
        let delay = |(now, then): (&Times, &Times)| {
            let before = |id| then.threads.get(id).map(|thread| thread.delayed).unwrap_or_default();
            let delays = now.threads.iter();
            delays.map(|(id, thread)| thread.delayed.saturating_sub(before(id))).max()
        };
        Meanwhile {
            cpu: server.map(|(now, then)| now.since(then)),
            delayed: server.and_then(delay).map(|delay| delay.as_secs_f64() / time),
            stolen: self.machine.zip(earlier.machine).map(|(now, then)| now.stolen_since(then)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            cost::{CpuTime, Thread},
            ksoftirqd::Uncounted,
        },
        *,
    };

    fn reading(at: u64, delays: &[(u32, u64)]) -> Reading {
        let threads = delays.iter().map(|(id, millis)| {
            (*id, Thread { delayed: Duration::from_millis(*millis), ..Thread::default() })
        });
        let server = Times {
            cpu: CpuTime::default(),
            threads: threads.collect(),
            ksoftirqd: Err(Uncounted::Unreadable),
        };
        Reading { at: Duration::from_secs(at), server: Some(server), machine: None }
    }

    #[test]
    fn the_thread_that_waited_most_counts() {
        let earlier = reading(1, &[(1, 900), (2, 0), (4, 10)]);
        let later = reading(3, &[(1, 1000), (2, 500), (3, 100)]);
        assert_eq!(later.since(&earlier).delayed, Some(0.25));
        assert_eq!(reading(9, &[]).since(&earlier).delayed, None);
    }
}

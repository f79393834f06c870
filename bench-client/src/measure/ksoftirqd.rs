//! The CPU time of `ksoftirqd`, as far as it is the server's.
//!
//! The kernel leaves a part of the sending of large batches to the thread `ksoftirqd/N` of the
//! processor that sends, which is in no process's account. It works for whoever uses the processor,
//! so it counts as the server's only where the server is pinned.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// CPU time by processor.
pub(crate) type ByProcessor = BTreeMap<usize, Duration>;

/// Why the time of `ksoftirqd` is not part of the server's CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Uncounted {
    /// The server may run on all processors, so it is not known whose work it was.
    NotPinned,
    /// The kernel's threads, or what the server is pinned to, are not shown to this process.
    Unreadable,
    /// The server tells its CPU time by its metrics.
    Metrics,
}

impl Uncounted {
    /// In words, to follow "ksoftirqd is not counted: ".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::NotPinned => "the server may run on all processors, as others may",
            Self::Unreadable => "its time or the server's processors cannot be read",
            Self::Metrics => "the server's metrics do not have it",
        }
    }
}

/// The threads `ksoftirqd` of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Ksoftirqd {
    /// Where each has its times, by the processor it belongs to.
    files: BTreeMap<usize, PathBuf>,
}

impl Ksoftirqd {
    /// Looks for them below the place of `/proc`.
    pub(crate) fn find(proc: &Path) -> Self {
        let entries = fs::read_dir(proc).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let processor = name.trim_end().strip_prefix("ksoftirqd/")?.parse().ok()?;
            Some((processor, entry.path().join("schedstat")))
        });
        Self { files: files.collect() }
    }

    /// The CPU time of each so far; `None` if there are none to be seen, or one cannot be read.
    pub(crate) fn read(&self) -> Option<ByProcessor> {
        let times = self.files.iter().map(|(processor, file)| {
            let text = fs::read_to_string(file).ok()?;
            let nanos = text.split_whitespace().next()?.parse().ok()?;
            Some((*processor, Duration::from_nanos(nanos)))
        });
        times.collect::<Option<ByProcessor>>().filter(|times| !times.is_empty())
    }
}

/// What was spent between two readings for a server on these processors.
pub(crate) fn spent(
    now: &ByProcessor,
    earlier: &ByProcessor,
    processors: &BTreeSet<usize>,
) -> Result<Duration, Uncounted> {
    if now.keys().all(|processor| processors.contains(processor)) {
        return Err(Uncounted::NotPinned);
    }
    let used = processors.iter().map(|processor| {
        let (now, earlier) = (now.get(processor)?, earlier.get(processor)?);
        Some(now.saturating_sub(*earlier))
    });
    used.sum::<Option<_>>().ok_or(Uncounted::Unreadable)
}

/// The processors that a list of the kernel's has, such as `0-2,5`.
pub(crate) fn parse_list(text: &str) -> Option<BTreeSet<usize>> {
    let mut processors = BTreeSet::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        processors.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(proc: &Path, pid: u32, name: &str, nanos: u64) {
        let directory = proc.join(pid.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("comm"), format!("{name}\n")).unwrap();
        fs::write(directory.join("schedstat"), format!("{nanos} 5 6\n")).unwrap();
    }

    fn times<const N: usize>(nanos: [(usize, u64); N]) -> ByProcessor {
        nanos.map(|(processor, nanos)| (processor, Duration::from_nanos(nanos))).into()
    }

    #[test]
    fn the_threads_are_found_by_name_and_read_again() {
        let proc = tempfile::tempdir().unwrap();
        thread(proc.path(), 14, "ksoftirqd/0", 100);
        thread(proc.path(), 22, "ksoftirqd/11", 200);
        thread(proc.path(), 23, "kworker/0:1", 300);
        thread(proc.path(), 24, "ksoftirqd/x", 400);
        fs::create_dir(proc.path().join("sys")).unwrap();
        let threads = Ksoftirqd::find(proc.path());
        assert_eq!(threads.read(), Some(times([(0, 100), (11, 200)])));
        thread(proc.path(), 14, "ksoftirqd/0", 150);
        assert_eq!(threads.read(), Some(times([(0, 150), (11, 200)])));
        fs::remove_dir_all(proc.path().join("22")).unwrap();
        assert_eq!(threads.read(), None);
    }

    #[test]
    fn where_none_is_shown_nothing_is_read() {
        let proc = tempfile::tempdir().unwrap();
        thread(proc.path(), 1, "init", 1);
        assert_eq!(Ksoftirqd::find(proc.path()).read(), None);
        assert_eq!(Ksoftirqd::find(Path::new("/nowhere")).read(), None);
    }

    #[test]
    fn only_the_processors_of_a_pinned_server_count() {
        let (earlier, now) =
            (times([(0, 10), (1, 20), (2, 30)]), times([(0, 11), (1, 25), (2, 130)]));
        let spent =
            |processors: &[usize]| spent(&now, &earlier, &processors.iter().copied().collect());
        assert_eq!(spent(&[0]), Ok(Duration::from_nanos(1)));
        assert_eq!(spent(&[1, 2]), Ok(Duration::from_nanos(105)));
        assert_eq!(spent(&[]), Ok(Duration::ZERO));
        assert_eq!(spent(&[0, 1, 2]), Err(Uncounted::NotPinned));
        assert_eq!(spent(&[0, 1, 2, 3]), Err(Uncounted::NotPinned));
        assert_eq!(spent(&[3]), Err(Uncounted::Unreadable));
    }

    #[test]
    fn lists_of_processors_have_ranges() {
        assert_eq!(parse_list("0-2,5\n"), Some([0, 1, 2, 5].into()));
        assert_eq!(parse_list("7"), Some([7].into()));
        assert_eq!(parse_list(""), None);
        assert_eq!(parse_list("1-x"), None);
    }
}

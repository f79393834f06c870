//! The kernel's thread `ksoftirqd` of the servers' processor, which does a part of the sending of
//! large batches and is in no process's account.
//!
//! All servers are pinned to that processor and driven one at a time, so what the thread uses in a
//! slice is the server's whose slice it is.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The thread, if this process is shown it.
#[derive(Clone, Debug)]
pub(crate) struct Ksoftirqd {
    schedstat: Option<PathBuf>,
}

impl Ksoftirqd {
    /// That of a processor.
    pub(crate) fn of(processor: usize) -> Self {
        Self::find(Path::new("/proc"), processor)
    }

    fn find(proc: &Path, processor: usize) -> Self {
        let name = format!("ksoftirqd/{processor}");
        let mut threads = fs::read_dir(proc).into_iter().flatten().flatten();
        let thread = threads.find(|entry| {
            fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        });
        let found = Self { schedstat: thread.map(|entry| entry.path().join("schedstat")) };
        // One that cannot be read is as good as none.
        if found.read().is_some() { found } else { Self { schedstat: None } }
    }

    /// Whether it is counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.schedstat.is_some()
    }

    /// Its CPU time so far; zero if it is not counted.
    pub(crate) fn cpu(&self) -> Duration {
        self.read().unwrap_or_default()
    }

    fn read(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.schedstat.as_ref()?).ok()?;
        Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(proc: &Path, pid: u32, name: &str, schedstat: &str) {
        let directory = proc.join(pid.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("comm"), format!("{name}\n")).unwrap();
        fs::write(directory.join("schedstat"), schedstat).unwrap();
    }

    #[test]
    fn the_thread_of_the_processor_is_read() {
        let proc = std::env::temp_dir().join(format!("peers-ksoftirqd-{}", std::process::id()));
        thread(&proc, 14, "ksoftirqd/1", "100 7 8\n");
        thread(&proc, 22, "ksoftirqd/11", "200 7 8\n");
        thread(&proc, 30, "ksoftirqd/2", "\n");
        let found = Ksoftirqd::find(&proc, 1);
        assert!(found.is_counted());
        assert_eq!(found.cpu(), Duration::from_nanos(100));
        thread(&proc, 14, "ksoftirqd/1", "150 7 8\n");
        assert_eq!(found.cpu(), Duration::from_nanos(150));
        for missing in [0, 2] {
            let found = Ksoftirqd::find(&proc, missing);
            assert!(!found.is_counted());
            assert_eq!(found.cpu(), Duration::ZERO);
        }
        fs::remove_dir_all(&proc).unwrap();
    }
}

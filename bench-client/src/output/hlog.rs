//! A histogram for each second, group and kind of time, written while the run goes on, as
//! HdrHistogram's log tools read them: a run that is killed leaves what it has measured.

use std::{
    fmt,
    fs::File,
    io::{LineWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, Tag},
};

use super::files::complaint;
use crate::measure::{results::Moment, stats::Interval, times::Times};

/// The column of the greatest time is in milliseconds, as other programs write it; the histograms
/// are in nanoseconds.
const MAX_DIVISOR: f64 = 1e6;

const LEGEND: &str =
    "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"";

/// An open file and what encodes its histograms. The log borrows both.
pub(crate) struct LogFile {
    path: PathBuf,
    file: LineWriter<File>,
    serializer: V2DeflateSerializer,
}

/// A log that is being written.
pub(crate) struct Log<'f> {
    path: &'f Path,
    writer: IntervalLogWriter<'f, 'f, LineWriter<File>, V2DeflateSerializer>,
    /// For each group, those of its response and of its service times.
    tags: Vec<[String; 2]>,
    /// What went wrong, after which nothing more is written.
    error: Option<String>,
}

impl LogFile {
    /// Opens the file, which is empty after that.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| complaint(path, &error))?;
        let serializer = V2DeflateSerializer::new();
        Ok(Self { path: path.into(), file: LineWriter::new(file), serializer })
    }

    /// Begins the log of a run that begins now.
    pub(crate) fn begin(&mut self, names: &[String]) -> Result<Log<'_>, String> {
        let begun = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let Self { path, file, serializer } = self;
        let head = format!(
            "#[Logged with wireloop-bench {}]\n#[Histogram log format version 1.3]\n\
             #[StartTime: {:.3} (seconds since epoch)]\n{LEGEND}\n",
            env!("CARGO_PKG_VERSION"),
            begun.as_secs_f64(),
        );
        file.write_all(head.as_bytes()).map_err(|error| complaint(path, &error))?;
        let mut builder = IntervalLogWriterBuilder::new();
        let writer = builder.with_max_value_divisor(MAX_DIVISOR).begin_log_with(file, serializer);
        let writer = writer.map_err(|error| complaint(path, &error))?;
        let tags = names.iter().map(|name| ["response", "service"].map(|kind| tag(name, kind)));
        Ok(Log { path, writer, tags: tags.collect(), error: None })
    }
}

impl Log<'_> {
    /// Writes a second of each group.
    pub(crate) fn add(&mut self, moment: &Moment, groups: &[Interval]) {
        for (place, Interval { response, service, .. }) in groups.iter().enumerate() {
            for (kind, times) in [response, service].into_iter().enumerate() {
                let error = self.write(place, kind, times, moment.at, moment.length).err();
                self.error = self.error.take().or(error);
            }
        }
    }

    fn write(
        &mut self,
        group: usize,
        kind: usize,
        times: &Times,
        at: Duration,
        length: Duration,
    ) -> Result<(), String> {
        if times.count() == 0 || self.error.is_some() {
            return Ok(());
        }
        let tag = Tag::new(&self.tags[group][kind]);
        let written = self.writer.write_histogram(times.histogram(), at, length, tag);
        written.map_err(|error| complaint(self.path, &error))
    }

    /// Ends the log.
    pub(crate) fn finish(mut self, is_partial: bool) -> Result<(), String> {
        if is_partial && self.error.is_none() {
            let written = self.writer.write_comment(" The run was ended early.");
            self.error = written.err().map(|error| complaint(self.path, &error));
        }
        self.error.map_or(Ok(()), Err)
    }
}

impl fmt::Debug for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The tag of a kind of times: a word.
fn tag(group: &str, kind: &str) -> String {
    let group: String =
        group.chars().map(|c| if c == ',' || c.is_whitespace() { '_' } else { c }).collect();
    if group.is_empty() { kind.into() } else { format!("{group}.{kind}") }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::measure::results::Phase;

    #[test]
    fn each_second_and_group_has_its_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.hlog");
        let mut file = LogFile::open(&path).unwrap();
        let mut log = file.begin(&["a b".into(), "c".into()]).unwrap();
        let mut interval = Interval::default();
        interval.response.record(Duration::from_millis(7));
        let moment = Moment { length: Duration::from_secs(1), ..Moment::new(Phase::Measuring) };
        log.add(&moment, &[interval.clone(), Interval::default()]);
        log.add(&moment, &[Interval::default(), interval]);
        // It is all there already.
        let text = fs::read(&path).unwrap();
        log.finish(true).unwrap();
        let entries: Vec<_> = IntervalLogIterator::new(&text).map(Result::unwrap).collect();
        assert!(matches!(entries[0], LogEntry::StartTime(_)));
        let lines: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Interval(line) => Some((line.tag().unwrap().as_str(), line.max())),
                _ => None,
            })
            .collect();
        assert_eq!(lines, [("a_b.response", 7.0), ("c.response", 7.0)], "{text:?}");
    }
}

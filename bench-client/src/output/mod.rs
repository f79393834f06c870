//! How results are shown: the summary for people, and files for programs. All of them are views of
//! the same results.

pub(crate) mod arguments;
pub(crate) mod comparison;
mod details;
mod files;
mod hgrm;
mod hlog;
mod html;
pub(crate) mod live;
pub(crate) mod progress;
mod prometheus;
pub(crate) mod text;
mod trials;

use std::io::{self, Write};

use self::{
    arguments::{Format, OutputArguments},
    files::Target,
    hlog::{Log, LogFile},
    html::Report,
    live::View,
    progress::Progress,
    prometheus::Exporter,
    text::Summary,
};
use crate::{
    cli::RunArguments,
    decisions::Watch,
    measure::{
        results::{Moment, Results},
        stats::Interval,
    },
    plan::Outline,
    series::Sink,
};

/// Where results go. It is known to be possible before the run begins.
#[derive(Debug)]
pub(crate) struct Outputs {
    format: Format,
    json: Option<Target>,
    hgrm: Option<Target>,
    html: Option<Target>,
    log: Option<LogFile>,
    exporter: Option<Exporter>,
}

/// What is shown of a run while it goes on.
#[derive(Debug)]
pub(crate) struct Live<'o> {
    shown: Shown,
    watch: Watch,
    log: Option<Log<'o>>,
    exporter: Option<&'o Exporter>,
}

/// How a run is shown to people while it goes on.
#[derive(Debug)]
enum Shown {
    /// On the whole of a terminal.
    View(Box<View>),
    /// In lines.
    Progress(Progress),
}

impl Outputs {
    /// Makes sure that all that is asked for can be written.
    pub(crate) fn prepare(arguments: &OutputArguments) -> Result<Self, String> {
        let OutputArguments { format, json_file, html, hgrm, hlog, prometheus } = arguments;
        let target = |path: &Option<_>| path.as_deref().map(Target::prepare).transpose();
        Ok(Self {
            format: *format,
            json: target(json_file)?,
            hgrm: target(hgrm)?,
            html: target(html)?,
            log: hlog.as_deref().map(LogFile::open).transpose()?,
            exporter: prometheus.map(Exporter::start).transpose()?,
        })
    }

    /// Begins to show a run.
    pub(crate) fn begin(
        &mut self,
        run: &RunArguments,
        outline: &Outline,
    ) -> Result<Live<'_>, String> {
        let names = outline.names();
        if let Some(exporter) = &self.exporter {
            exporter.name(&names);
        }
        Ok(Live {
            exporter: self.exporter.as_ref(),
            log: self.log.as_mut().map(|file| file.begin(&names)).transpose()?,
            watch: Watch::new(&run.decisions, names),
            // Last, as nothing may be in the way of an error's line.
            shown: Shown::begin(run, outline),
        })
    }

    /// Writes the results.
    pub(crate) fn write(&self, results: &Results) -> Result<(), String> {
        let json = match (self.format, &self.json) {
            (Format::Text, None) => String::new(),
            _ => serde_json::to_string_pretty(results).map_err(|error| error.to_string())? + "\n",
        };
        let text = match self.format {
            Format::Text => format!("{}\n", Summary(results)),
            Format::Json => json.clone(),
        };
        // What is shown comes first: a full disk is no reason to lose it.
        let shown = io::stdout().write_all(text.as_bytes());
        let shown = shown.map_err(|error| format!("cannot write the results: {error}"));
        if let Some(target) = &self.json {
            target.write(json.as_bytes())?;
        }
        if let Some(target) = &self.hgrm {
            write_hgrm(target, results)?;
        }
        if let Some(target) = &self.html {
            target.write(Report(results).to_string().as_bytes())?;
        }
        shown
    }
}

/// Writes the response times of all; what else there is goes to files beside that.
fn write_hgrm(target: &Target, results: &Results) -> Result<(), String> {
    let total = results.total();
    let is_partial = results.outcome.is_partial();
    target.write(hgrm::write(&total.response, is_partial).as_bytes())?;
    if results.groups.iter().any(|group| group.offered.is_some()) {
        target.beside("service").write(hgrm::write(&total.service, is_partial).as_bytes())?;
    }
    if results.groups.len() > 1 {
        for (group, stats) in results.groups.iter().zip(&results.tally.groups) {
            let target = target.beside(&group.name);
            target.write(hgrm::write(&stats.response, is_partial).as_bytes())?;
        }
    }
    Ok(())
}

impl Shown {
    fn begin(run: &RunArguments, outline: &Outline) -> Self {
        let view = if run.quiet || run.no_tui { None } else { View::begin(outline) };
        match view {
            Some(view) => Self::View(Box::new(view)),
            None => Self::Progress(Progress::new(run.quiet)),
        }
    }
}

impl Live<'_> {
    /// Ends what is shown while a run goes on.
    pub(crate) fn finish(self, results: &Results) -> Result<(), String> {
        match self.shown {
            Shown::View(view) => drop(view),
            Shown::Progress(progress) => progress.finish(),
        }
        self.log.map_or(Ok(()), |log| log.finish(results.outcome.is_partial()))
    }
}

impl Sink for Live<'_> {
    fn moment(&mut self, moment: &Moment, groups: &[Interval]) {
        match &mut self.shown {
            Shown::View(view) => view.moment(moment, groups),
            Shown::Progress(progress) => progress.moment(moment, groups),
        }
        self.watch.add(moment, groups);
        if let Some(log) = &mut self.log {
            log.add(moment, groups);
        }
        if let Some(exporter) = self.exporter {
            exporter.add(moment, groups);
        }
    }

    fn has_seen_enough(&self) -> bool {
        self.watch.is_broken()
    }
}

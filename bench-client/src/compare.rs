//! `compare`: whether the results of runs that were made before differ from those of others.
//!
//! The samples are the seconds of the measurements, the units those of `statistics.rs`. The values
//! of the whole come from the histograms.

use std::{fs, io, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::{ArgAction, Args};
use rand::{SeedableRng, rngs::StdRng};
use serde::Serialize;
use serde_json::Value;

use crate::{
    BROKEN_THRESHOLD,
    measure::{
        results::{Moment, Phase, Results, SCHEMA, Summary},
        stats::Stats,
        times::{Bound, Times},
        verdict::Verdict,
    },
    output::{arguments::Format, comparison},
    statistics::{self, Centre, Mean, Ratio},
    units::percent,
};

/// With fewer seconds on a side nothing is said.
const SECONDS_MIN: usize = 10;

/// The resamples are the same each time, so that what is said of two files is.
const SEED: u64 = 1;

/// The name and the version of the JSON schema.
const COMPARISON_SCHEMA: &str = "wireloop-bench-compare/1";

/// What is compared.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit codes: 0 the files were compared, 99 the second side is worse and \
    --fail-on-regression was given, 1 a file could not be read, 2 a wrong argument.")]
pub(crate) struct CompareArguments {
    /// Tell these options
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Two files, or with --with those of the first side
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Files of the second side: several runs on each side see what changes from run to run
    #[arg(long, value_name = "FILE", num_args = 1..)]
    with: Vec<PathBuf>,

    /// What is written to the standard output: text or json
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        hide_possible_values = true
    )]
    format: Format,

    /// Exit with 99 if the second side is really worse
    #[arg(long)]
    fail_on_regression: bool,
}

/// How the runs of two sides compare.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    schema: &'static str,
    pub(crate) files: [Vec<String>; 2],
    /// The whole seconds of both sides.
    pub(crate) seconds: [usize; 2],
    pub(crate) rows: Vec<Row>,
    /// What it comes to, in words.
    pub(crate) conclusion: String,
    /// What to have in mind with it.
    pub(crate) notes: Vec<String>,
    is_worse: bool,
}

/// A figure of both sides.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) values: [Option<f64>; 2],
    /// The values may be too small, because messages were not answered.
    pub(crate) at_least: [bool; 2],
    /// The mean second of the second side by that of the first, if enough is known.
    pub(crate) change: Option<Ratio>,
    pub(crate) is_real: bool,
    pub(crate) is_worse: bool,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    PerSecond,
    Nanoseconds,
    Bytes,
    Percent,
    Number,
}

/// The runs of a side.
#[derive(Debug)]
struct Side {
    paths: Vec<String>,
    runs: Vec<Results>,
    total: Stats,
}

/// A figure: its value of a side, and its samples in each run.
struct Figure {
    name: &'static str,
    unit: Unit,
    is_better_high: bool,
    mean: Mean,
    value: fn(&Side) -> Option<(f64, bool)>,
    samples: fn(&Results) -> Vec<f64>,
}

/// Compares, and says what is found.
pub(crate) fn run(arguments: &CompareArguments) -> Result<ExitCode, String> {
    let (first, second) = match (&arguments.files[..], &arguments.with[..]) {
        ([first, second], []) => (std::slice::from_ref(first), std::slice::from_ref(second)),
        (_, []) => {
            return Err("give two files, or those of the second side after --with".into());
        }
        (first, second) => (first, second),
    };
    let comparison = Comparison::of(&[Side::read(first)?, Side::read(second)?]);
    let text = match arguments.format {
        Format::Text => comparison::Table(&comparison).to_string(),
        Format::Json => {
            serde_json::to_string_pretty(&comparison).map_err(|error| error.to_string())? + "\n"
        }
    };
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|error| format!("cannot write the comparison: {error}"))?;
    Ok(match comparison.is_worse && arguments.fail_on_regression {
        true => ExitCode::from(BROKEN_THRESHOLD),
        false => ExitCode::SUCCESS,
    })
}

impl Side {
    fn read(paths: &[PathBuf]) -> Result<Self, String> {
        let mut side = Self { paths: Vec::new(), runs: Vec::new(), total: Stats::default() };
        for path in paths {
            let path = path.display().to_string();
            let run = read(&path).map_err(|error| format!("{path} {error}"))?;
            if side.runs.iter().any(|other| other.begun_s == run.begun_s) {
                // It would look as if nothing changed from run to run.
                return Err(format!("{path} is of the same run as another file of its side"));
            }
            side.total.merge(&run.total());
            side.runs.push(run);
            side.paths.push(path);
        }
        Ok(side)
    }

    fn samples(&self, figure: &Figure) -> Vec<Vec<f64>> {
        self.runs.iter().map(figure.samples).collect()
    }

    fn seconds(&self) -> usize {
        self.runs.iter().map(|run| seconds(run).len()).sum()
    }
}

/// Reads results.
fn read(path: &str) -> Result<Results, String> {
    let text = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let is_none = || "is no result of wireloop-bench: give a file that --json has written";
    let value: Value = serde_json::from_slice(&text).map_err(|_| is_none())?;
    let schema = value["schema"].as_str().ok_or_else(is_none)?;
    if schema != SCHEMA {
        return Err(format!("has the schema {schema:?}, and only {SCHEMA} is known here"));
    }
    let results: Results =
        serde_json::from_value(value).map_err(|error| format!("is damaged: {error}"))?;
    let seconds = &results.series;
    if results.search.is_some() || results.versus.is_some() {
        return Err("is of a search or of two servers: give runs of one load".into());
    }
    if results.total().echoes == 0 || seconds.is_empty() {
        return Err("has no echoes: there is nothing to compare".into());
    }
    Ok(results)
}

/// The seconds that are of the measurement as a whole. A second counts as measured if most of it is:
/// the last one may be short of load, and so may the first one if none went before.
fn seconds(run: &Results) -> Vec<&Moment> {
    let is = |moment: &Moment, phase| moment.phase == phase;
    let mut seconds: Vec<_> =
        run.series.iter().filter(|moment| is(moment, Phase::Measuring)).collect();
    seconds.pop();
    if !run.series.iter().any(|moment| is(moment, Phase::WarmUp)) && !seconds.is_empty() {
        seconds.remove(0);
    }
    seconds.retain(|moment| moment.length == Duration::from_secs(1));
    seconds
}

/// The samples of a percentile, if each second has enough times above it.
fn times(run: &Results, share: f64, figure: fn(&Summary) -> u64) -> Vec<f64> {
    let seconds = seconds(run);
    let is_known = |moment: &Moment| moment.echoes as f64 * (1.0 - share) >= 10.0;
    let known = seconds.iter().filter(|moment| is_known(moment));
    let samples: Vec<_> =
        known.filter_map(|moment| moment.response.as_ref().map(figure)).map(|n| n as f64).collect();
    // To leave out the seconds with few echoes would be to leave out the bad ones.
    if samples.len() == seconds.len() { samples } else { Vec::new() }
}

/// A value that may be known only for a run as a whole.
fn single(value: Option<f64>) -> Vec<f64> {
    value.into_iter().collect()
}

fn nanos(bound: Option<Bound>) -> Option<(f64, bool)> {
    bound.map(|bound| (bound.time.as_nanos() as f64, !bound.is_exact))
}

fn opening(run: &Results, figure: fn(&Times) -> Option<Bound>) -> Vec<f64> {
    single(nanos(figure(&run.total().phases.opening)).map(|(time, _)| time))
}

/// All that is compared.
fn figures() -> Vec<Figure> {
    let share = |name, unit, is_better_high, value, samples| Figure {
        name,
        unit,
        is_better_high,
        mean: Mean::Arithmetic,
        value,
        samples,
    };
    let mut figures = vec![share("throughput", Unit::PerSecond, true, throughput, |run| {
        seconds(run).iter().map(|moment| moment.echoes as f64).collect()
    })];
    figures.extend(time_figures());
    figures.extend([
        share("server CPU", Unit::Nanoseconds, false, server_cpu, |run| {
            let seconds = seconds(run);
            let cost = |moment: &&Moment| Some(1e9 * moment.server_busy? / moment.echoes as f64);
            let costs: Vec<f64> = seconds.iter().filter_map(cost).collect();
            if costs.iter().all(|cost| cost.is_finite()) { costs } else { Vec::new() }
        }),
        share("memory", Unit::Bytes, false, memory, |run| {
            single(run.server.map(|server| server.bytes_per_connection))
        }),
        share("success", Unit::Percent, true, success, |run| {
            let seconds = seconds(run);
            let share = |moment: &&Moment| success_share(moment.echoes, moment.failures);
            seconds.iter().map(share).collect()
        }),
        // How many there were; whether they are more is what the share above says.
        share("errors", Unit::Number, false, errors, |_| Vec::new()),
    ]);
    figures
}

fn time_figures() -> [Figure; 7] {
    type Value = fn(&Side) -> Option<(f64, bool)>;
    let time = |name, value: Value, samples| Figure {
        name,
        unit: Unit::Nanoseconds,
        is_better_high: false,
        mean: Mean::Geometric,
        value,
        samples,
    };
    let p50: Value = |side| nanos(side.total.response.median());
    let p90: Value = |side| nanos(side.total.response.quantile(0.9));
    let p99: Value = |side| nanos(side.total.response.quantile(0.99));
    let p99_9: Value = |side| nanos(side.total.response.quantile(0.999));
    let max: Value = |side| nanos(Some(side.total.response.max()));
    let opening_p50: Value = |side| nanos(side.total.phases.opening.median());
    let opening_p99: Value = |side| nanos(side.total.phases.opening.quantile(0.99));
    [
        time("p50", p50, |run| times(run, 0.5, |second| second.p50_ns)),
        time("p90", p90, |run| times(run, 0.9, |second| second.p90_ns)),
        time("p99", p99, |run| times(run, 0.99, |second| second.p99_ns)),
        time("p99.9", p99_9, |run| times(run, 0.999, |second| second.p99_9_ns)),
        time("max", max, |run| times(run, 0.5, |second| second.max_ns)),
        time("opening p50", opening_p50, |run| opening(run, Times::median)),
        time("opening p99", opening_p99, |run| opening(run, |times| times.quantile(0.99))),
    ]
}

fn throughput(side: &Side) -> Option<(f64, bool)> {
    let length: Duration = side.runs.iter().map(|run| run.measured).sum();
    Some((side.total.echoes as f64 / length.as_secs_f64().max(1e-9), false))
}

fn server_cpu(side: &Side) -> Option<(f64, bool)> {
    let costs = side.runs.iter().map(|run| Some(run.server?.cpu));
    let cpu: Duration = costs.sum::<Option<_>>()?;
    Some((cpu.as_nanos() as f64 / side.total.echoes as f64, false))
}

fn memory(side: &Side) -> Option<(f64, bool)> {
    let bytes = side.runs.iter().map(|run| Some(run.server?.bytes_per_connection));
    let bytes: f64 = bytes.sum::<Option<_>>()?;
    Some((bytes / side.runs.len() as f64, false))
}

fn success(side: &Side) -> Option<(f64, bool)> {
    let share = success_share(side.total.echoes, side.total.failures.total());
    Some((100.0 * share, false))
}

fn errors(side: &Side) -> Option<(f64, bool)> {
    Some((side.total.failures.total() as f64, false))
}

/// The share of what went well. A second without anything has gone neither way.
fn success_share(echoes: u64, failures: u64) -> f64 {
    if failures == 0 { 1.0 } else { echoes.max(1) as f64 / (echoes + failures) as f64 }
}

impl Comparison {
    fn of(sides: &[Side; 2]) -> Self {
        let mut rng = StdRng::seed_from_u64(SEED);
        let seconds = [0, 1].map(|side| sides[side].seconds());
        let is_enough = seconds.iter().all(|seconds| *seconds >= SECONDS_MIN);
        let mut centres = |figure: &Figure| {
            let mut centre = |side: &Side| Centre::of(&side.samples(figure), figure.mean, &mut rng);
            is_enough.then(|| centre(&sides[0]).zip(centre(&sides[1]))).flatten()
        };
        let known: Vec<_> = figures()
            .into_iter()
            .map(|figure| {
                let centres = centres(&figure);
                (figure, centres)
            })
            .collect();
        let error = statistics::error(known.iter().filter(|(_, known)| known.is_some()).count());
        let rows: Vec<Row> = known
            .into_iter()
            .map(|(figure, centres)| {
                let change = centres.map(|(first, second)| first.compare(&second, error));
                Row::of(&figure, sides, change)
            })
            .collect();
        Self {
            schema: COMPARISON_SCHEMA,
            files: [0, 1].map(|side| sides[side].paths.clone()),
            seconds,
            conclusion: conclude(&rows, seconds, is_enough),
            notes: notes(sides),
            is_worse: rows.iter().any(|row| row.is_worse),
            rows,
        }
    }
}

impl Row {
    fn of(figure: &Figure, sides: &[Side; 2], change: Option<Ratio>) -> Self {
        let values = [0, 1].map(|side| (figure.value)(&sides[side]));
        let is_real = change.is_some_and(|change| change.is_real());
        Self {
            name: figure.name,
            unit: figure.unit,
            values: values.map(|value| value.map(|(value, _)| value)),
            at_least: values.map(|value| value.is_some_and(|(_, is_bound)| is_bound)),
            change,
            is_real,
            is_worse: is_real
                && change.is_some_and(|change| (change.ratio < 1.0) == figure.is_better_high),
        }
    }

    fn describe(&self) -> Option<String> {
        let Ratio { ratio, .. } = self.change?;
        let (change, word) = match ratio > 1.0 {
            true => (ratio - 1.0, "higher"),
            false => (1.0 - ratio, "lower"),
        };
        Some(format!("{} {} {word}", self.name, percent(change)))
    }

    /// What may be there without having been found.
    fn describe_most(&self) -> Option<String> {
        let Ratio { low, high, .. } = self.change?;
        Some(format!("{} by {}", self.name, percent((high - 1.0).max(1.0 - low))))
    }
}

/// Whether there is a difference, in a sentence or two.
fn conclude(rows: &[Row], seconds: [usize; 2], is_enough: bool) -> String {
    if !is_enough {
        return format!(
            "{} and {} whole seconds are too few to say anything: measure for 15s or more (-d).",
            seconds[0], seconds[1]
        );
    }
    let real = rows.iter().filter(|row| row.is_real);
    let real: Vec<String> = real.filter_map(Row::describe).collect();
    if real.is_empty() {
        let said = rows.iter().filter(|row| ["throughput", "p50", "p99"].contains(&row.name));
        let said: Vec<String> = said.filter_map(Row::describe_most).collect();
        return match said.is_empty() {
            true => "Too little is known to say anything.".into(),
            false => format!("No difference was found. There may be one of: {}.", said.join(", ")),
        };
    }
    let worse = rows.iter().filter(|row| row.is_worse).count();
    let judgement = match worse {
        0 => "All of that is better.",
        _ if worse == real.len() => "All of that is worse.",
        _ => "Some of that is better and some is worse.",
    };
    format!("The difference is real: the second side has {}. {judgement}", real.join(", "))
}

/// What to have in mind with a comparison.
fn notes(sides: &[Side; 2]) -> Vec<String> {
    let mut notes = Vec::new();
    for (path, run) in sides.iter().flat_map(|side| side.paths.iter().zip(&side.runs)) {
        if run.outcome.is_partial() {
            notes.push(format!("{path} is of a run that ended early"));
        }
        if run.verdict != Verdict::Valid {
            let reason = run.reasons.iter().max_by_key(|(verdict, _)| *verdict);
            let reason = reason.map_or_else(String::new, |(_, text)| format!(": {text}"));
            notes.push(format!("{path} is {}{reason}", run.verdict));
        }
        if run.total().response.unanswered().is_some() {
            notes.push(format!(
                "{path} has messages without an answer: they are in the values, and in no second"
            ));
        }
    }
    let mut runs = sides.iter().flat_map(|side| &side.runs);
    if let Some(first) = runs.next() {
        let load = |run: &Results| {
            let groups = run.groups.iter();
            let loads: Vec<_> =
                groups.map(|group| (group.name.clone(), group.load.clone())).collect();
            (loads, run.connections(), run.threads)
        };
        let machine =
            |run: &Results| (run.environment.processor.clone(), run.environment.kernel.clone());
        let others: Vec<_> = runs.collect();
        if others.iter().any(|run| load(run) != load(first)) {
            notes.push("not all runs have the same load: the difference may be that".into());
        }
        if others.iter().any(|run| machine(run) != machine(first)) {
            notes.push("not all runs are of the same machine: the difference may be that".into());
        }
    }
    if sides.iter().any(|side| side.runs.len() == 1) {
        notes.push(
            "a single run on a side cannot see what changes from run to run: give several with \
             --with"
                .into(),
        );
    }
    notes
}

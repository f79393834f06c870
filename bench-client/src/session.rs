//! A run from its plan to its results.

use std::{
    io,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rand::{SeedableRng, rngs::StdRng};
use signal_hook::{consts, iterator::Signals};
use wireloop::io::{Waker, sys};

use crate::{
    cli::Arguments,
    crew::{Crew, Observer},
    measure::{
        cost::{CpuTime, MachineTime, resident_bytes},
        results::{Environment, Outcome, Results, SCHEMA, ServerCost},
        stats::{Interval, Tally},
        verdict::Evidence,
    },
    plan::{End, GroupPlan, Plan, Trial},
    series::{Series, Sink},
    server::LocalServer,
    target::Target,
};

/// Descriptors that are not connections.
const RESERVED_FILES: u64 = 64;

/// How long the server is left alone before its memory is read.
const SETTLE_TIME: Duration = Duration::from_millis(200);

/// The exit code after a second signal, as a shell gives it for SIGINT.
const INTERRUPTED: i32 = 130;

/// A run that is about to begin.
#[derive(Debug)]
pub(crate) struct Session {
    plan: Arc<Plan>,
    /// The server, if this process has started it.
    local: Option<LocalServer>,
    /// The server's process, if it is on this machine and known.
    pid: Option<u32>,
}

/// What is seen of a run while it lasts.
struct View<'s, S> {
    plan: &'s Plan,
    series: Series,
    sink: &'s mut S,
    meter: Option<Meter>,
}

/// Reads what the server and the machine have done, at both ends of a trial's measurement.
struct Meter {
    trial: Trial,
    pid: Option<u32>,
    before: Option<(Option<CpuTime>, Option<MachineTime>)>,
    after: Option<(Option<CpuTime>, Option<MachineTime>)>,
}

impl Session {
    /// Makes sure that the run is possible, and starts a server if no other is named.
    pub(crate) fn prepare(arguments: Arguments) -> Result<Self, String> {
        let Arguments { run, group } = arguments;
        let limit = sys::raise_file_limit();
        let wanted = group.load.connections.get();
        if wanted as u64 > limit.saturating_sub(RESERVED_FILES) {
            return Err(format!(
                "{wanted} connections need a higher limit on open files than {limit}: \
                 raise it (ulimit -Hn) or use fewer with -c"
            ));
        }
        let local = match &group.url {
            Some(_) => None,
            None => Some(LocalServer::start(run.server_workers.get(), run.server_driver)?),
        };
        let url = local.as_ref().map(|server| server.url.clone()).or_else(|| group.url.clone());
        let target = Target::resolve(&url.unwrap_or_default(), &group.target)?;
        let pid = local.as_ref().map(LocalServer::pid).or(run.server_pid);
        let mut rng = run.seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        let groups = vec![GroupPlan::new(String::new(), group, target, 0, &mut rng)?];
        let plan = Plan { run, groups, epoch: Instant::now(), end: OnceLock::new() };
        Ok(Self { plan: Arc::new(plan), local, pid })
    }

    /// Makes the run, and shows each second of it to `sink`.
    pub(crate) fn run(mut self, sink: &mut impl Sink) -> Result<Results, String> {
        let begun = SystemTime::now();
        let plan = Arc::clone(&self.plan);
        let processors = self.client_processors();
        let mut crew = Crew::start(&plan, &processors).map_err(|e| format!("cannot run: {e}"))?;
        interrupt_on_signals(Arc::clone(&plan), crew.wakers())
            .map_err(|error| format!("cannot run: {error}"))?;
        let resident_before = self.pid.and_then(resident_bytes);
        let series = Series::new(plan.groups.len(), self.pid);
        let mut view = View { plan: &plan, series, sink, meter: None };
        let open = crew.open(&mut view)?;
        thread::sleep(SETTLE_TIME);
        let resident_open = self.pid.and_then(resident_bytes);

        let trial = Trial::new(plan.now(), &plan.run);
        let mut tally = Tally::default();
        if open > 0 && !plan.is_over() {
            view.series.begin(trial);
            view.meter = Some(Meter { trial, pid: self.pid, before: None, after: None });
            tally.merge(&crew.attempt(trial, &mut view)?);
        }
        let resident_loaded = self.pid.and_then(resident_bytes);
        tally.merge(&crew.finish(&mut view)?);
        for (group, stats) in plan.groups.iter().zip(&mut tally.groups) {
            group.target.resolving.iter().for_each(|time| stats.phases.dns.record(*time));
        }
        let View { series, sink, meter, .. } = view;
        let (cost, stolen) = meter.map_or((None, None), |meter| meter.read());
        let grown = resident_open.zip(resident_before);
        let server = cost.zip(grown).map(|(cpu, (open, before))| ServerCost {
            cpu: cpu.total,
            system: cpu.system.min(cpu.total),
            bytes_per_connection: open.saturating_sub(before) as f64 / self.connections() as f64,
            resident_bytes: resident_loaded.unwrap_or(open),
        });
        let complaint = self.local.take().and_then(|server| server.stop().err());
        let (from, until) = if open > 0 { plan.window(&trial) } else { Default::default() };
        let measured = until - from;
        let groups: Vec<_> = plan.groups.iter().map(|group| group.describe(&trial)).collect();
        let (verdict, reasons) = Evidence::new(&groups, &tally, measured, stolen).judge();
        Ok(Results {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            begun_s: begun.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64()),
            arguments: std::env::args().skip(1).collect(),
            environment: Environment {
                placement: self.placement(&processors),
                ..Environment::default()
            },
            measured,
            threads: plan.threads(),
            processes: 1,
            groups,
            tally,
            series: series.finish(plan.now(), sink),
            server,
            stolen,
            verdict,
            reasons,
            thresholds: Vec::new(),
            outcome: self.outcome(&trial, complaint),
        })
    }

    fn outcome(&self, trial: &Trial, complaint: Option<String>) -> Outcome {
        let end = self.plan.end.get();
        let is = |why| end.is_some_and(|(_, end)| *end == why);
        let failed_after = end
            .filter(|_| is(End::Failed))
            .map(|(moment, _)| moment.saturating_sub(trial.start).as_nanos() as u64);
        Outcome {
            was_interrupted: is(End::Interrupted),
            was_aborted: is(End::Aborted),
            failed_after_ns: failed_after,
            complaint,
        }
    }

    fn connections(&self) -> usize {
        self.plan.groups.iter().map(|group| group.arguments.load.connections.get()).sum()
    }

    /// The processors of the threads: those that the server's workers leave. None if there are too
    /// few, and then nobody is pinned.
    fn client_processors(&self) -> Vec<usize> {
        let workers = self.plan.run.server_workers.get();
        let mut processors = sys::allowed_processors();
        let threads = self.plan.threads();
        if self.local.is_none() || processors.len() < workers + threads {
            return Vec::new();
        }
        processors.drain(..workers);
        processors.truncate(threads);
        processors
    }

    fn placement(&self, processors: &[usize]) -> String {
        let client = match processors {
            [] => "client not pinned".into(),
            processors => format!("client on processor {}", list(processors)),
        };
        if self.pid.is_none() || self.plan.run.server_pid.is_some() {
            return client;
        }
        let workers = self.plan.run.server_workers.get();
        match sys::allowed_processors().get(..workers) {
            Some(own) => {
                let own = list(own);
                format!("server: wireloop, a process of its own, on processor {own}; {client}")
            }
            None => format!("server: wireloop, a process of its own, {workers} workers; {client}"),
        }
    }
}

impl<S: Sink> Observer for View<'_, S> {
    fn interval(&mut self, second: u64, groups: &[Interval]) {
        self.series.add(second, groups);
    }

    fn tick(&mut self) {
        let now = self.plan.now();
        self.series.show(now, self.sink);
        if let Some(meter) = &mut self.meter {
            let (from, until) = self.plan.window(&meter.trial);
            if now >= from && meter.before.is_none() {
                meter.before = Some(meter.look());
            }
            if now >= until && meter.after.is_none() {
                meter.after = Some(meter.look());
            }
        }
    }
}

impl Meter {
    fn look(&self) -> (Option<CpuTime>, Option<MachineTime>) {
        (self.pid.and_then(CpuTime::of), MachineTime::now())
    }

    /// What the server has used in the measurement, and what was stolen of the machine.
    fn read(self) -> (Option<CpuTime>, Option<f64>) {
        let Some((before, after)) = self.before.zip(self.after) else { return (None, None) };
        let cpu = after.0.zip(before.0).map(|(after, before)| after.since(before));
        let stolen = after.1.zip(before.1).map(|(after, before)| after.stolen_since(before));
        (cpu, stolen)
    }
}

fn list(processors: &[usize]) -> String {
    processors.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// The first signal ends the measurement, the second the process.
fn interrupt_on_signals(plan: Arc<Plan>, wakers: Vec<Waker>) -> io::Result<()> {
    let mut signals = Signals::new([consts::SIGINT, consts::SIGTERM])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if plan.is_over() {
                std::process::exit(INTERRUPTED);
            }
            plan.end(End::Interrupted);
            wakers.iter().for_each(Waker::wake);
        }
    });
    Ok(())
}

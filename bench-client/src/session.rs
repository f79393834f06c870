//! A run from its plan to its results.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use rand::{SeedableRng, rngs::StdRng};
use signal_hook::{consts, iterator::Signals};
use wireloop::io::sys;

use crate::{
    child::{self, Share},
    cli::GroupArguments,
    crew::{Crew, Observer},
    measure::{
        cost::{CpuTime, MachineTime, resident_bytes_of_all},
        environment::is_here,
        results::{Environment, Outcome, Results, SCHEMA, ServerCost},
        stats::{Interval, Tally},
        verdict::Evidence,
    },
    payload::is_named,
    plan::{End, GroupPlan, Plan, Trial},
    scenario::Scenario,
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
    /// The server's processes, as far as they are on this machine and known.
    pids: Vec<u32>,
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
    pids: Vec<u32>,
    before: Option<(Option<CpuTime>, Option<MachineTime>)>,
    after: Option<(Option<CpuTime>, Option<MachineTime>)>,
}

impl Session {
    /// Makes sure that the run is possible, and starts a server if a group names none.
    pub(crate) fn prepare(scenario: Scenario) -> Result<Self, String> {
        let Scenario { run, groups } = scenario;
        groups.iter().try_for_each(|(_, group)| check(group))?;
        let connections: usize = groups.iter().map(|(_, group)| group.load.connections.get()).sum();
        let room = sys::raise_file_limit().saturating_sub(RESERVED_FILES).max(1) as usize;
        let processes = match run.processes {
            None => connections.div_ceil(room),
            Some(processes) if connections <= room.saturating_mul(processes.get()) => {
                processes.get().min(connections)
            }
            Some(_) => {
                return Err(format!(
                    "{connections} connections need more than {room} files in each process: raise \
                     the limit (ulimit -Hn), or use fewer with -c, or more --processes"
                ));
            }
        };
        let needs_server = groups.iter().any(|(_, group)| group.url.is_none());
        let local = match &run.default_url {
            None if needs_server => {
                // The kernel does not deal the connections evenly.
                let servers = (connections + connections / 16).div_ceil(room);
                Some(LocalServer::start(servers, &run)?)
            }
            _ => None,
        };
        let own = local.as_ref().map(|server| format!("ws://{}", server.address));
        let default_url = own.or_else(|| run.default_url.clone());
        let mut pids: Vec<u32> = local.iter().flat_map(LocalServer::pids).collect();
        pids.extend(run.server_pid);
        let seed = run.seed.unwrap_or_else(rand::random);
        let mut plans: Vec<GroupPlan> = Vec::new();
        for (name, group) in groups {
            let path = if group.load.publishers.is_some() { "/broadcast" } else { "/echo" };
            let base = default_url.as_deref().unwrap_or_default();
            let url = group.url.clone().unwrap_or_else(|| format!("{base}{path}"));
            let target = Target::resolve(&url)?;
            let first = plans.last().map_or(0, |last| last.first + last.connections());
            let mut rng = StdRng::seed_from_u64(seed.wrapping_add(plans.len() as u64));
            plans.push(GroupPlan::new(name, group, target, first, &mut rng));
        }
        let plan = Plan { default_url, seed, ..Plan::new(run, plans, processes) };
        Ok(Self { plan: Arc::new(plan), local, pids })
    }

    /// Does a share of the work, as another process says.
    pub(crate) fn work(self, share: &Share) -> Result<(), String> {
        child::work(&self.plan, share)
    }

    /// The names of the groups.
    pub(crate) fn names(&self) -> Vec<String> {
        self.plan.groups.iter().map(|group| group.name.clone()).collect()
    }

    /// Makes the run, and shows each second of it to `sink`.
    pub(crate) fn run(mut self, sink: &mut impl Sink) -> Result<Results, String> {
        let begun = SystemTime::now();
        let plan = Arc::clone(&self.plan);
        let processors = self.client_processors();
        let placement = self.placement(&processors);
        let mut crew = Crew::start(&plan, &processors).map_err(|e| format!("cannot run: {e}"))?;
        interrupt_on_signals(Arc::clone(&plan)).map_err(|error| format!("cannot run: {error}"))?;
        let resident_before = resident_bytes_of_all(&self.pids);
        let series = Series::new(plan.groups.len(), self.pids.clone());
        let mut view = View { plan: &plan, series, sink, meter: None };
        let open = crew.open(&mut view)?;
        thread::sleep(SETTLE_TIME);
        let resident_open = resident_bytes_of_all(&self.pids);

        let trial = plan.trial(plan.now());
        let mut tally = Tally::default();
        let comes = plan.groups.iter().any(|group| group.arguments.load.sessions.is_some());
        let is_tried = (open > 0 || comes) && !plan.is_over();
        if is_tried {
            view.series.begin(trial);
            view.meter = Some(Meter { trial, pids: self.pids.clone(), before: None, after: None });
            tally.merge(&crew.attempt(trial, &mut view)?);
        }
        let resident_loaded = resident_bytes_of_all(&self.pids);
        tally.merge(&crew.finish(&mut view)?);
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
        let (from, until) = if is_tried { plan.window(&trial) } else { Default::default() };
        let measured = until - from;
        let groups: Vec<_> = plan.groups.iter().map(|group| group.describe(&trial)).collect();
        let (verdict, reasons) = Evidence::new(&groups, &tally, stolen).judge();
        Ok(Results {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            begun_s: begun.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64()),
            arguments: std::env::args().skip(1).collect(),
            environment: Environment {
                placement,
                same_host: plan.groups.iter().all(|group| is_here(group.target.address.ip())),
                ..Environment::observe()
            },
            measured,
            threads: plan.workers(),
            processes: plan.processes,
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
        self.plan.groups.iter().map(GroupPlan::connections).sum()
    }

    /// The processors of the threads: those that the server's workers leave. None if there are too
    /// few, and then nobody is pinned.
    fn client_processors(&self) -> Vec<usize> {
        let workers = self.plan.run.server_workers.get();
        let mut processors = sys::allowed_processors();
        let threads = self.plan.workers();
        if self.local.is_none() || self.plan.processes > 1 || processors.len() < workers + threads {
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
        let Some(server) = &self.local else { return client };
        let workers = self.plan.run.server_workers.get();
        match (server.pids().len(), sys::allowed_processors().get(..workers)) {
            (1, Some(own)) => {
                let own = list(own);
                format!("server: wireloop, a process of its own, on processor {own}; {client}")
            }
            (1, None) => {
                format!("server: wireloop, a process of its own, {workers} workers; {client}")
            }
            (count, _) => format!("server: wireloop, {count} processes of its own; {client}"),
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
        if self.sink.has_seen_enough() && !self.plan.is_over() {
            self.plan.end(End::Aborted);
        }
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
        (CpuTime::of_all(&self.pids), MachineTime::now())
    }

    /// What the server has used in the measurement, and what was stolen of the machine.
    fn read(self) -> (Option<CpuTime>, Option<f64>) {
        let Some((before, after)) = self.before.zip(self.after) else { return (None, None) };
        let cpu = after.0.zip(before.0).map(|(after, before)| after.since(before));
        let stolen = after.1.zip(before.1).map(|(after, before)| after.stolen_since(before));
        (cpu, stolen)
    }
}

/// Says what a group cannot do.
fn check(group: &GroupArguments) -> Result<(), String> {
    group.load.check()?;
    if group.load.publishers.is_some() && !is_named(group.payload.size) {
        return Err("publishers need room for the name of a message: give -s 16 or more".into());
    }
    Ok(())
}

fn list(processors: &[usize]) -> String {
    processors.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// The first signal ends the measurement, the second the process.
fn interrupt_on_signals(plan: Arc<Plan>) -> io::Result<()> {
    let mut signals = Signals::new([consts::SIGINT, consts::SIGTERM])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if plan.is_over() {
                std::process::exit(INTERRUPTED);
            }
            plan.end(End::Interrupted);
        }
    });
    Ok(())
}

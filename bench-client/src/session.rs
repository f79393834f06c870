//! A run from its plan to its results.

use std::{io, sync::Arc, thread, time::SystemTime};

use rand::{SeedableRng, rngs::StdRng};
use signal_hook::{consts, iterator::Signals};
use wireloop::{DriverKind, io::sys};

use crate::{
    child::{self, Share},
    cli::{GroupArguments, RunArguments},
    measure::{
        cost::Times,
        metrics::Metrics,
        owner::listeners,
        probe::Probe,
        results::{Environment, Outcome, Results, SCHEMA},
        verdict::Evidence,
    },
    output::live::screen,
    plan::{End, GroupPlan, Outline, Plan, Trial},
    preflight::{self, is_same_host},
    scenario::{Groups, Scenario},
    search, secrets,
    series::Sink,
    server::LocalServer,
    target::Target,
    trials::{Trials, Tried},
    versus,
};

/// Descriptors that are not connections.
const RESERVED_FILES: u64 = 64;

/// The exit code after a second signal, as a shell gives it for SIGINT.
const INTERRUPTED: i32 = 130;

/// A run that is about to begin.
#[derive(Debug)]
pub(crate) struct Session {
    plan: Arc<Plan>,
    /// The server, if this process has started it.
    local: Option<LocalServer>,
    /// What tells the server's cost.
    server: Probe,
    /// What is to be known about the machine.
    warnings: Vec<String>,
}

impl Session {
    /// Makes sure that the run is possible, and starts a server if a group names none.
    pub(crate) fn prepare(scenario: Scenario) -> Result<Self, String> {
        let Scenario { mut run, groups } = scenario;
        let on_epoll = choose_driver(&mut run)?;
        let groups = with_rival(groups, run.versus.as_deref());
        groups.iter().try_for_each(|(_, group)| group.load.check())?;
        let connections: usize = groups.iter().map(|(_, group)| group.load.connections.get()).sum();
        let room = sys::raise_file_limit().saturating_sub(RESERVED_FILES).max(1) as usize;
        let processes = processes(&run, connections, room)?;
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
        let seed = run.seed.unwrap_or_else(rand::random);
        let groups = plan_groups(groups, default_url.as_deref().unwrap_or_default(), seed)?;
        let server = probe(&run, local.as_ref(), &groups)?;
        let plan = Plan { default_url, seed, ..Plan::new(run, groups, processes) };
        let mut warnings = preflight::check(&plan, local.is_some())?;
        warnings.extend(on_epoll);
        if !plan.run.quiet {
            warnings.iter().for_each(|warning| eprintln!("wireloop-bench: note: {warning}"));
        }
        Ok(Self { plan: Arc::new(plan), local, server, warnings })
    }

    /// Does a share of the work, as another process says.
    pub(crate) fn work(self, share: &Share) -> Result<(), String> {
        child::work(&self.plan, share)
    }

    /// What is known of the run before it begins.
    pub(crate) fn outline(&self) -> Outline {
        self.plan.outline()
    }

    /// Makes the run, and shows each second of it to `sink`.
    pub(crate) fn run(mut self, sink: &mut impl Sink) -> Result<Results, String> {
        let begun = SystemTime::now();
        let plan = Arc::clone(&self.plan);
        let processors = self.client_processors();
        let environment = Environment {
            placement: self.placement(&processors),
            same_host: is_same_host(&plan),
            warnings: std::mem::take(&mut self.warnings),
            ..Environment::observe()
        };
        interrupt_on_signals(Arc::clone(&plan)).map_err(|error| format!("cannot run: {error}"))?;
        let mut trials = Trials::open(&plan, &processors, self.server.clone(), sink)?;
        let mut search = None;
        let mut versus = None;
        if trials.are_possible() {
            if !plan.run.find_max.is_empty() {
                search = Some(search::find(&mut trials)?);
            } else if plan.run.versus.is_some() {
                versus = Some(versus::compare(&mut trials, &self.rivals())?);
            } else {
                let trying = trials.attempt(plan.trial(plan.now()))?;
                trials.keep(trying);
            }
        }
        let Tried { trial, measured, mut tally, server, meanwhile, series } = trials.finish()?;
        for (group, stats) in plan.groups.iter().zip(&mut tally.groups) {
            group.target.resolving.iter().for_each(|time| stats.phases.dns.record(*time));
        }
        let complaint = self.local.take().and_then(|server| server.stop().err());
        let trial = trial.unwrap_or_else(|| plan.trial(plan.now()));
        let groups: Vec<_> = plan.groups.iter().map(|group| group.describe(&trial)).collect();
        let (verdict, reasons) = Evidence::new(&groups, &tally, meanwhile).judge();
        let given = std::env::args_os().skip(1);
        let given = given.map(|argument| argument.to_string_lossy().into_owned());
        Ok(Results {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            begun_s: begun.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64()),
            arguments: secrets::hide(given),
            environment,
            measured,
            threads: plan.workers(),
            driver: plan.run.driver.to_string(),
            processes: plan.processes,
            groups,
            tally,
            series,
            server,
            stolen: meanwhile.stolen,
            verdict,
            reasons,
            thresholds: Vec::new(),
            search,
            versus,
            outcome: self.outcome(&trial, complaint),
        })
    }

    /// What tells the cost of both servers of a comparison.
    fn rivals(&self) -> [Probe; 2] {
        [0, 1].map(|place| {
            let group = self.plan.groups.get(place).into_iter();
            Probe::Processes(group.flat_map(servers).collect())
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

/// Settles which driver the client runs on; a note if it is not the better one.
fn choose_driver(run: &mut RunArguments) -> Result<Option<String>, String> {
    let asked = run.driver;
    let (driver, why) = asked.choose().map_err(|error| {
        format!("io_uring is not available ({error}): choose --driver epoll, or auto")
    })?;
    run.driver = driver;
    let is_told = (asked, driver) == (DriverKind::Auto, DriverKind::Epoll) && run.child.is_none();
    Ok(is_told.then(|| format!("the client runs on epoll: {why}")))
}

/// The groups of a run; one server is compared with another by the same load on both.
fn with_rival(groups: Groups, versus: Option<&str>) -> Groups {
    match (versus, &groups[..]) {
        (Some(url), [(_, group)]) => {
            let other = GroupArguments { url: Some(url.into()), ..group.clone() };
            vec![("first".into(), group.clone()), ("second".into(), other)]
        }
        _ => groups,
    }
}

/// What each group is to do. One that names no server has its path at `base`.
fn plan_groups(groups: Groups, base: &str, seed: u64) -> Result<Vec<GroupPlan>, String> {
    let mut plans: Vec<GroupPlan> = Vec::new();
    for (name, group) in groups {
        let path = if group.load.publishers.is_some() { "/broadcast" } else { "/echo" };
        let url = group.url.clone().unwrap_or_else(|| format!("{base}{path}"));
        let target = Target::resolve(&url, &group.target)?;
        let first = plans.last().map_or(0, |last| last.first + last.connections());
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(plans.len() as u64));
        let plan = GroupPlan::new(name, group, target, first, &mut rng)?;
        if plan.arguments.load.publishers.is_some() && !plan.payloads.are_named() {
            return Err("publishers need room for the name of a message: give -s 16 or more".into());
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// What tells the server's cost: its metrics, or the kernel, of the process that was named, of our
/// own, or of those that listen. A process that does a share of the work looks at none.
fn probe(
    run: &RunArguments,
    local: Option<&LocalServer>,
    groups: &[GroupPlan],
) -> Result<Probe, String> {
    if run.child.is_some() {
        return Ok(Probe::nobody());
    }
    if let Some(pid) = run.server_pid {
        let found = Times::of(&[pid]).map(|_| Probe::Processes(vec![pid]));
        return found.ok_or_else(|| format!("there is no process {pid}: see --server-pid"));
    }
    if let Some(url) = &run.server_metrics {
        return Metrics::find(url).map(Probe::Metrics);
    }
    let mut pids: Vec<u32> = match local {
        Some(local) => local.pids(),
        None => groups.iter().flat_map(servers).collect(),
    };
    pids.sort_unstable();
    pids.dedup();
    Ok(Probe::Processes(pids))
}

/// How many processes it takes, of which each has `room` for connections.
fn processes(run: &RunArguments, connections: usize, room: usize) -> Result<usize, String> {
    match run.processes {
        None => Ok(connections.div_ceil(room)),
        Some(processes) if connections <= room.saturating_mul(processes.get()) => {
            Ok(processes.get().min(connections))
        }
        Some(_) => Err(format!(
            "{connections} connections need more than {room} files in each process: raise the \
             limit (ulimit -Hn), or use fewer with -c, or more --processes"
        )),
    }
}

/// The processes that a group's connections lead to, as far as they are on this machine.
fn servers(group: &GroupPlan) -> impl Iterator<Item = u32> {
    group.target.internet().flat_map(listeners)
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
                screen::leave();
                std::process::exit(INTERRUPTED);
            }
            plan.end(End::Interrupted);
        }
    });
    Ok(())
}

//! One case: all servers at once, one driven at a time, in random order.

use std::{iter, thread, time::Duration};

use crate::{
    cli::{Case, Plan, Slices},
    cost::Processes,
    figures::{Measured, Slice},
    ksoftirqd::Ksoftirqd,
    remote::Client,
    report::{CaseReport, OpenLoopReport, Row},
    servers::{Server, Spec},
};

/// Connections that are opened, and used, before memory is read for the first time: what a server
/// allocates once is not what a connection costs.
const FIRST_CONNECTIONS: u32 = 16;
const FIRST_SLICE: Duration = Duration::from_millis(50);

/// Fewer connections than this drown in what else a server allocates.
const COUNTED_CONNECTIONS_MIN: u32 = 100;

/// How long a server is left alone before its memory is read.
const REST: Duration = Duration::from_millis(300);

/// The order of each round is random, and the same in each run.
const SEED: u64 = 1;

/// A server with its client.
#[derive(Debug)]
struct Entrant {
    // The client goes first, and with it all connections: a server without any ends sooner.
    client: Client,
    server: Server,
    /// Known once all connections are open.
    processes: Processes,
    name: String,
    command: String,
    is_baseline: bool,
    is_control: bool,
    resident_bytes_per_connection: Option<f64>,
}

/// Measures one case.
pub(crate) fn case(plan: &Plan, case: Case) -> Result<CaseReport, String> {
    eprintln!("peers: {}", case.title());
    let mut entrants = enter(plan, case)?;
    for entrant in &mut entrants {
        entrant.client.closed_loop(plan.warmup).map_err(|error| entrant.blame(&error))?;
    }
    let ksoftirqd = Ksoftirqd::of(plan.server_core);
    let closed =
        rounds(&mut entrants, &ksoftirqd, plan.slices, |client, slice| client.closed_loop(slice))?;
    let baseline = entrants.iter().position(|entrant| entrant.is_baseline).unwrap_or(0);
    let open = match plan.open_loop {
        None => None,
        Some(open_loop) => {
            let share = f64::from(open_loop.percent) / 100.0;
            let rate = (closed[baseline].rate() * share).round() as u64;
            let slices = open_loop.slices;
            let measured = rounds(&mut entrants, &ksoftirqd, slices, |client, slice| {
                client.open_loop(rate, slice)
            })?;
            Some((OpenLoopReport { percent: open_loop.percent, rate, slices }, measured))
        }
    };
    let rows = entrants.iter().enumerate().map(|(index, entrant)| Row {
        name: entrant.name.clone(),
        command: entrant.command.clone(),
        is_baseline: entrant.is_baseline,
        is_control: entrant.is_control,
        resident_bytes_per_connection: entrant.resident_bytes_per_connection,
        closed_loop: closed[index].figures(&closed[baseline]),
        open_loop: open.as_ref().map(|(_, all)| all[index].figures(&all[baseline])),
    });
    Ok(CaseReport {
        title: case.title(),
        case,
        servers: rows.collect(),
        open_loop: open.map(|(report, _)| report),
        ksoftirqd_is_counted: ksoftirqd.is_counted(),
    })
}

/// Starts all servers, the baseline twice, and opens all connections.
fn enter(plan: &Plan, case: Case) -> Result<Vec<Entrant>, String> {
    let baseline = &plan.servers[plan.baseline];
    let control = Spec { name: format!("{} (control)", baseline.name), ..baseline.clone() };
    let mut entrants = Vec::new();
    for spec in plan.servers.iter().chain(iter::once(&control)) {
        let is_baseline = spec.name == baseline.name;
        let server = match Server::start(spec, plan.server_core) {
            Ok(server) => server,
            Err(error) if spec.is_optional && !is_baseline => {
                eprintln!("peers: left out: {error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut entrant = Entrant {
            client: Client::start(server.port, &spec.path, plan.client_core, case)?,
            processes: server.processes(),
            server,
            name: spec.name.clone(),
            command: spec.command.clone(),
            is_baseline,
            is_control: std::ptr::eq(spec, &raw const control),
            resident_bytes_per_connection: None,
        };
        entrant.open(case.connections).map_err(|error| entrant.blame(&error))?;
        entrants.push(entrant);
    }
    Ok(entrants)
}

/// Drives each of them once a round, and adds up.
fn rounds(
    entrants: &mut [Entrant],
    ksoftirqd: &Ksoftirqd,
    slices: Slices,
    drive: impl Fn(&mut Client, Duration) -> Result<crate::client::Outcome, String>,
) -> Result<Vec<Measured>, String> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut measured: Vec<Measured> = entrants.iter().map(|_| Measured::new()).collect();
    let before: Vec<_> = entrants.iter().map(|entrant| entrant.processes.ticks()).collect();
    for entrant in entrants.iter_mut() {
        // Those of the warm-up are not wanted.
        entrant.client.add_latencies(&mut crate::figures::histogram())?;
    }
    let mut order: Vec<usize> = (0..entrants.len()).collect();
    for _ in 0..slices.rounds {
        random.shuffle(&mut order);
        for &index in &order {
            let entrant = &mut entrants[index];
            let cpu_before = entrant.processes.settled_cpu(ksoftirqd);
            let outcome = drive(&mut entrant.client, slices.length);
            let outcome = outcome.map_err(|error| entrant.blame(&error))?;
            measured[index].slices.push(Slice {
                messages: outcome.messages,
                elapsed: outcome.elapsed,
                server_cpu: entrant.processes.settled_cpu(ksoftirqd).since(cpu_before),
                client_cpu: outcome.cpu,
            });
        }
    }
    for ((entrant, measured), before) in entrants.iter_mut().zip(&mut measured).zip(before) {
        measured.user_share = entrant.processes.ticks().user_share_since(before);
        entrant.client.add_latencies(&mut measured.latencies)?;
    }
    Ok(measured)
}

impl Entrant {
    /// Opens all connections, and finds out what they cost at rest.
    fn open(&mut self, connections: u32) -> Result<(), String> {
        let first = connections.min(FIRST_CONNECTIONS);
        self.client.open(first)?;
        self.client.closed_loop(FIRST_SLICE)?;
        thread::sleep(REST);
        let processes = self.server.processes();
        let before = processes.resident_bytes();
        self.client.open(connections - first)?;
        if connections - first >= COUNTED_CONNECTIONS_MIN {
            thread::sleep(REST);
            let grown = processes.resident_bytes() as f64 - before as f64;
            self.resident_bytes_per_connection = Some(grown / f64::from(connections - first));
        }
        self.processes = self.server.processes();
        Ok(())
    }

    fn blame(&self, error: &str) -> String {
        format!("{}: {error}", self.name)
    }
}

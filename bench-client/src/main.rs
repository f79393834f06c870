//! `wireloop-bench` measures the echo latency and the throughput of WebSocket servers.
//!
//! This file runs a measurement from its start to its report; `load.rs` is what its threads do.

mod autobahn;
mod cli;
mod compression;
mod connection;
mod cost;
mod health;
mod hold;
mod load;
mod pacer;
mod payload;
mod report;
mod run;
mod server;
mod stats;
mod target;
mod verdict;
mod window;

use std::{
    io,
    ops::Range,
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicUsize, mpsc},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use signal_hook::{consts, iterator::Signals};
use wireloop::{
    io::{Driver, Epoll, Waker, sys},
    ws::Kind,
};

use crate::{
    cli::Arguments,
    cost::{CpuTime, MachineTime, resident_bytes},
    load::Loader,
    payload::{Content, Payloads},
    report::{Progress, Report, ServerCost},
    run::{Plan, Schedule},
    server::LocalServer,
    stats::{Interval, Stats},
    target::Target,
    verdict::Verdict,
};

/// Descriptors that are not connections.
const RESERVED_FILES: u64 = 64;

/// How long the server is left alone before its memory is read.
const SETTLE_TIME: Duration = Duration::from_millis(200);

/// The exit code when all went well but the figures are not the server's.
const INVALID: u8 = 3;

/// The exit code after a second signal, as a shell gives it for SIGINT.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.serve {
        return match server::serve(arguments.server_workers.get(), arguments.server_driver) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        };
    }
    if arguments.autobahn {
        return match autobahn::run(arguments.url.as_deref().unwrap_or_default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        };
    }
    if arguments.hold {
        return match hold::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        };
    }
    match measure(arguments) {
        Ok(report) => {
            println!("{report}");
            match report.evidence().judge().0 {
                _ if !report.is_good() => ExitCode::FAILURE,
                Verdict::Invalid => ExitCode::from(INVALID),
                Verdict::Valid | Verdict::Suspect => ExitCode::SUCCESS,
            }
        }
        Err(error) => complain(&error),
    }
}

fn complain(error: &str) -> ExitCode {
    eprintln!("wireloop-bench: {error}");
    ExitCode::FAILURE
}

/// Runs a measurement, against a server of its own if no other is named.
fn measure(arguments: Arguments) -> Result<Report, String> {
    let limit = sys::raise_file_limit();
    let wanted = arguments.connections.get();
    if wanted as u64 > limit.saturating_sub(RESERVED_FILES) {
        return Err(format!(
            "{wanted} connections need a higher limit on open files than {limit}: \
             raise it (ulimit -Hn) or use fewer with -c"
        ));
    }
    let local = match &arguments.url {
        Some(_) => None,
        None => Some(LocalServer::start(arguments.server_workers.get(), arguments.server_driver)?),
    };
    let url = local.as_ref().map(|server| server.url.clone()).or_else(|| arguments.url.clone());
    let target = Target::resolve(&url.unwrap_or_default())?;
    let pid = local.as_ref().map(LocalServer::pid).or(arguments.server_pid);
    let plan = Arc::new(Plan {
        payloads: Payloads::new(arguments.size, arguments.content(), &mut rand::make_rng()),
        kind: if arguments.content() == Content::Bytes { Kind::Binary } else { Kind::Text },
        rate: arguments.rate,
        target,
        epoch: Instant::now(),
        schedule: OnceLock::new(),
        interrupted: OnceLock::new(),
        threads_left: AtomicUsize::new(arguments.threads.min(arguments.connections).get()),
        failed: OnceLock::new(),
        interval: Mutex::new(Interval::new()),
        arguments,
    });
    let mut report = run(&plan, pid, local.is_some())?;
    if let Some(server) = local
        && let Err(error) = server.stop()
    {
        report.complaint = Some(error);
    }
    Ok(report)
}

/// Runs the threads of a measurement and watches the server meanwhile.
fn run(plan: &Arc<Plan>, pid: Option<u32>, is_local: bool) -> Result<Report, String> {
    let failed = |error: io::Error| format!("cannot run: {error}");
    let shares = shares(plan.arguments.connections.get(), plan.arguments.threads.get());
    let drivers: Vec<_> =
        shares.iter().map(|_| Epoll::new()).collect::<io::Result<_>>().map_err(failed)?;
    let wakers: Vec<_> = drivers.iter().map(Driver::waker).collect();
    interrupt_on_signals(Arc::clone(plan), wakers.clone()).map_err(failed)?;
    let processors = client_processors(plan, is_local);
    let resident_before = pid.and_then(resident_bytes);
    let mut progress = Progress::new(plan.arguments.quiet);
    let (opened, all_opened) = mpsc::channel::<usize>();

    let (stats, server, stolen) = thread::scope(|scope| {
        let threads: Vec<_> = drivers
            .into_iter()
            .zip(shares)
            .enumerate()
            .map(|(number, (driver, share))| {
                let (opened, processor) = (opened.clone(), processors.get(number).copied());
                scope.spawn(move || {
                    if let Some(processor) = processor {
                        // Not vital: the report says what was intended.
                        let _ = sys::pin_thread(processor);
                    }
                    Loader::new(driver, plan, share).run(move |open| {
                        // Whoever waits for this waits until all senders are gone.
                        let _ = opened.send(open);
                    })
                })
            })
            .collect();
        drop(opened);
        let (server, stolen) =
            watch(plan, pid, resident_before, &all_opened, &wakers, &mut progress);
        let mut stats = Stats::new();
        for thread in threads {
            stats.merge(&thread.join().map_err(|_| "a thread panicked")?.map_err(failed)?);
        }
        Ok::<_, String>((stats, server, stolen))
    })?;

    progress.finish();
    let (from, until) = plan.window().unwrap_or_default();
    Ok(Report {
        arguments: plan.arguments.clone(),
        url: plan.target.url.clone(),
        placement: placement(plan, &processors, is_local),
        stats,
        measured: until - from,
        was_interrupted: plan.interrupted.get().is_some(),
        failed_after: plan.failed.get().map(|moment| moment.saturating_sub(plan.start())),
        server,
        stolen,
        complaint: None,
    })
}

/// Waits for the connections, sets the schedule, and reads at both ends of the measurement what the
/// server costs and what share of the machine was stolen.
fn watch(
    plan: &Plan,
    pid: Option<u32>,
    resident_before: Option<u64>,
    all_opened: &mpsc::Receiver<usize>,
    wakers: &[Waker],
    progress: &mut Progress,
) -> (Option<ServerCost>, Option<f64>) {
    let mut next_line = plan.now() + Duration::from_secs(1);
    let mut show = |phase: &str| {
        if plan.now() >= next_line
            && let Ok(mut interval) = plan.interval.lock()
        {
            next_line += Duration::from_secs(1);
            progress.write(phase, &std::mem::replace(&mut *interval, Interval::new()));
        }
    };
    let a_moment = Duration::from_millis(20);
    let mut open = 0;
    loop {
        match all_opened.recv_timeout(a_moment) {
            Ok(more) => open += more,
            Err(mpsc::RecvTimeoutError::Timeout) => show("connecting"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    thread::sleep(SETTLE_TIME);
    let resident_open = pid.and_then(resident_bytes);
    let start = plan.now();
    let schedule = match open {
        // There is nothing to measure.
        0 => Schedule { start, measure_from: start, measure_until: start },
        _ => Schedule::new(start, &plan.arguments),
    };
    plan.schedule.get_or_init(|| schedule);
    wakers.iter().for_each(Waker::wake);

    let mut wait_until = |phase: &str, end: fn(&Plan) -> Duration| {
        while plan.now() < end(plan) {
            thread::sleep(a_moment.min(end(plan).saturating_sub(plan.now())));
            show(phase);
        }
    };
    wait_until("warm-up", |plan| plan.window().unwrap_or_default().0);
    let cpu_before = pid.and_then(CpuTime::of);
    let machine_before = MachineTime::now();
    wait_until("measuring", |plan| plan.window().unwrap_or_default().1);
    let machine = MachineTime::now().zip(machine_before);
    let stolen = machine.map(|(after, before)| after.stolen_since(before));
    let cost = || {
        let cpu = pid.and_then(CpuTime::of)?.since(cpu_before?);
        let grown = resident_open?.saturating_sub(resident_before?);
        Some(ServerCost {
            cpu: cpu.total,
            system: cpu.system.min(cpu.total),
            bytes_per_connection: grown as f64 / plan.arguments.connections.get() as f64,
            resident_bytes: pid.and_then(resident_bytes)?,
        })
    };
    (cost(), stolen)
}

/// The connections, divided among the threads.
fn shares(connections: usize, threads: usize) -> Vec<Range<usize>> {
    let threads = threads.min(connections);
    let bound = |thread| connections * thread / threads;
    (0..threads).map(|thread| bound(thread)..bound(thread + 1)).collect()
}

/// The processors of the threads: those that the server's workers leave. None if there are too
/// few, and then nobody is pinned.
fn client_processors(plan: &Plan, is_local: bool) -> Vec<usize> {
    let taken = if is_local { plan.arguments.server_workers.get() } else { 0 };
    let processors: Vec<_> = sys::allowed_processors().into_iter().skip(taken).collect();
    let threads = plan.arguments.threads.get();
    if !is_local || processors.len() < threads { Vec::new() } else { processors[..threads].into() }
}

fn placement(plan: &Plan, processors: &[usize], is_local: bool) -> String {
    let client = match processors {
        [] => "client not pinned".into(),
        processors => format!("client on processor {}", list(processors)),
    };
    if !is_local {
        return client;
    }
    let workers = plan.arguments.server_workers.get();
    let all = sys::allowed_processors();
    match all.get(..workers) {
        Some(own) => {
            format!("server: wireloop, a process of its own, on processor {}; {client}", list(own))
        }
        None => format!("server: wireloop, a process of its own, {workers} workers; {client}"),
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
            if plan.interrupted.set(plan.now()).is_err() {
                std::process::exit(INTERRUPTED);
            }
            wakers.iter().for_each(Waker::wake);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn every_connection_has_one_thread() {
        for (connections, threads) in [(1, 1), (10, 3), (2, 5), (10_000, 7)] {
            let all: Vec<_> = shares(connections, threads).into_iter().flatten().collect();
            assert_eq!(all, (0..connections).collect::<Vec<_>>());
        }
    }
}

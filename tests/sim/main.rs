//! A worker on the simulated driver, under every fault that the driver knows, with peers that
//! check each byte they get back. A run follows from its seed.
//!
//! `WIRELOOP_SIM_SEED=n` replays one run; `WIRELOOP_SIM_SEEDS=n` makes another number of them.

mod client;
mod sessions;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use client::Client;
use fastrand::Rng;
use sessions::Ledger;
use wireloop::{
    Config,
    io::sim::{Faults, Sim},
    server::Worker,
};

/// How many runs a test makes.
const SEEDS: u64 = 1000;

/// More passes than any run needs.
const PASSES_MAX: usize = 100_000;

#[test]
fn nothing_is_lost_duplicated_reordered_or_foreign_without_faults() {
    for_each_seed(|seed| run(seed, Faults::default()));
}

#[test]
fn nothing_is_lost_duplicated_reordered_or_foreign_in_pieces_and_with_delays() {
    for_each_seed(|seed| {
        run(seed, Faults { dribble: 300, delay: 300, accept: 200, ..Faults::default() });
    });
}

#[test]
fn what_arrives_is_right_and_everything_ends_when_connections_are_reset() {
    for_each_seed(|seed| {
        run(seed, Faults { dribble: 200, delay: 200, reset: 3, accept: 200, slow: 0 });
    });
}

/// Turns are cut wherever they can be, passes end by their time, and what is left over goes on.
#[test]
fn nothing_is_lost_duplicated_or_reordered_when_turns_and_passes_are_cut() {
    for_each_seed(|seed| {
        let faults = Faults { dribble: 50, delay: 100, slow: 300, ..Faults::default() };
        run_with(seed, faults, [1, 2, 3, 40][seed as usize % 4]);
    });
}

fn for_each_seed(test: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("WIRELOOP_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WIRELOOP_SIM_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!("failed with WIRELOOP_SIM_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// One run: some peers, each with its script, until all have ended; then the server stops.
fn run(seed: u64, faults: Faults) {
    run_with(seed, faults, Config::default().turn_work);
}

/// One run with turns of so much work.
fn run_with(seed: u64, faults: Faults, turn_work: u32) {
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    let ledger = Arc::new(Ledger::default());
    let mut config = Config::default();
    config.turn_work = turn_work;
    config.frames.message_bytes = 1 << 20;
    config.ping_interval = Some(Duration::from_secs(rng.u64(1..40)));
    let routes = Arc::new(sessions::routes(&ledger));
    let sim = Sim::new(seed, faults);
    let mut worker = Worker::new(sim, routes, Arc::new(config), vec![()]).unwrap();
    let mut clients: Vec<_> = (0..rng.usize(1..6))
        .map(|number| Client::connect(worker.driver(), number, &mut rng))
        .collect();

    play(&mut worker, &mut clients, &ledger, &mut rng, |_, clients| {
        !clients.iter().all(Client::is_finished)
    });
    worker.stop();
    play(&mut worker, &mut clients, &ledger, &mut rng, |goes_on, _| goes_on);

    assert_eq!(worker.connections(), 0);
    for client in &clients {
        client.check_end(worker.driver());
    }
    drop(worker);
    ledger.check();
}

/// Passes and steps, as long as `goes_on` says of the worker and the clients. Time passes slowly
/// while something happens, and fast when all wait for it.
fn play(
    worker: &mut Worker<Sim>,
    clients: &mut [Client],
    ledger: &Ledger,
    rng: &mut Rng,
    goes_on: impl Fn(bool, &[Client]) -> bool,
) {
    let mut quiet_passes = 0;
    for _ in 0..PASSES_MAX {
        let before: Vec<_> = clients.iter().map(Client::progress).collect();
        let worker_goes_on = worker.pass().unwrap();
        for client in clients.iter_mut() {
            client.step(worker.driver(), ledger, rng);
        }
        if !goes_on(worker_goes_on, clients) {
            return;
        }
        let is_quiet = clients.iter().map(Client::progress).eq(before);
        quiet_passes = if is_quiet { quiet_passes + 1 } else { 0 };
        if quiet_passes > 30 {
            worker.driver().advance(Duration::from_secs(1));
            quiet_passes = 0;
        }
    }
    panic!("the run does not end: {clients:?}");
}

//! What the process does on signals.

use std::{fs, io, thread};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::Signals,
};
use wireloop::Stopper;

/// The exit code after a second signal, as a shell gives it for SIGINT.
const INTERRUPTED: i32 = 130;

/// From now on SIGINT, SIGTERM, SIGQUIT or SIGHUP stops the server in good order. Once it stops, one
/// of the first three ends the process at once; SIGHUP does not, since a supervisor may send it with
/// SIGTERM, and both a shell and the kernel when a terminal is closed. SIGUSR1 and SIGUSR2, which
/// would end the process, do nothing.
pub(crate) fn handle(stopper: Stopper) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2])?;
    // nohup(1) has the process ignore it, which a handler would undo.
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            match signal {
                SIGUSR1 | SIGUSR2 => tracing::debug!(signal, "a signal without a meaning"),
                SIGHUP if is_stopping => {}
                _ if is_stopping => std::process::exit(INTERRUPTED),
                _ => {
                    tracing::info!("stopping; a second signal exits at once");
                    stopper.stop();
                    is_stopping = true;
                }
            }
        }
    })?;
    Ok(())
}

/// Whether the process was started with the signal ignored: proc(5) has a mask of those, of which
/// signal 1 is the lowest bit.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

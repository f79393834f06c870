//! The first moments of a process: its processor, its file limit, and whom it shall not outlive.

use std::{os::unix::process::CommandExt, process::Command};

use rustix::{
    process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

/// Keeps the calling thread, and all that it starts from now on, on one processor.
pub(crate) fn pin(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    if core < CpuSet::MAX_CPU {
        set.set(core);
    }
    sched_setaffinity(None, &set).map_err(|error| {
        format!("cannot run on processor {core}: {error}; choose --server-core and --client-core")
    })
}

/// Lets this process open as many files as it may.
pub(crate) fn raise_file_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where that is not possible, opening too many connections says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Becomes a server; returns only if that fails.
///
/// It ends when the process that started it does, however that ends.
pub(crate) fn run(core: usize, command: &[String]) -> String {
    raise_file_limit();
    if let Err(error) = pin(core) {
        return error;
    }
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("cannot tie a server to this process: {error}");
    }
    let [program, arguments @ ..] = command else { return "no command to run".into() };
    let error = Command::new(program).args(arguments).exec();
    format!("cannot run {program}: {error}")
}

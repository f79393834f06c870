//! The real binary as a child process, for what only a process shows: signals, exit codes, limits
//! on descriptors, what it says and where.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::{Client, DEADLINE};

/// A server process. Dropping it kills it, should it still run.
#[derive(Debug)]
pub(crate) struct Binary {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    address: SocketAddr,
}

/// A command line of the binary.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireloop"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Binary {
    /// Starts a server on a free port with one worker.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = command(&["--listen", "127.0.0.1:0", "--workers", "1", "--quiet"]);
        command.args(arguments);
        Self::spawn(command)
    }

    /// The same with a log, which [`wait`](Self::wait) returns.
    #[track_caller]
    pub(crate) fn start_with_log(arguments: &[&str]) -> Self {
        let mut command = command(&["--listen", "127.0.0.1:0", "--workers", "1"]);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a server at this address with nothing but these arguments.
    #[track_caller]
    pub(crate) fn start_at(address: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = command(&["--listen", &address.to_string()]);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a server in which at most this many files may be open.
    #[track_caller]
    pub(crate) fn start_with_files(files: u32, arguments: &[&str]) -> Self {
        Self::start_after(&format!("ulimit -n {files}"), arguments)
    }

    /// Starts a server as nohup(1) does.
    #[track_caller]
    pub(crate) fn start_without_hangup(arguments: &[&str]) -> Self {
        Self::start_after("trap '' HUP", arguments)
    }

    /// Starts a server in the place of a shell that has run `setup`.
    #[track_caller]
    fn start_after(setup: &str, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{setup} && exec \"$0\" \"$@\""));
        shell.arg(env!("CARGO_BIN_EXE_wireloop"));
        shell.args(["--listen", "127.0.0.1:0", "--workers", "1"]).args(arguments);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(shell)
    }

    #[track_caller]
    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary is built");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line is due");
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("it does not say its address: {line:?}"));
        Self { child, stdout: Some(stdout), address }
    }

    /// Runs the binary to its end, which must come soon.
    #[track_caller]
    pub(crate) fn run(arguments: &[&str]) -> Output {
        let mut child = command(arguments).spawn().expect("the binary is built");
        // What it says fits into the pipes, so that nothing needs to be read meanwhile.
        wait(&mut child);
        child.wait_with_output().expect("it has ended")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    #[track_caller]
    pub(crate) fn upgrade(&self, path: &str) -> Client {
        let mut client = Client::connect(self.address);
        client.upgrade(path);
        client
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("not zero");
        kill_process(pid, signal).expect("it runs");
    }

    /// Lets it open no more than this many files from now on.
    #[track_caller]
    pub(crate) fn limit_files(&self, files: u64) {
        let pid = Pid::from_raw(self.child.id() as i32);
        let limit = Rlimit { current: Some(files), maximum: Some(files) };
        prlimit(pid, Resource::Nofile, limit).expect("a limit may be lowered");
    }

    /// Closes our end of the pipe that is its standard output.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Waits for its end; what it has said on stderr.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child);
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().expect("it is read once");
        stderr.read_to_string(&mut text).expect("stderr is text");
        (status, text)
    }

    /// How much processor time it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("proc(5)");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// How many files it has open, sockets among them.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// The processors on which each worker may run, as proc(5) writes lists of them.
    pub(crate) fn processors_of_workers(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let status = tasks.map(|task| {
            let path = task.expect("it runs").path().join("status");
            fs::read_to_string(path).expect("proc(5)")
        });
        let workers = status.filter(|status| status.starts_with("Name:\tworker "));
        let lists = workers.filter_map(|status| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).map(str::to_owned)
        });
        lists.collect()
    }

    /// Forgets how much memory it has used until now.
    pub(crate) fn reset_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("it is our child");
    }

    /// The most memory that it has used at a time, in bytes.
    pub(crate) fn peak_bytes(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc(5)");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    }

    /// How much processor time its threads have used, to the nanosecond.
    pub(crate) fn running_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let nanoseconds = tasks.map(|task| {
            let path = task.expect("it runs").path().join("schedstat");
            let schedstat = fs::read_to_string(path).expect("proc(5)");
            schedstat.split(' ').next().and_then(|running| running.parse::<u64>().ok())
        });
        Duration::from_nanos(nanoseconds.sum::<Option<u64>>().expect("a number"))
    }

    /// How much memory of its own it uses, in bytes: not the pages of its file that happen to be
    /// in memory. statm would be off by 32 pages for each CPU (`percpu_counter`, Linux 6.2).
    pub(crate) fn resident_bytes(&self) -> usize {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = fs::read_to_string(path).expect("it runs");
        let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("proc(5)");
        kib.parse::<usize>().expect("a number") << 10
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut stderr) = self.child.stderr.take().filter(|_| thread::panicking()) {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            eprintln!("the server has said: {text}");
        }
    }
}

/// Waits for the end of a process, or kills it at the deadline and fails.
#[track_caller]
fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().expect("it is our child");
            panic!("the process does not end");
        }
        // The standard library cannot wait for a process with a deadline.
        thread::sleep(Duration::from_millis(5));
    }
}

//! A client process, as its parent sees it: one line there, one line back, and no endless wait.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use hdrhistogram::Histogram;

use crate::{cli::Case, client::Outcome};

/// The client gives up on a stuck server before this; a slow one may need it to catch up.
const PATIENCE: Duration = Duration::from_secs(180);

/// The load on one server.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
}

impl Client {
    /// Starts a client that has no connections yet.
    pub(crate) fn start(port: u16, path: &str, core: usize, case: Case) -> Result<Self, String> {
        let failed = |error| format!("cannot start a client: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .arg("client")
            .args(["--port", &port.to_string(), "--path", path, "--core", &core.to_string()])
            .args(["--size", &case.size.to_string(), "--depth", &case.depth.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a client has no pipes".into());
        };
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Until there is nobody left to read them.
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
        });
        Ok(Self { child, stdin, answers })
    }

    /// Opens this many connections more.
    pub(crate) fn open(&mut self, count: u32) -> Result<(), String> {
        self.ask(&format!("open {count}")).map(drop)
    }

    /// A slice in closed loop.
    pub(crate) fn closed_loop(&mut self, slice: Duration) -> Result<Outcome, String> {
        let answer = self.ask(&format!("closed {}", slice.as_nanos()))?;
        outcome(&answer)
    }

    /// A slice at a fixed rate of messages per second.
    pub(crate) fn open_loop(&mut self, rate: u64, slice: Duration) -> Result<Outcome, String> {
        let answer = self.ask(&format!("scheduled {rate} {}", slice.as_nanos()))?;
        outcome(&answer)
    }

    /// Adds the round-trip times since the last call.
    pub(crate) fn add_latencies(&mut self, sum: &mut Histogram<u64>) -> Result<(), String> {
        for step in self.ask("latencies")?.split_whitespace() {
            let pair = step.split_once(':');
            let pair =
                pair.and_then(|(value, count)| Some((value.parse().ok()?, count.parse().ok()?)));
            let (value, count) = pair.ok_or_else(|| not_understood(step))?;
            sum.saturating_record_n(value, count);
        }
        Ok(())
    }

    fn ask(&mut self, line: &str) -> Result<String, String> {
        let gone = "the client has ended; see the line above";
        self.stdin.write_all(format!("{line}\n").as_bytes()).map_err(|_| gone)?;
        let answer = self.answers.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => "the server is stuck, or much too slow for this load",
            RecvTimeoutError::Disconnected => gone,
        })?;
        match answer.split_once(' ').unwrap_or((&answer, "")) {
            ("ok", rest) => Ok(rest.into()),
            ("error", why) => Err(why.into()),
            _ => Err(not_understood(&answer)),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn outcome(answer: &str) -> Result<Outcome, String> {
    let numbers: Option<Vec<u64>> = answer.split(' ').map(|word| word.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[0, ..]) => Err("no message came home in a slice: make slices longer".into()),
        Some(&[messages, elapsed, cpu]) => Ok(Outcome {
            messages,
            elapsed: Duration::from_nanos(elapsed),
            cpu: Duration::from_nanos(cpu),
        }),
        _ => Err(not_understood(answer)),
    }
}

fn not_understood(answer: &str) -> String {
    format!("the client says what it should not: {answer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_numbers_are_an_outcome() {
        let good = outcome("1000 2000 30").unwrap();
        assert_eq!((good.messages, good.elapsed.as_nanos(), good.cpu.as_nanos()), (1000, 2000, 30));
        for bad in ["", "0 1 2", "1 2", "1 2 3 4", "1 2 x", "1 2 -3"] {
            assert!(outcome(bad).is_err(), "{bad}");
        }
    }
}

//! Workers in another process, for more connections than one process may have files. It is told
//! what to do, and tells what it has found, in lines of JSON: the commands and events of `crew.rs`.

use std::{
    io::{self, BufRead, BufReader, Write},
    ops::Range,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command as Program, Stdio},
    str::FromStr,
    sync::{Arc, mpsc},
    thread,
};

use crate::{
    crew::{Command, Event, Team},
    plan::Plan,
};

/// Some workers of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) workers: Range<usize>,
    pub(crate) all: usize,
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (workers, all) = text.split_once('/')?;
            let (from, until) = workers.split_once('-')?;
            let workers = from.parse().ok()?..until.parse().ok()?;
            Some(Self { workers, all: all.parse().ok()? })
        };
        parse().ok_or("not a share such as 0-2/8")
    }
}

/// A process with workers.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
}

impl Process {
    /// Starts a process for some workers. What they tell goes to `events`, with their numbers.
    pub(crate) fn start(
        plan: &Plan,
        share: &Share,
        events: mpsc::Sender<(usize, Event)>,
    ) -> io::Result<Self> {
        let Range { start, end } = share.workers;
        let mut child = Program::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .args(["--child", &format!("{start}-{end}/{}", share.all)])
            .args(["--epoch", &plan.epoch_nanos().to_string()])
            .args(["--seed", &plan.seed.to_string()])
            .args(plan.default_url.iter().flat_map(|url| ["--default-url", url]))
            // A Ctrl-C at the terminal is told by the leader.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = input.zip(output).ok_or(io::ErrorKind::BrokenPipe)?;
        thread::Builder::new().name(format!("workers {start}")).spawn(move || {
            let mut left = end - start;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let told = match serde_json::from_str(&line) {
                    Ok((worker, event)) => (worker, event),
                    Err(error) => (start, Event::Broken(format!("a process tells {error}"))),
                };
                left -= usize::from(matches!(told.1, Event::Finished(_)));
                if events.send(told).is_err() || left == 0 {
                    return;
                }
            }
            // Without a leader there is nobody to complain to.
            let _ = events.send((start, Event::Broken("a process has ended too early".into())));
        })?;
        Ok(Self { child, input })
    }

    /// Tells it what to do.
    pub(crate) fn tell(&mut self, command: Command) {
        // A process that has ended is missed where its answer is awaited.
        let _ = write_line(&mut self.input, &command);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has told all has ended, or is about to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The life of such a process.
pub(crate) fn work(plan: &Arc<Plan>, share: &Share) -> Result<(), String> {
    let (sender, events) = mpsc::channel();
    let team = Team::start(plan, share, &[], &sender).map_err(|error| error.to_string())?;
    let count = share.workers.len();
    let team = Arc::new(team);
    let (listener, plan) = (Arc::clone(&team), Arc::clone(plan));
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Command::End(why)) => {
                    plan.end(why);
                    listener.wake();
                }
                Ok(command) => listener.tell(command),
                Err(_) => break,
            }
        }
        // Whoever leads is gone, or says nothing that makes sense.
        std::process::exit(1);
    });
    let mut output = io::stdout().lock();
    let mut left = count;
    while left > 0 {
        let Ok(told) = events.recv() else { break };
        left -= usize::from(matches!(told.1, Event::Finished(_) | Event::Broken(_)));
        write_line(&mut output, &told).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn write_line(output: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_some_workers_of_all() {
        assert_eq!("2-4/8".parse(), Ok(Share { workers: 2..4, all: 8 }));
        assert!("2-4".parse::<Share>().is_err());
    }
}

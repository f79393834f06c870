//! A client process: the load on one server.
//!
//! It does what its stdin says, a line each, and answers with a line on stdout:
//!
//! | line | meaning | answer |
//! |---|---|---|
//! | `open N` | open N more connections | `ok` |
//! | `closed NANOS` | a slice in closed loop | `ok MESSAGES NANOS CPU_NANOS` |
//! | `scheduled RATE NANOS` | a slice at RATE messages a second | the same |
//! | `latencies` | round trips since last asked | `ok NANOS:COUNT ...` |
//!
//! What fails is answered with `error WHY`. The end of stdin is its end.

mod connection;
mod echoes;
mod handshake;
mod load;
mod message;

use std::{
    fmt::Write as _,
    io::{BufRead, Write as _, stdin, stdout},
    time::Duration,
};

use crate::{cli::ClientOptions, launch};
use load::Load;

pub(crate) use load::Outcome;

/// Serves its parent until that has had enough.
pub(crate) fn run(options: &ClientOptions) -> Result<(), String> {
    launch::raise_file_limit();
    launch::pin(options.core)?;
    let mut load = Load::new(options)?;
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| format!("stdin: {error}"))?;
        let answer = match obey(&mut load, &line) {
            Ok(answer) => format!("ok{answer}\n"),
            Err(error) => format!("error {error}\n"),
        };
        let mut stdout = stdout().lock();
        if stdout.write_all(answer.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            break; // The parent has ended.
        }
    }
    Ok(())
}

fn obey(load: &mut Load, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["open", count] => load.open(number(count)? as usize).map(|()| String::new()),
        ["closed", nanos] => load.closed_loop(Duration::from_nanos(number(nanos)?)).map(answer),
        ["scheduled", rate, nanos] => {
            let slice = Duration::from_nanos(number(nanos)?);
            load.open_loop(number(rate)?, slice).map(answer)
        }
        ["latencies"] => {
            let mut text = String::new();
            for step in load.latencies.iter_recorded() {
                let _ = write!(text, " {}:{}", step.value_iterated_to(), step.count_at_value());
            }
            load.latencies.reset();
            Ok(text)
        }
        _ => Err(format!("no such command: {line}")),
    }
}

fn answer(outcome: Outcome) -> String {
    let Outcome { messages, elapsed, cpu } = outcome;
    format!(" {messages} {} {}", elapsed.as_nanos(), cpu.as_nanos())
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("not a number: {word}"))
}

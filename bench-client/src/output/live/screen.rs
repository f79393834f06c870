//! The terminal: taken for the time of a run, and given back on whatever way the run ends, also
//! where nothing is dropped.

use std::{
    io::{self, IsTerminal, Write},
    panic,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use ratatui::layout::Rect;
use rustix::termios::{
    self, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios,
};

/// The alternate screen, without a cursor and without wrapping.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";

/// All of that undone, and the colors too. What is not erased can come back in tmux, if the
/// terminal has grown meanwhile.
const LEAVE: &[u8] = b"\x1b[0m\x1b[2J\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What a terminal is taken for that does not tell its size.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// The terminal's settings before it was taken, for as long as it is.
static TAKEN: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether there is a terminal that can show a view, and somebody who looks at it.
pub(super) fn is_usable() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    // A job in the background would be stopped for touching the terminal.
    let is_ours =
        || termios::tcgetpgrp(io::stderr()).is_ok_and(|it| it == rustix::process::getpgrp());
    !is_dumb && io::stderr().is_terminal() && io::stdout().is_terminal() && is_ours()
}

/// The terminal's size now.
pub(super) fn area() -> Rect {
    let size = termios::tcgetwinsize(io::stderr()).map(|size| (size.ws_col, size.ws_row));
    let known = size.ok().filter(|(columns, rows)| *columns > 0 && *rows > 0);
    let (columns, rows) = known.unwrap_or(USUAL_SIZE);
    Rect::new(0, 0, columns, rows)
}

/// Takes the terminal.
pub(super) fn enter() -> io::Result<()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            next(info);
        }));
    });
    let mut taken = taken();
    let before = termios::tcgetattr(io::stderr())?;
    let mut settings = before.clone();
    // What is typed would stand among the figures; Ctrl-C stays a signal. A run that is stopped for
    // a while has no figures worth having, and would leave its screen behind.
    settings.local_modes.remove(LocalModes::ECHO);
    settings.special_codes[SpecialCodeIndex::VSUSP] = 0;
    termios::tcsetattr(io::stderr(), OptionalActions::Now, &settings)?;
    *taken = Some(before);
    io::stderr().write_all(ENTER)
}

/// Gives the terminal back, if it was taken: at the end of a run, before the process ends itself,
/// and before a panic is told.
pub(crate) fn leave() {
    if let Some(before) = taken().take() {
        // The terminal may be gone, and then there is nothing to give back.
        let _ = io::stderr().write_all(LEAVE);
        // What was typed meanwhile was not meant for the shell.
        let _ = termios::tcflush(io::stderr(), QueueSelector::IFlush);
        let _ = termios::tcsetattr(io::stderr(), OptionalActions::Now, &before);
    }
}

fn taken() -> MutexGuard<'static, Option<Termios>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects a drawing, and shows it as a whole for as long as the terminal is taken.
#[derive(Debug, Default)]
pub(super) struct Pen(Vec<u8>);

impl Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let drawing = std::mem::take(&mut self.0);
        match *taken() {
            Some(_) => io::stderr().write_all(&drawing),
            None => Ok(()),
        }
    }
}

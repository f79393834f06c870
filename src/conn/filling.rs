//! Long messages, which are received to where they are put together.

use super::{Connection, Incoming, State, Turn, active::Active, channel::Channel};
use crate::ws::{Input, ReadMode};

impl Connection {
    /// Whether what comes next is better received to where the message is put together.
    pub(crate) fn is_fillable(&self) -> bool {
        match &self.state {
            State::Active(active) => {
                let Active { link, receiver, .. } = active;
                let reads = link.wanted == Some(ReadMode::Message) && !link.sender.is_closed();
                reads && receiver.is_fillable()
            }
            State::Accepting(_) | State::Terminating(_) => false,
        }
    }

    /// Whether it is: the worker is to call [`fill`](Self::fill).
    pub(crate) fn is_filling(&self) -> bool {
        self.incoming == Incoming::Filling
    }

    /// Has bytes received to where the message is put together: `receive` appends up to so many to the
    /// memory that it is given, and returns how many, as this does. What follows from them is done now
    /// if the connection `runs`, or else when it is [resumed](Self::resume).
    pub(crate) fn fill(
        &mut self,
        mut cx: Turn<'_>,
        runs: bool,
        receive: impl FnOnce(&mut Vec<u8>, usize) -> usize,
    ) -> usize {
        let cx = &mut *cx;
        let State::Active(active) = &mut self.state else { return 0 };
        let filled = active.receiver.fill(&mut cx.workspace, receive);
        let bytes = *filled.as_ref().unwrap_or(&0);
        if let Err(error) = filled {
            let mut channel = Channel { link: &mut active.link, desk: &mut cx.desk };
            Active::fail(&mut active.receiver, &mut channel, error);
        }
        if bytes > 0 {
            self.arrived(bytes, cx.tick());
        }
        cx.desk.pace.charge(bytes);
        if runs {
            self.advance(&mut Input::new(&mut []), cx);
            self.measure_message(cx);
        }
        bytes
    }
}

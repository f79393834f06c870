//! The last frames of WebSockets, for which their peers do not wait: if many end together, they come
//! after what others ask for.

use std::collections::VecDeque;

use super::{
    Worker,
    turns::{AT_LEAST, AT_MOST},
};
use crate::io::{Driver, Outbox, SendState, Token};

/// WebSockets that have ended.
#[derive(Debug, Default)]
pub(super) struct Parting {
    /// Those whose last frames have yet to be sent.
    waiting: VecDeque<Token>,
    /// How many connections had last frames in this pass.
    count: usize,
}

impl Parting {
    pub(super) fn begin_pass(&mut self) {
        self.count = 0;
    }

    /// Whether nothing has yet to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Ends the output of the connection that was turned to: a few are sent with the batch, unless the
    /// time of the pass is over.
    #[inline(never)]
    pub(super) fn submit(&mut self, outbox: &mut Outbox, state: &mut SendState, is_over: bool) {
        if outbox.scope_bytes() == 0 {
            return;
        }
        self.count += 1;
        if !is_over && self.count <= AT_LEAST {
            outbox.submit(state);
        } else if outbox.postpone(state) {
            self.waiting.push_back(outbox.token());
        }
    }
}

impl<D: Driver> Worker<D> {
    /// Sends what has yet to be sent: of a few connections, as long as others send something.
    #[inline(never)]
    pub(super) fn send_last(&mut self, others_send: bool) {
        let most = if others_send { AT_LEAST } else { AT_MOST };
        self.repeat_up_to(most, |worker| {
            let token = worker.parting.waiting.pop_front()?;
            worker.sent(token, Ok(()));
            Some(())
        });
    }
}

//! What a connection sends and takes besides messages: pings, pongs and Closes.

use std::time::Duration;

use wireloop::ws::{CloseCode, CloseFrame};

use super::{Connection, PENDING_MAX, State};
use crate::{measure::failure::Failure, run::Run};

impl Connection {
    /// 5.5.3: a server that pings and does not read gets no more than the first answers.
    pub(super) fn answer(&self, payload: &[u8], run: &mut Run<'_>) {
        if run.outbox.queued_bytes() <= PENDING_MAX {
            let key = run.mask(self.group());
            // Refused after a Close, when no answer is due.
            let _ = self.sender.pong(run.outbox.buffer(), payload, key);
        }
    }

    /// A pong that answers one of the pings; others may come, and mean nothing (5.5.3).
    pub(super) fn take_pong(&self, payload: &[u8], now: Duration, run: &mut Run<'_>) {
        let Ok(sent) = payload.try_into().map(u64::from_be_bytes) else { return };
        let sent = Duration::from_nanos(sent);
        if sent <= now && run.measures(sent) {
            run.stats(self.group()).ping.record(now - sent);
        }
    }

    /// Sends a ping that says when it was sent.
    pub(crate) fn ping(&self, now: Duration, run: &mut Run<'_>) {
        if run.outbox.queued_bytes() <= PENDING_MAX {
            let payload = (now.as_nanos() as u64).to_be_bytes();
            let key = run.mask(self.group());
            // Refused only after a Close, and then the connection is not open.
            let _ = self.sender.ping(run.outbox.buffer(), &payload, key);
        }
    }

    pub(super) fn take_close(
        &mut self,
        frame: Option<CloseFrame<'_>>,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        let code = frame.map_or(CloseCode::NO_STATUS, |frame| frame.code);
        if matches!(self.state, State::Closing) {
            self.state = State::Closed;
            *run.stats(self.group()).closes.entry(code.0).or_default() += 1;
            return Ok(());
        }
        let key = run.mask(self.group());
        // This end has sent no Close yet, and the peer's code has been checked.
        let _ = self.sender.close(run.outbox.buffer(), frame, key);
        Err(Failure::ClosedByServer(code.0))
    }

    /// Starts the closing handshake.
    pub(crate) fn close(&mut self, run: &mut Run<'_>) {
        let code = run.group(self.group()).arguments.protocol.close_code;
        let frame = CloseFrame { code, reason: "" };
        let key = run.mask(self.group());
        if self.is_open() && self.sender.close(run.outbox.buffer(), Some(frame), key).is_ok() {
            self.state = State::Closing;
        }
    }
}

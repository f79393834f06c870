//! Connections whose owner receives by itself what the ring only reports.

use std::io;

use rustix::io::Errno;

use super::{
    Ring,
    socket::{Flow, Operation, Wants},
    sockets::{Done, Sockets},
};
use crate::io::{Token, sys};

impl Sockets {
    /// Polls in place of receiving. A receive that is armed is cancelled first.
    pub(super) fn watch(&mut self, token: Token, ring: &mut Ring) -> io::Result<()> {
        let Some(socket) = self.open(token) else { return Ok(()) };
        if matches!(socket.wants, Wants::Nothing | Wants::Bytes) {
            socket.wants = Wants::Readiness;
            socket.flow = Flow::Bulk;
        }
        if matches!(socket.operation, Operation::Receive | Operation::Queued) {
            socket.disarm(token, ring)?;
        }
        self.arm(token, ring)
    }

    /// Receives to the memory of the connection's owner.
    pub(super) fn receive_to(
        &mut self,
        token: Token,
        memory: &mut Vec<u8>,
        most: usize,
        ring: &mut Ring,
    ) -> io::Result<usize> {
        let Some(socket) = self.open(token) else { return Ok(0) };
        let end = match sys::receive_to(&socket.fd, memory, most) {
            Ok(0) => Ok(()),
            Ok(bytes) => {
                self.arm(token, ring)?;
                return Ok(bytes);
            }
            Err(Errno::AGAIN) => {
                self.arm(token, ring)?;
                return Ok(0);
            }
            Err(error) => Err(error.into()),
        };
        self.receive_ended(token, end);
        Ok(0)
    }

    /// Nothing more will come from the connection.
    pub(super) fn receive_ended(&mut self, token: Token, end: io::Result<()>) {
        if let Some(socket) = self.open(token)
            && socket.wants != Wants::Ended
        {
            socket.wants = Wants::Ended;
            self.done.push_back(Done::Ended(token, end));
        }
    }
}

//! What a connection does between connecting and its first frame: TLS, if it is secured, then the
//! opening handshake of RFC 6455. Each step is timed.

use std::{mem, time::Duration};

use wireloop::http::{ClientHandshake, ClientRequest, Established};

use crate::{measure::failure::Failure, plan::GroupPlan, run::Run};

/// What is under way until a connection is open.
#[derive(Debug)]
pub(crate) struct Opening {
    /// When the present step began.
    step: Duration,
    /// `None` within the handshake of TLS.
    handshake: Option<ClientHandshake>,
    /// What has arrived of the response.
    input: Vec<u8>,
}

impl Opening {
    /// The connection is made.
    pub(crate) fn new(now: Duration) -> Box<Self> {
        Box::new(Self { step: now, handshake: None, input: Vec::new() })
    }

    /// Whether the request has been sent.
    pub(crate) fn has_asked(&self) -> bool {
        self.handshake.is_some()
    }

    /// What the step that ends now has taken.
    pub(crate) fn step(&mut self, now: Duration) -> Duration {
        now.saturating_sub(mem::replace(&mut self.step, now))
    }

    /// Sends the request.
    pub(crate) fn ask(&mut self, plan: &GroupPlan, run: &mut Run<'_>) -> Result<(), Failure> {
        let protocol = &plan.arguments.protocol;
        let subprotocols: Vec<&str> = protocol.subprotocols.iter().map(String::as_str).collect();
        let request = ClientRequest {
            host: protocol.host.as_ref().unwrap_or(&plan.target.host),
            target: &plan.target.path,
            key: run.keys.handshake(),
            protocols: &subprotocols,
            deflate: protocol.compression.offer(),
            headers: &plan.headers,
        };
        self.handshake = Some(ClientHandshake::start(&request, run.outbox.buffer())?);
        Ok(())
    }

    /// Reads the response: what was agreed, and the frames that came with it.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Option<(Established, Vec<u8>)>, Failure> {
        let Some(handshake) = &mut self.handshake else { return Ok(None) };
        self.input.extend_from_slice(bytes);
        let Some(established) = handshake.read(&self.input)? else { return Ok(None) };
        let rest = self.input.split_off(established.consumed);
        Ok(Some((established, rest)))
    }
}

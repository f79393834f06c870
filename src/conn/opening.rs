//! A connection before its upgrade: requests, their responses, and the one that upgrades it.

use std::net::SocketAddr;

use ::http::{HeaderValue, Method, StatusCode, Version, header::RETRY_AFTER};

use super::{Answer, AnySession, Desk};
use crate::{
    config::HIGH_WATER_BYTES,
    http::{
        Body, DeflateParams, HeadOptions, HeadScanner, HeaderSlots, Request, RequestError,
        Response, Source, is_head_request,
    },
    ws::Input,
};

/// How much of a response's body is read at a time.
const BODY_CHUNK_BYTES: usize = 64 << 10;

/// A request costs about as much as so many bytes of messages.
const REQUEST_BYTES: usize = 64 << 10;

/// An HTTP connection.
#[derive(Debug)]
pub(super) struct Opening {
    peer: Option<SocketAddr>,
    scanner: HeadScanner,
    /// The start of a head that is not complete; while a response is being sent, also what
    /// follows it.
    kept: Kept,
    body: Option<Streaming>,
    /// The connection ends with the response that is being sent.
    is_last: bool,
    /// The request that is being handled is HEAD, though perhaps no valid one.
    is_head: bool,
    /// Whether it goes on when the peer has taken what was sent.
    is_held: bool,
    /// Whether a request was answered.
    has_answered: bool,
    /// Whether the first request is refused, since the server is full.
    is_refused: bool,
}

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first request head, or the rest of another one.
    Head,
    /// Another request.
    Idle,
    /// The peer is to take a response.
    Response,
}

/// Input that cannot be handled yet. Many small requests in it are taken one by one without
/// moving what follows them each time.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// How many bytes have been taken; `start <= bytes.len()`.
    start: usize,
}

/// The rest of a response's body.
struct Streaming {
    remaining: u64,
    source: Box<dyn Source>,
}

/// What has become of the connection.
pub(super) enum Opened {
    /// It waits for more input, or for its output to be taken.
    Waiting,
    /// Nothing more is to be received; it is closed when its output has been taken.
    Finished,
    /// A promised body could not be delivered: only a reset tells the peer (RFC 9112 section 8).
    Broken,
    /// It is a WebSocket now. The bytes were received after the handshake.
    Upgraded(Box<dyn AnySession>, Option<DeflateParams>, Vec<u8>),
}

/// What a request leads to.
enum Handled {
    Response(Response, After),
    Upgraded(Box<dyn AnySession>, Option<DeflateParams>),
}

/// How a response is sent.
struct After {
    with_body: bool,
    keep_alive: bool,
    http10: bool,
}

impl Opening {
    pub(super) fn new(peer: Option<SocketAddr>) -> Self {
        Self {
            peer,
            scanner: HeadScanner::default(),
            kept: Kept::default(),
            body: None,
            is_last: false,
            is_head: false,
            is_held: false,
            has_answered: false,
            is_refused: false,
        }
    }

    /// Refuses the first request.
    pub(super) fn refuse(&mut self) {
        self.is_refused = true;
    }

    /// Ends the connection with the response that is being sent.
    pub(super) fn end_after_response(&mut self) {
        self.is_last = true;
    }

    /// Whether a request was answered.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// How much memory this takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.kept.bytes.capacity()
    }

    /// Refuses the request that is arriving, because memory is short.
    pub(super) fn shed(&mut self, desk: &mut Desk) {
        if self.phase() == Phase::Head {
            self.respond(short_of_memory(), &self.at_last(), desk);
        }
    }

    /// What the connection waits for.
    pub(super) fn phase(&self) -> Phase {
        if self.is_held {
            Phase::Response
        } else if self.has_answered && self.kept.rest().is_empty() {
            Phase::Idle
        } else {
            Phase::Head
        }
    }

    /// Whether a response or further requests wait for the peer to take what was sent.
    pub(super) fn awaits_sent(&self) -> bool {
        self.is_held
    }

    /// Takes all the input: answers the requests that are complete, one after the other.
    pub(super) fn run(&mut self, input: &mut Input<'_>, desk: &mut Desk) -> Opened {
        self.is_held = false;
        loop {
            let pending = desk.outbox.queued_bytes() + desk.out_bytes();
            if self.continue_body(pending, desk.out()).is_err() {
                return Opened::Broken;
            }
            if self.is_last && self.body.is_none() {
                return Opened::Finished;
            }
            // Further requests wait until the peer has taken the answers to these.
            if self.body.is_some() || pending > HIGH_WATER_BYTES {
                self.keep(input);
                self.is_held = true;
                return Opened::Waiting;
            }
            let handled = match self.next_request(input, desk) {
                Ok(None) => return Opened::Waiting,
                Ok(Some(handled)) => handled,
                Err(error) => Handled::Response(Response::rejected(error), self.at_last()),
            };
            match handled {
                Handled::Response(response, after) => {
                    self.respond(response, &after, desk);
                    desk.pace.charge(REQUEST_BYTES);
                    if !desk.pace.spend() {
                        return Opened::Waiting;
                    }
                }
                Handled::Upgraded(session, deflate) => {
                    return Opened::Upgraded(session, deflate, self.kept.rest().to_vec());
                }
            }
        }
    }

    /// The application has panicked instead of answering.
    pub(super) fn panicked(&mut self, desk: &mut Desk) {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let response = Response::text(status, "The server met an unexpected condition.\n");
        self.respond(response, &self.at_last(), desk);
    }

    /// The answer to a request of which nothing is known but whether it is HEAD.
    fn at_last(&self) -> After {
        After { with_body: !self.is_head, keep_alive: false, http10: false }
    }

    /// Handles the next complete request, whether it lies in the input or among what was kept.
    fn next_request(
        &mut self,
        input: &mut Input<'_>,
        desk: &mut Desk,
    ) -> Result<Option<Handled>, RequestError> {
        let is_kept = !self.kept.rest().is_empty();
        if is_kept {
            self.keep(input);
        }
        let limits = &desk.shared.config.head;
        let bytes = if is_kept { self.kept.rest() } else { input.rest() };
        self.is_head = is_head_request(bytes);
        let Some(head) = self.scanner.scan(bytes, limits)? else {
            self.keep(input);
            return Ok(None);
        };
        self.scanner = HeadScanner::default();
        let head_bytes = head.len();
        let mut slots = HeaderSlots::new();
        let request = Request::parse(head, limits, &mut slots)?;
        let handled = if self.is_refused {
            Handled::Response(no_room(), self.at_last())
        } else {
            handle(request, self.peer, desk)
        };
        if is_kept {
            self.kept.take(head_bytes);
        } else {
            input.take(head_bytes);
        }
        Ok(Some(handled))
    }

    /// Sends a response, or as much of it as may wait.
    fn respond(&mut self, response: Response, after: &After, desk: &mut Desk) {
        let options = HeadOptions {
            keep_alive: after.keep_alive,
            http10: after.http10,
            date: desk.date.text(),
        };
        response.write_head(desk.outbox.buffer(), options);
        self.is_last |= !after.keep_alive;
        self.has_answered = true;
        match response.into_body() {
            _ if !after.with_body => {}
            Body::Empty => {}
            Body::Bytes(bytes) => desk.out().extend_from_slice(&bytes),
            Body::Stream { length, source } => {
                self.body = Some(Streaming { remaining: length, source });
            }
        }
    }

    /// Reads as much of the body as may wait to be sent.
    fn continue_body(&mut self, mut pending: usize, out: &mut Vec<u8>) -> Result<(), ()> {
        while let Some(body) = &mut self.body {
            if body.remaining == 0 {
                self.body = None;
                return Ok(());
            }
            if pending > HIGH_WATER_BYTES {
                return Ok(());
            }
            let start = out.len();
            let chunk = body.remaining.min(BODY_CHUNK_BYTES as u64) as usize;
            out.resize(start + chunk, 0);
            let read = body.source.read(&mut out[start..]).unwrap_or(0).min(chunk);
            out.truncate(start + read);
            if read == 0 {
                return Err(());
            }
            body.remaining -= read as u64;
            pending += read;
        }
        Ok(())
    }

    fn keep(&mut self, input: &mut Input<'_>) {
        self.kept.append(input.take(usize::MAX));
    }
}

impl Kept {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn take(&mut self, count: usize) {
        self.start += count;
        // A connection that waits for its next request has no buffer.
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.drain(..std::mem::take(&mut self.start));
            self.bytes.extend_from_slice(bytes);
        }
    }
}

/// The response to a request for which there is no memory.
fn short_of_memory() -> Response {
    unavailable("The server is overloaded: try again later.\n", "5")
}

/// The answer of a server that has as many connections as it may have.
fn no_room() -> Response {
    unavailable("The server has no room for more connections.\n", "1")
}

/// Status 503, which asks to try again after so many seconds.
fn unavailable(text: &'static str, seconds: &'static str) -> Response {
    Response::text(StatusCode::SERVICE_UNAVAILABLE, text)
        .header(RETRY_AFTER, HeaderValue::from_static(seconds))
}

/// Asks the application for its answer.
fn handle(request: Request<'_>, peer: Option<SocketAddr>, desk: &mut Desk) -> Handled {
    let after = After {
        with_body: *request.method() != Method::HEAD,
        // A body is not read, and what follows a refused upgrade may be frames: neither must be
        // taken for a request.
        keep_alive: request.keep_alive() && !request.framing().has_body() && !request.is_upgrade(),
        http10: request.version() < Version::HTTP_11,
    };
    if request.is_upgrade() && desk.memory.refuses_upgrade() {
        return Handled::Response(short_of_memory(), after);
    }
    let Desk { shared, outbox, .. } = desk;
    let compression = shared.config.compression.as_ref();
    match shared.application.answer(request, peer, compression, outbox.buffer()) {
        Answer::Respond(response) => Handled::Response(response, after),
        Answer::Upgraded(session, deflate) => Handled::Upgraded(session, deflate),
    }
}

impl std::fmt::Debug for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streaming").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

//! What is served where.

use std::{fmt, io, net::SocketAddr, ops::Deref};

use ::http::{Method, StatusCode};

use super::{Session, SessionCell, StaticFiles};
use crate::{
    config::Compression,
    conn::{Answer, AnySession, Application},
    http::{
        self, Accept, Accepted, DeflateParams, Hosts, Lookup, Origins, PatternError, Protocols,
        Refusal, Response, Router, Upgrade,
    },
};

/// A request, and whom it came from.
#[derive(Debug)]
pub struct Request<'a> {
    head: http::Request<'a>,
    peer: Option<SocketAddr>,
}

impl Request<'_> {
    /// The address of the peer, which may be that of a proxy.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

impl<'a> Deref for Request<'a> {
    type Target = http::Request<'a>;

    fn deref(&self) -> &http::Request<'a> {
        &self.head
    }
}

/// Answers requests: a function of the request, or [`StaticFiles`].
///
/// It runs on the worker and holds up all the worker's connections while it does.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request.
    fn respond(&self, request: &Request<'_>) -> Response;

    /// Checks, when the route is added, that it can be served.
    ///
    /// # Errors
    ///
    /// What stands in the way, such as a directory that is not there.
    fn open(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: Fn(&Request<'_>) -> Response + Send + Sync + 'static> Handler for F {
    fn respond(&self, request: &Request<'_>) -> Response {
        self(request)
    }
}

impl Handler for StaticFiles {
    fn respond(&self, request: &Request<'_>) -> Response {
        Self::respond(self, request)
    }

    fn open(&self) -> io::Result<()> {
        Self::open(self)
    }
}

type Produced = Result<(Accept, Box<dyn AnySession>), Refusal>;
type Producer = Box<dyn Fn(&Request<'_>, Protocols<'_>) -> Produced + Send + Sync>;

/// What a route leads to.
enum Route {
    Handler(Box<dyn Handler>),
    WebSocket(Producer),
}

/// The routes of a server, in any order.
///
/// A pattern is a path whose components may be literal (letters match in either case), `{name}`
/// (one component, to be had from the request by that name), `*` (one component) or, at the end,
/// `**` (any rest). Where several match, variables go before literals, literals before `*`, and
/// `*` before `**`.
///
/// `HEAD` is answered by the route for `GET`, `OPTIONS` by the server, another method than those
/// that a path has with 405.
#[derive(Default)]
pub struct Routes {
    router: Router<Route>,
    /// `None` until it is known where the server listens, and for all hosts.
    hosts: Option<Hosts>,
    /// The first mistake; the server reports it before it listens.
    mistake: Option<RoutesError>,
}

impl Routes {
    /// No routes: everything is 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers requests that name one of these hosts only; others get 403, whatever their path.
    ///
    /// Without this call, a server all of whose listeners have loopback addresses answers requests
    /// for [`Hosts::local`], which keeps out web pages that reach it under a name of their own (DNS
    /// rebinding), and another server answers all: that it listens on `0.0.0.0` says nothing about
    /// its names. [`Hosts::any`] turns the check off. A proxy on the same machine that passes on
    /// the Host header of its clients needs their names here.
    ///
    /// ```
    /// # use wireloop::{Routes, http::{Hosts, InvalidHost}};
    /// let routes = Routes::new().hosts(Hosts::only(["example.org", "localhost"])?);
    /// # Ok::<(), InvalidHost>(())
    /// ```
    #[must_use]
    pub fn hosts(self, hosts: Hosts) -> Self {
        Self { hosts: Some(hosts), ..self }
    }

    /// Answers `GET` and `HEAD`.
    pub fn get(self, pattern: &str, handler: impl Handler) -> Self {
        self.route(Method::GET, pattern, handler)
    }

    /// Answers any one method.
    pub fn route(mut self, method: Method, pattern: &str, handler: impl Handler) -> Self {
        if let Err(error) = handler.open() {
            self.mistake.get_or_insert_with(|| RoutesError::Open(pattern.into(), error));
        }
        self.add(method, pattern, Route::Handler(Box::new(handler)))
    }

    /// Upgrades to WebSocket. The producer looks at the request and at the subprotocols offered,
    /// and accepts with a session or refuses; it runs on the worker.
    ///
    /// Pages of all sites may connect. If cookies or the network they come from grant users
    /// anything, that is [`websocket_from`](Self::websocket_from)'s to prevent.
    pub fn websocket<S: Session>(
        self,
        pattern: &str,
        producer: impl Fn(&Request<'_>, Protocols<'_>) -> Result<Accepted<S>, Refusal>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.websocket_from(pattern, Origins::any(), producer)
    }

    /// Upgrades to WebSocket for pages of these origins; others get 403, and the producer is not
    /// asked (RFC 6455 sections 4.2.2 and 10.2).
    ///
    /// ```
    /// # use wireloop::{Echo, Routes, http::{InvalidOrigin, Origins}};
    /// # fn main() -> Result<(), InvalidOrigin> {
    /// let origins = Origins::only(["https://example.org", "http://localhost:8181"])?;
    /// let routes = Routes::new().websocket_from("/echo", origins, |_request, protocols| {
    ///     protocols.choose("echo").map(|accept| accept.session(Echo))
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn websocket_from<S: Session>(
        self,
        pattern: &str,
        origins: Origins,
        producer: impl Fn(&Request<'_>, Protocols<'_>) -> Result<Accepted<S>, Refusal>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let producer = move |request: &Request<'_>, protocols: Protocols<'_>| -> Produced {
            origins.check(request)?;
            let Accepted { accept, session } = producer(request, protocols)?;
            Ok((accept, Box::new(SessionCell::new(session))))
        };
        self.add(Method::GET, pattern, Route::WebSocket(Box::new(producer)))
    }

    /// The first mistake in the routes, if there is one.
    pub(crate) fn checked(mut self) -> Result<Self, RoutesError> {
        self.mistake.take().map_or(Ok(self), Err)
    }

    /// Chooses the default of [`hosts`](Self::hosts) for a server that listens on these addresses.
    pub(crate) fn listening_on(self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        let is_local = addresses.into_iter().all(is_loopback);
        let hosts = self.hosts.or_else(|| is_local.then(Hosts::local));
        Self { hosts, ..self }
    }

    fn add(mut self, method: Method, pattern: &str, route: Route) -> Self {
        if let Err(error) = self.router.add(Some(method), pattern, route) {
            self.mistake.get_or_insert_with(|| RoutesError::Pattern(pattern.into(), error));
        }
        self
    }
}

impl Application for Routes {
    fn answer<'a>(
        &'a self,
        mut head: http::Request<'a>,
        peer: Option<SocketAddr>,
        compression: Option<&Compression>,
        out: &mut Vec<u8>,
    ) -> Answer {
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.admits(&head)) {
            return Answer::Respond(Response::text(
                StatusCode::FORBIDDEN,
                "Requests that name this host are refused. Routes::hosts or --host can allow it.\n",
            ));
        }
        let path = head.path();
        match self.router.find(head.method(), path) {
            Lookup::NotFound => Answer::Respond(Response::text(
                StatusCode::NOT_FOUND,
                "There is nothing at this address.\n",
            )),
            Lookup::MethodNotAllowed { allow } => {
                Answer::Respond(Response::method_not_allowed(allow))
            }
            Lookup::Options { allow } => Answer::Respond(Response::options(allow)),
            Lookup::Found { value, variables } => {
                head.set_variables(variables);
                let request = Request { head, peer };
                match value {
                    Route::Handler(handler) => Answer::Respond(handler.respond(&request)),
                    Route::WebSocket(producer) => upgrade(&request, producer, compression, out),
                }
            }
        }
    }
}

/// Makes the opening handshake (RFC 6455 section 4.2), as far as the producer agrees.
fn upgrade(
    request: &Request<'_>,
    producer: &Producer,
    compression: Option<&Compression>,
    out: &mut Vec<u8>,
) -> Answer {
    let upgrade = match Upgrade::validate(request) {
        Ok(upgrade) => upgrade,
        Err(error) => return Answer::Respond(error.response()),
    };
    match producer(request, upgrade.protocols()) {
        Ok((accept, session)) => {
            let compression = compression.filter(|_| accept.is_compressible());
            let deflate = compression.and_then(|compression| {
                DeflateParams::negotiate(&upgrade.extensions(), &compression.policy())
            });
            upgrade.write_accept(&accept, deflate.as_ref(), out);
            Answer::Upgraded(session, deflate)
        }
        Err(refusal) => Answer::Respond(refusal.into_response()),
    }
}

/// Why routes cannot be served.
#[derive(Debug)]
pub enum RoutesError {
    /// The pattern of a route is not one.
    Pattern(String, PatternError),
    /// What a route serves cannot be opened.
    Open(String, io::Error),
}

impl fmt::Display for RoutesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern, error) => write!(f, "route {pattern}: {error}"),
            Self::Open(pattern, error) => write!(f, "route {pattern}: {error}"),
        }
    }
}

impl std::error::Error for RoutesError {}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("mistake", &self.mistake).finish_non_exhaustive()
    }
}

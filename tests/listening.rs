//! The addresses that a server listens on: both families of the internet, one port, and an address
//! that is in use.

mod support;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::Arc,
    thread,
};

use http::StatusCode;
use socket2::{Domain, Socket, Type};
use support::{Client, drivers, on_driver};
use wireloop::{Request, Routes, http::Response, io::Driver, server::Worker};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// The response is the client's own address.
fn peers() -> Routes {
    Routes::new().get("/", |request: &Request<'_>| {
        let peer = request.peer().map(|peer| peer.to_string());
        Response::text(StatusCode::OK, peer.unwrap_or_default())
    })
}

/// A socket that listens for both families, whatever `net.ipv6.bindv6only` says.
fn listen_for_both() -> TcpListener {
    let socket = Socket::new(Domain::IPV6, Type::STREAM.nonblocking(), None).expect("IPv6");
    socket.set_only_v6(false).expect("it is not bound yet");
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).expect("a free port");
    socket.listen(16).expect("it is bound");
    socket.into()
}

/// Serves one connection of `listener` with a worker that is driven by hand.
fn serve_one<D>(driver: impl FnOnce() -> io::Result<D>, listener: TcpListener)
where
    D: Driver<Listener = TcpListener, Stream = OwnedFd>,
{
    let driver = driver().expect("the driver is available");
    let mut worker = Worker::new(driver, Arc::new(peers()), Arc::default(), vec![listener])
        .expect("the listener can be watched");
    let mut was_connected = false;
    while !was_connected || worker.connections() > 0 {
        worker.pass().expect("the driver works");
        was_connected |= worker.connections() > 0;
    }
}

/// The kernel gives the address of an IPv4 peer of an IPv6 socket as ::ffff:127.0.0.1, which no
/// list of IPv4 addresses would match.
#[test]
fn a_peer_that_comes_by_ipv4_has_an_ipv4_address() {
    for kind in drivers() {
        let listener = listen_for_both();
        let port = listener.local_addr().expect("it is bound").port();
        thread::scope(|scope| {
            scope.spawn(move || on_driver!(kind, serve_one, listener));
            let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into());
            let own = client.socket().local_addr().expect("it is connected");
            assert_eq!(client.request(REQUEST).text(), own.to_string());
        });
    }
}

//! The addresses that a server listens on: both families of the internet, one port, and an address
//! that is in use.

mod support;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http::StatusCode;
use rustix::{io::Errno, process::Signal};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use socket2::{Domain, Socket, Type};
use support::{Binary, Client, TestServer, drivers, on_driver, without};
use wireloop::{
    DriverKind, Request, Routes, Server, ServerError, http::Response, io::Driver, server::Worker,
};

const LOCALHOST: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// The response is the client's own address.
fn peers() -> Routes {
    Routes::new().get("/", |request: &Request<'_>| {
        let peer = request.peer().map(|peer| peer.to_string());
        Response::text(StatusCode::OK, peer.unwrap_or_default())
    })
}

fn server(driver: DriverKind) -> Server {
    Server::new(peers()).workers(2).driver(driver)
}

/// Asserts that a server answers at these addresses, to peers of the same.
#[track_caller]
fn assert_serves(server: &TestServer, hosts: &[IpAddr]) {
    for &host in hosts {
        let mut client = Client::connect((host, server.address().port()).into());
        let own = client.socket().local_addr().expect("it is connected");
        assert_eq!(client.request(REQUEST).text(), own.to_string());
    }
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

#[test]
fn the_unspecified_ipv6_address_stands_for_both_families_on_one_port() {
    for driver in drivers() {
        let server = server(driver).listen("[::]:0").expect("a free port");
        let addresses: Vec<SocketAddr> = server.addresses().collect();
        assert!(matches!(addresses[..], [SocketAddr::V6(any)] if any.port() != 0), "{addresses:?}");
        assert_serves(&TestServer::run(server), &LOCALHOST);
    }
}

/// The usual pair of addresses used to be refused, since the first of them had both families.
#[test]
fn each_family_may_be_named_in_any_order() {
    for (first, second) in [("0.0.0.0", "[::]"), ("[::]", "0.0.0.0"), ("127.0.0.1", "[::1]")] {
        for driver in drivers() {
            let server = server(driver).listen(format!("{first}:0")).expect("a free port");
            let port = server.addresses().next().expect("it listens").port();
            let server = server.listen(format!("{second}:{port}")).expect("it does not collide");
            let addresses: Vec<String> = server.addresses().map(|a| a.to_string()).collect();
            assert_eq!(addresses, [first, second].map(|host| format!("{host}:{port}")));
            assert_serves(&TestServer::run(server), &LOCALHOST);
        }
    }
}

#[test]
fn an_address_that_is_named_twice_is_listened_on_once() {
    for driver in drivers() {
        let server = server(driver).listen("127.0.0.1:0").expect("a free port");
        let address = server.addresses().next().expect("it listens");
        let server = server.listen(address).expect("it is the server's own");
        assert_eq!(server.addresses().collect::<Vec<_>>(), [address]);
        assert_serves(&TestServer::run(server), &LOCALHOST[1..]);
    }
}

/// What fails on a machine without IPv6: socket(2), or bind(2) with an address of its length.
fn without_ipv6<T: Send>(call: i64, error: Errno, test: impl FnOnce() -> T + Send) -> T {
    let (argument, value) = match call {
        libc::SYS_socket => (0, libc::AF_INET6 as u64),
        _ => (2, size_of::<libc::sockaddr_in6>() as u64),
    };
    let is = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    let rule = SeccompRule::new(vec![is.expect("a condition")]).expect("a rule");
    without(call, vec![rule], error.raw_os_error(), test)
}

#[test]
fn a_machine_without_ipv6_is_served_by_ipv4() {
    let failures = [(libc::SYS_socket, Errno::AFNOSUPPORT), (libc::SYS_bind, Errno::ADDRNOTAVAIL)];
    for (call, error) in failures {
        for driver in drivers() {
            let listen = || server(driver).listen("[::]:0").expect("IPv4 is there");
            let server = without_ipv6(call, error, listen);
            let addresses: Vec<SocketAddr> = server.addresses().collect();
            assert!(matches!(addresses[..], [SocketAddr::V4(_)]), "{addresses:?}");
            assert_serves(&TestServer::run(server), &LOCALHOST[1..]);
        }
        // An address of IPv6 that is meant by itself has nothing to take its place.
        let listen = || server(DriverKind::Epoll).listen("[::1]:0").map(drop);
        match without_ipv6(call, error, listen) {
            Err(ServerError::Listen { address, .. }) => assert_eq!(address, "[::1]:0"),
            other => panic!("{other:?}"),
        }
    }
}

/// The kernel closes the sockets of an io_uring after its process has ended, and used to be overtaken
/// by the next start: "Address already in use".
#[test]
fn a_server_starts_at_once_when_another_was_killed() {
    for driver in drivers() {
        let arguments = ["--quiet", "--workers", "1", "--driver", &driver.to_string()];
        let mut server = Binary::start_at(([127, 0, 0, 1], 0).into(), &arguments);
        let address = server.address();
        for _ in 0..8 {
            let clients: Vec<Client> = (0..100).map(|_| server.upgrade("/echo")).collect();
            server.signal(Signal::KILL);
            server.wait();
            server = Binary::start_at(address, &arguments);
            drop(clients);
        }
    }
}

#[test]
fn an_address_that_stays_in_use_is_an_error_after_a_moment() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it is bound");
    let begun = Instant::now();
    match server(DriverKind::Auto).listen(address) {
        Err(ServerError::Listen { address: name, error }) => {
            assert_eq!(name, address.to_string());
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        other => panic!("{other:?}"),
    }
    let took = begun.elapsed();
    assert!(Duration::from_millis(250) <= took && took < Duration::from_secs(5), "{took:?}");
}

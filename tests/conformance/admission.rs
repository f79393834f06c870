//! Which web pages may reach the server, as the Origin and Host of their requests tell it: RFC 6455
//! sections 4.2.2 and 10.2, RFC 6454, DNS rebinding.

use wireloop::{
    Echo, Routes, Server,
    http::{Hosts, Origins},
};

use crate::{
    echo,
    files::get,
    handshake::{accepted, refused},
    support::{Binary, Client, TestServer, drivers, handshake, serve},
};

/// The line of [`handshake`] that names the host.
const HOST_LINE: &str = "Host: localhost\r\n";

fn guarded(origins: &Origins) -> Routes {
    Routes::new().websocket_from("/", origins.clone(), |_request, protocols| {
        Ok(protocols.none().session(Echo))
    })
}

#[test]
fn rfc6455_10_2_only_pages_of_listed_origins_are_admitted() {
    let origins = Origins::only(["https://good.com", "http://localhost:8181"]).expect("valid");
    let origin = |value: &str| handshake("/", &format!("Origin: {value}\r\n"));
    serve(
        || guarded(&origins),
        |server| {
            for good in [
                "https://good.com",
                "HTTPS://GOOD.COM",
                "https://good.com:443",
                "http://localhost:8181",
            ] {
                accepted(server, &origin(good));
            }
            for evil in [
                "null",
                "",
                "https://evil.com",
                "http://good.com",
                "https://good.com:8443",
                "https://good.com.evil",
                "https://evilgood.com",
                "https://sub.good.com",
                "https://good.com.",
                "https://good.com/",
                "https://good.com@evil.com",
                "https://good.com https://evil.com",
                "https://good.com, https://evil.com",
                "good.com",
                "http://localhost",
                "http://127.0.0.1:8181",
            ] {
                assert_eq!(refused(server, &origin(evil)), 403, "{evil}");
            }
            let twice = "Origin: https://good.com\r\nOrigin: https://good.com\r\n";
            assert_eq!(refused(server, &handshake("/", twice)), 403);
        },
    );
}

#[test]
fn rfc6455_4_2_2_a_client_without_origin_is_admitted_unless_the_list_requires_one() {
    let origins = Origins::only(["https://good.com"]).expect("valid");
    serve(|| guarded(&origins), |server| accepted(server, &handshake("/", "")));
    let required = origins.clone().required();
    serve(
        || guarded(&required),
        |server| {
            assert_eq!(refused(server, &handshake("/", "")), 403);
            accepted(server, &handshake("/", "Origin: https://good.com\r\n"));
        },
    );
    serve(echo, |server| accepted(server, &handshake("/", "Origin: null\r\n")));
}

/// RFC 6454 5, as far as a server behind a proxy that ends TLS can know it: the scheme is not
/// compared, and names the port where the Host header does not.
#[test]
fn rfc6454_5_the_same_host_is_the_same_name_and_port() {
    let at = |host: &str, origin: &str| {
        handshake("/", &format!("Origin: {origin}\r\n"))
            .replace(HOST_LINE, &format!("Host: {host}\r\n"))
    };
    serve(
        || guarded(&Origins::same_host()),
        |server| {
            accepted(server, &at("good.com", "http://good.com"));
            accepted(server, &at("good.com", "https://good.com"));
            accepted(server, &at("Good.com:8443", "https://good.COM:8443"));
            accepted(server, &handshake("/", ""));
            // RFC 9112 3.2.2: the target precedes the Host header.
            let absolute = at("other.com", "https://good.com");
            accepted(server, &absolute.replace("GET /", "GET https://good.com/"));
            for (host, origin) in [
                ("good.com", "https://evil.com"),
                ("good.com", "https://good.com.evil"),
                ("good.com", "https://good.com:8443"),
                ("good.com:80", "https://good.com"),
                ("good.com", "null"),
            ] {
                assert_eq!(refused(server, &at(host, origin)), 403, "{host} {origin}");
            }
        },
    );
}

/// The command line has the same list, and refuses what is no origin when it starts.
#[test]
fn the_binary_takes_origins() {
    let server =
        Binary::start(&["--origin", "https://good.com", "--origin", "http://localhost:8181"]);
    for (line, status) in [
        ("Origin: https://good.com\r\n", 101),
        ("Origin: http://localhost:8181\r\n", 101),
        ("Origin: https://evil.com\r\n", 403),
        ("", 101),
    ] {
        let mut client = Client::connect(server.address());
        assert_eq!(client.request(&handshake("/echo", line)).status, status, "{line}");
    }
    let same = Binary::start(&["--origin", "same", "--origin", "https://good.com"]);
    for (host, origin, status) in [
        ("127.0.0.1:8181", "http://127.0.0.1:8181", 101),
        ("127.0.0.1:8181", "https://good.com", 101),
        ("127.0.0.1:8181", "http://127.0.0.1:3000", 403),
    ] {
        let request = handshake("/echo", &format!("Origin: {origin}\r\n"));
        let request = request.replace(HOST_LINE, &format!("Host: {host}\r\n"));
        assert_eq!(Client::connect(same.address()).request(&request).status, status, "{origin}");
    }
    let strict = Binary::start(&["--require-origin"]);
    let mut client = Client::connect(strict.address());
    assert_eq!(client.request(&handshake("/echo", "")).status, 403);
    let wrong = Binary::run(&["--origin", "https://*.good.com"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("an origin is"));
}

/// Requests that name this host: for a WebSocket, for nothing, for the server as a whole.
fn to_host(host: &str) -> [String; 3] {
    let requests =
        [handshake("/", ""), get("/nothing", ""), get("*", "").replace("GET", "OPTIONS")];
    requests.map(|request| request.replace(HOST_LINE, &format!("Host: {host}\r\n")))
}

#[track_caller]
fn expect_admitted(server: &TestServer, host: &str) {
    let statuses = to_host(host).map(|request| server.connect().request(&request).status);
    assert_eq!(statuses, [101, 404, 204], "{host}");
}

#[track_caller]
fn expect_refused(server: &TestServer, host: &str) {
    let statuses = to_host(host).map(|request| server.connect().request(&request).status);
    assert_eq!(statuses, [403; 3], "{host}");
}

/// Serves on a loopback address, without the test's own rule on hosts.
fn serve_local(routes: impl Fn() -> Routes, test: impl Fn(&TestServer)) {
    for driver in drivers() {
        let server = Server::new(routes()).driver(driver).listen("127.0.0.1:0");
        test(&TestServer::run(server.expect("port 0 can always be listened on")));
    }
}

/// A page of evil.com, which has pointed its name at 127.0.0.1, is of the same origin as the server
/// there in the eyes of the browser, and may read everything. Its requests still name evil.com.
#[test]
fn dns_rebinding_only_local_hosts_are_answered_on_loopback() {
    serve_local(echo, |server| {
        for host in
            ["localhost", "LocalHost:8181", "app.localhost", "machine", "127.0.0.1:80", "[::1]:1"]
        {
            expect_admitted(server, host);
        }
        for host in ["evil.com", "evil.com:8181", "localhost.evil.com", "evil.localhost."] {
            expect_refused(server, host);
        }
        // RFC 9112 3.2.2: the target precedes the Host header.
        let absolute = get("http://evil.com/nothing", "");
        assert_eq!(server.connect().request(&absolute).status, 403);
        let no_host = "GET /nothing HTTP/1.0\r\n\r\n";
        assert_eq!(server.connect().request(no_host).status, 404, "no browser sends that");
    });
}

#[test]
fn dns_rebinding_a_list_of_hosts_is_exact_and_can_be_turned_off() {
    let only = || echo().hosts(Hosts::only(["good.com", "127.0.0.1"]).expect("valid"));
    serve_local(only, |server| {
        for host in ["good.com", "GOOD.com:8181", "127.0.0.1:80"] {
            expect_admitted(server, host);
        }
        for host in ["evil.com", "localhost", "[::1]", "www.good.com", "good.com.evil"] {
            expect_refused(server, host);
        }
        let no_host = "GET /nothing HTTP/1.0\r\n\r\n";
        assert_eq!(server.connect().request(no_host).status, 403);
    });
    serve_local(|| echo().hosts(Hosts::any()), |server| expect_admitted(server, "evil.com"));
}

/// What listens on all addresses has names that only its operator knows.
#[test]
fn dns_rebinding_a_server_that_listens_elsewhere_answers_all_hosts() {
    for driver in drivers() {
        let server = Server::new(echo()).driver(driver).listen("0.0.0.0:0").expect("it is free");
        expect_admitted(&TestServer::run(server), "test");
    }
}

/// The status of a request for the page that names this host.
#[track_caller]
fn page(server: &Binary, host: &str) -> u16 {
    let request = get("/", "").replace(HOST_LINE, &format!("Host: {host}\r\n"));
    Client::connect(server.address()).request(&request).status
}

#[test]
fn the_binary_takes_hosts() {
    let default = Binary::start(&[]);
    assert_eq!(
        ["localhost:1", "127.0.0.1", "evil.com"].map(|host| page(&default, host)),
        [200, 200, 403]
    );
    let listed = Binary::start(&["--host", "good.com", "--host", "[::1]"]);
    assert_eq!(
        ["good.com", "[::1]:1", "localhost"].map(|host| page(&listed, host)),
        [200, 200, 403]
    );
    for any in [&["--host", "*"][..], &["--host", "*", "--host", "good.com"]] {
        assert_eq!(page(&Binary::start(any), "evil.com"), 200);
    }
    for wrong in ["good.com:80", "http://good.com", "*.good.com", ""] {
        let output = Binary::run(&["--host", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("--host") && said.contains("a host is"), "{said}");
    }
}

//! Which web pages may reach the server, as the Origin of their requests tells it: RFC 6455 sections
//! 4.2.2 and 10.2, RFC 6454.

use wireloop::{Echo, Routes, http::Origins};

use crate::{
    echo,
    handshake::{accepted, refused},
    support::{Binary, Client, handshake, serve},
};

/// The line of [`handshake`] that names the host.
const HOST_LINE: &str = "Host: test\r\n";

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

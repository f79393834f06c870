//! wss://: what is trusted and what is not, and servers that break TLS, each counted under its own
//! name.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::Path,
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use support::{accept, echo, failure, refusal, serve, serve_all, success};

/// An authority that nobody but the tests trusts.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        Self::named("the tests")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate, key }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn write(&self, directory: &Path) -> String {
        write(directory, "ca.pem", &self.0.pem())
    }
}

impl Identity {
    /// A server that is this, and asks for a certificate that the authority has signed.
    fn config(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate()).unwrap();
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let chain = vec![self.certificate.der().clone()];
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

fn open(config: &Arc<ServerConfig>, stream: TcpStream) -> Stream {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

/// A server that is `identity`; its URL.
fn serve_tls(config: Arc<ServerConfig>, each: impl Fn(Stream) + Clone + Send + 'static) -> String {
    let url = serve_all(100, move |stream| each(open(&config, stream)));
    url.replace("ws://", "wss://")
}

/// An echo that goes on when a client does not like it.
fn echo_tls(config: Arc<ServerConfig>) -> String {
    serve_tls(config, |mut stream| {
        if stream.conn.complete_io(&mut stream.sock).is_ok() {
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            echo(stream, |_, _| {});
        }
    })
}

#[track_caller]
fn expect_failure(arguments: &str, name: &str) {
    let text = failure(arguments);
    assert!(text.contains(&format!("x TLS failed: {name}")), "{text}");
}

#[test]
fn a_server_with_a_trusted_certificate_echoes() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write(directory.path());
    let url = echo_tls(authority.sign("127.0.0.1", |_| {}).config(None));
    success(&format!("-c 20 --ca {ca} {url}"));
    success(&format!("-c 4 --depth 8 -s 120 -t 2 --ca {ca} {url}"));
    success(&format!("-c 4 -R 500 --ca {ca} {url}"));
}

#[test]
fn the_name_that_is_asked_for_is_the_one_that_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write(directory.path());
    let url = echo_tls(authority.sign("echo.example", |_| {}).config(None));
    expect_failure(&format!("-c 2 --ca {ca} {url}"), "the certificate is for another name");
    success(&format!("-c 2 --ca {ca} --sni echo.example {url}"));
}

#[test]
fn certificates_that_cannot_be_trusted_are_refused_by_their_fault() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write(directory.path());
    let other = Authority::named("others");
    let url = echo_tls(other.sign("127.0.0.1", |_| {}).config(None));
    expect_failure(&format!("-c 2 --ca {ca} {url}"), "the certificate has an unknown issuer");
    let text = success(&format!("-c 2 --insecure {url}"));
    assert!(text.contains("any certificate accepted"), "{text}");
    let expired = authority.sign("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let url = echo_tls(expired.config(None));
    expect_failure(&format!("-c 2 --ca {ca} {url}"), "the certificate has expired");
    let early = authority.sign("127.0.0.1", |params| params.not_before = date_time_ymd(3000, 1, 1));
    let url = echo_tls(early.config(None));
    expect_failure(&format!("-c 2 --ca {ca} {url}"), "the certificate is not valid yet");
}

#[test]
fn a_client_certificate_is_shown_if_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write(directory.path());
    let url = echo_tls(authority.sign("127.0.0.1", |_| {}).config(Some(&authority)));
    let client = authority.sign("client.example", |_| {});
    let cert = write(directory.path(), "cert.pem", &client.certificate.pem());
    let key = write(directory.path(), "key.pem", &client.key.serialize_pem());
    success(&format!("-c 2 --ca {ca} --cert {cert} --key {key} {url}"));
    let alert = "alert from the server: certificate required (116)";
    expect_failure(&format!("-c 2 --ca {ca} {url}"), alert);
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = write(directory.path(), "empty.pem", "nothing\n");
    for (arguments, advice) in [
        (format!("--ca {empty} wss://127.0.0.1/"), "no certificate: it has none in PEM"),
        ("--ca /nowhere wss://127.0.0.1/".into(), "/nowhere: no certificate: No such file"),
        ("--insecure ws://127.0.0.1/".into(), "options of TLS are for wss:// URLs"),
    ] {
        let text = refusal(&arguments);
        assert!(text.contains(advice), "{text}");
    }
}

#[test]
fn garbage_in_the_place_of_tls_is_named() {
    for garbage in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 5000], &[22, 3, 3, 0xff, 0xff]]
    {
        let url = serve(1, move |mut stream| {
            let _ = stream.write_all(garbage);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let url = url.replace("ws://", "wss://");
        expect_failure(&format!("-c 1 --insecure {url}"), "the server does not speak TLS");
    }
}

#[test]
fn an_alert_is_named() {
    let url = serve(1, |mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 112]);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let url = url.replace("ws://", "wss://");
    let alert = "alert from the server: unrecognised name (112)";
    expect_failure(&format!("-c 1 --insecure {url}"), alert);
}

#[test]
fn an_end_within_the_handshake_is_one_of_the_connection() {
    let url = serve(1, |mut stream| {
        let _ = stream.read(&mut [0; 10_000]);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let text = failure(&format!("-c 1 --insecure {}", url.replace("ws://", "wss://")));
    assert!(text.contains("1 x connection ended within the handshake"), "{text}");
}

#[test]
fn a_server_that_closes_its_direction_has_ended() {
    let config = Authority::new().sign("127.0.0.1", |_| {}).config(None);
    let url = serve_tls(config, |mut stream| {
        accept(&mut stream, "");
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let text = failure(&format!("-c 1 --insecure {url}"));
    assert!(text.contains("1 x connection ended without a Close"), "{text}");
}

#[test]
fn a_record_that_was_changed_on_its_way_is_refused() {
    let config = Authority::new().sign("127.0.0.1", |_| {}).config(None);
    let url = serve_tls(config, |mut stream| {
        accept(&mut stream, "");
        let _ = stream.sock.write_all(&[23, 3, 3, 0, 20]);
        let _ = stream.sock.write_all(&[7; 20]);
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    expect_failure(&format!("-c 1 --insecure {url}"), "a record cannot be decrypted");
}

#[test]
fn bytes_behind_a_handshake_may_come_one_by_one() {
    let config = Authority::new().sign("127.0.0.1", |_| {}).config(None);
    let url = serve_tls(config, |mut stream| {
        accept(&mut stream, "");
        // Each is a record of its own.
        for byte in [0x88, 2, 0x03, 0xe9] {
            let _ = stream.write_all(&[byte]);
            let _ = stream.flush();
        }
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let text = failure(&format!("-c 1 --insecure {url}"));
    assert!(text.contains("1 x closed by the server with 1001"), "{text}");
}

//! TLS: a layer between the bytes of a connection and its frames, and what it is asked to check.
//! Resumption and the server's tickets are shared by the connections of a group.

use std::{
    fmt,
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{Error as PemError, PemObject},
    },
};

use crate::target::Target;

/// How a wss:// server is trusted, and what it is shown.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Target")]
pub(crate) struct TlsArguments {
    /// wss: certificates in PEM that are trusted, in the place of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// wss: certificate of this client, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// wss: private key of this client's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// wss: name that is asked for and that the certificate must have, in the place of the URL's
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub(crate) sni: Option<ServerName<'static>>,

    /// wss: accept any certificate
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,
}

/// What the connections of a group share.
#[derive(Clone, Debug)]
pub(crate) struct TlsPlan {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// The TLS of one connection.
#[derive(Debug)]
pub(crate) struct Tls(ClientConnection);

impl TlsArguments {
    /// What is needed for the target: nothing, if it is not secured.
    pub(crate) fn plan(&self, target: &Target) -> Result<Option<TlsPlan>, String> {
        let Some(name) = &target.secured else {
            let is_unused = !self.insecure && self.ca.is_none() && self.cert.is_none();
            return if is_unused && self.sni.is_none() {
                Ok(None)
            } else {
                Err("options of TLS are for wss:// URLs: leave them out or give one".into())
            };
        };
        let name = self.sni.clone().map_or_else(|| server_name(name), Ok)?;
        Ok(Some(TlsPlan { config: Arc::new(self.config()?), name }))
    }

    /// What the report has to say about this, behind what is sent.
    pub(crate) fn remarks(&self) -> &'static str {
        if self.insecure { ", any certificate accepted" } else { "" }
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be used: {error}"))?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match self.cert.as_ref().zip(self.key.as_ref()) {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let complain = |what| format!("{}: {what}", key.display());
                let certificates = certificates(cert)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| complain(format!("no private key: {}", reason(&error))))?;
                builder
                    .with_client_auth_cert(certificates, key)
                    .map_err(|error| complain(format!("not the certificate's key: {error}")))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.ca {
            for certificate in certificates(file)? {
                let added = roots.add(certificate);
                added.map_err(|error| format!("{}: {error}", file.display()))?;
            }
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if roots.is_empty() {
            return Err("no certificate is trusted on this system: give --ca or --insecure".into());
        }
        Ok(roots)
    }
}

/// All certificates of a file.
fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let complain =
        |error: &PemError| format!("{}: no certificate: {}", file.display(), reason(error));
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| complain(&error))?.collect();
    let found = found.map_err(|error| complain(&error))?;
    if found.is_empty() { Err(complain(&PemError::NoItemsFound)) } else { Ok(found) }
}

/// What is wrong with a file, in one line.
fn reason(error: &PemError) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => "it has none in PEM".into(),
        _ => "it is not PEM".into(),
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("{name} is no name of a server"))
}

impl TlsPlan {
    /// The TLS of a new connection.
    pub(crate) fn connect(&self) -> Result<Tls, rustls::Error> {
        let mut connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        // What is written goes to the kernel in the same pass, whatever its size.
        connection.set_buffer_limit(None);
        Ok(Tls(connection))
    }
}

impl Tls {
    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Decrypts what has arrived to the end of `plain`: whether the server has ended its direction.
    /// What came before an error is there as well.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<bool, rustls::Error> {
        loop {
            // A slice is read without an error, unless the buffer of messages is full: then the
            // handshake is larger than any.
            let read = self.0.read_tls(&mut bytes);
            let read = read.map_err(|error| rustls::Error::General(error.to_string()))?;
            let state = match self.0.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    let _ = self.0.reader().read_to_end(plain);
                    return Err(error);
                }
            };
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            let _ = self.0.reader().read_exact(&mut plain[start..]);
            if state.peer_has_closed() || (read == 0 && !bytes.is_empty()) {
                return Ok(true);
            }
            if bytes.is_empty() {
                return Ok(false);
            }
        }
    }

    /// Puts records in the place of what was appended to `out` since `start`, behind those that
    /// TLS itself has to send.
    pub(crate) fn seal(&mut self, out: &mut Vec<u8>, start: usize) {
        // Writing to memory does not fail.
        let _: io::Result<()> = self.0.writer().write_all(&out[start..]);
        out.truncate(start);
        while self.0.wants_write() {
            let _: io::Result<usize> = self.0.write_tls(out);
        }
    }
}

/// Takes any certificate for any name. That the server has its key is checked all the same.
struct AcceptAny(Arc<CryptoProvider>);

impl fmt::Debug for AcceptAny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AcceptAny")
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! How the protocol is spoken: what the handshake asks for, and how messages are framed.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use wireloop::{
    http::{ClientHandshake, ClientRequest, HandshakeError},
    ws::CloseCode,
};

use crate::{compression::Compression, units};

/// The masking key of all frames, if one is asked for. Masking with it costs what any other does.
const FIXED_MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// How the protocol is spoken.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Protocol")]
pub(crate) struct ProtocolArguments {
    /// Header of the handshake; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = read_header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,

    /// Subprotocol to offer; may be given several times, the preferred one first
    #[arg(long = "subprotocol", value_name = "NAME", value_parser = subprotocol)]
    pub(crate) subprotocols: Vec<String>,

    /// Cookie header of the handshake, as NAME=VALUE; NAME=VALUE
    #[arg(long, value_name = "COOKIES", value_parser = value)]
    pub(crate) cookie: Option<HeaderValue>,

    /// Basic authentication
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = basic)]
    pub(crate) user: Option<HeaderValue>,

    /// Token of bearer authentication
    #[arg(long, value_name = "TOKEN", value_parser = bearer, conflicts_with = "user")]
    pub(crate) bearer: Option<HeaderValue>,

    /// Origin header of the handshake
    #[arg(long, value_name = "ORIGIN", value_parser = value)]
    pub(crate) origin: Option<HeaderValue>,

    /// Host header of the handshake, in the place of the URL's
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub(crate) host: Option<String>,

    /// permessage-deflate to offer: off, fresh (each message by itself) or kept (messages may
    /// refer to earlier ones)
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "off",
        hide_possible_values = true
    )]
    pub(crate) compression: Compression,

    /// Send messages in fragments of at most SIZE
    #[arg(long, value_name = "SIZE", value_parser = fragment, conflicts_with = "compression")]
    pub(crate) fragment: Option<usize>,

    /// Ping each connection once per TIME under load
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub(crate) ping_every: Option<Duration>,

    /// Code with which connections are closed
    #[arg(long, value_name = "CODE", default_value = "1000", value_parser = close_code)]
    pub(crate) close_code: CloseCode,

    /// One masking key for all frames, which RFC 6455 forbids: shows what fresh ones cost
    #[arg(long)]
    pub(crate) fixed_mask: bool,
}

impl ProtocolArguments {
    /// The headers of a handshake that are not its own.
    pub(crate) fn header_map(&self) -> HeaderMap {
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let authorization = self.user.as_ref().or(self.bearer.as_ref());
        for (name, value) in [
            (header::COOKIE, self.cookie.as_ref()),
            (header::AUTHORIZATION, authorization),
            (header::ORIGIN, self.origin.as_ref()),
        ] {
            headers.extend(value.map(|value| (name, value.clone())));
        }
        headers
    }

    /// The key of all frames, if they share one.
    pub(crate) fn mask(&self) -> Option<[u8; 4]> {
        self.fixed_mask.then_some(FIXED_MASK)
    }

    /// What the report has to say about this, behind what is sent.
    pub(crate) fn remarks(&self) -> String {
        let mut text = String::new();
        if let Some(bytes) = self.fragment {
            text += &format!(", in fragments of {bytes} B");
        }
        if self.fixed_mask {
            text += ", one masking key for all frames (not RFC 6455)";
        }
        text
    }
}

fn read_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, text) = text.split_once(':').ok_or("not a header such as 'Name: value'")?;
    let name: HeaderName =
        name.trim().parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
    if name == header::HOST {
        return Err("give --host".into());
    }
    let headers = HeaderMap::from_iter([(name.clone(), value(text)?)]);
    try_handshake(&plain_request(&headers)).map_err(|error| format!("{name}: {error}"))?;
    Ok((name.clone(), headers[&name].clone()))
}

fn value(text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(text.trim());
    value.map_err(|_| "not the value of a header: it has a control character".into())
}

fn basic(text: &str) -> Result<HeaderValue, String> {
    if !text.contains(':') {
        return Err("not NAME:PASSWORD".into());
    }
    value(&format!("Basic {}", STANDARD.encode(text)))
}

fn bearer(text: &str) -> Result<HeaderValue, String> {
    value(&format!("Bearer {text}"))
}

fn subprotocol(name: &str) -> Result<String, String> {
    let headers = HeaderMap::new();
    let request = ClientRequest { protocols: &[name], ..plain_request(&headers) };
    try_handshake(&request).map_err(|_| "not the name of a subprotocol".to_owned())?;
    Ok(name.into())
}

fn host(name: &str) -> Result<String, String> {
    let headers = HeaderMap::new();
    let request = ClientRequest { host: name, ..plain_request(&headers) };
    try_handshake(&request).map_err(|error| error.to_string())?;
    Ok(name.into())
}

/// Whether a handshake accepts what it is asked to send.
fn try_handshake(request: &ClientRequest<'_>) -> Result<(), HandshakeError> {
    ClientHandshake::start(request, &mut Vec::new()).map(|_| ())
}

fn plain_request(headers: &HeaderMap) -> ClientRequest<'_> {
    ClientRequest { host: "h", target: "/", key: [0; 16], protocols: &[], deflate: None, headers }
}

fn fragment(text: &str) -> Result<usize, String> {
    let size = units::size(text)?;
    if size == 0 { Err("a fragment has at least one byte".into()) } else { Ok(size) }
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = units::read_time(text)?;
    if time.is_zero() { Err("give a time above 0".into()) } else { Ok(time) }
}

/// RFC 6455 section 7.4: those that an endpoint may send.
fn close_code(text: &str) -> Result<CloseCode, String> {
    let code =
        text.parse().ok().filter(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999));
    code.map(CloseCode).ok_or_else(|| "not 1000 to 1003, 1007 to 1014 or 3000 to 4999".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        protocol: ProtocolArguments,
    }

    fn read(arguments: &[&str]) -> Result<ProtocolArguments, String> {
        let line = Line::try_parse_from(["x"].iter().chain(arguments));
        line.map(|line| line.protocol).map_err(|error| error.to_string())
    }

    #[test]
    fn all_headers_of_the_handshake_are_there() {
        let protocol = read(&[
            "-H",
            "X-A: 1",
            "-H",
            "x-a:2",
            "--cookie",
            "a=b; c=d",
            "--user",
            "Aladdin:open sesame",
            "--origin",
            "https://example.org",
        ]);
        let headers = protocol.unwrap().header_map();
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(headers["cookie"], "a=b; c=d");
        // The example of RFC 7617 section 2.
        assert_eq!(headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(headers["origin"], "https://example.org");
        let headers = read(&["--bearer", "abc"]).unwrap().header_map();
        assert_eq!(headers["authorization"], "Bearer abc");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_at_once() {
        for (arguments, advice) in [
            (["-H", "no colon"], "'Name: value'"),
            (["-H", "a b: c"], "not the name of a header"),
            (["-H", "X: a\nb"], "control character"),
            (["-H", "Host: a"], "--host"),
            (["-H", "Sec-WebSocket-Key: x"], "writes this header itself"),
            (["-H", "Upgrade: x"], "writes this header itself"),
            (["--cookie", "\u{1}"], "control character"),
            (["--user", "name"], "NAME:PASSWORD"),
            (["--subprotocol", "a b"], "name of a subprotocol"),
            (["--host", "a b"], "host name"),
            (["--fragment", "0"], "at least one byte"),
            (["--ping-every", "0"], "above 0"),
            (["--close-code", "1006"], "1000 to 1003"),
        ] {
            let error = read(&arguments).map(|_| ()).unwrap_err();
            assert!(error.contains(advice), "{arguments:?}: {error}");
        }
    }
}

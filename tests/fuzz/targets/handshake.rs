#![no_main]
//! The opening handshake, both ends. The server's: a head cut anywhere gets the same verdict,
//! httparse reads the same in it, and an upgrade is accepted by our own client. The client's: any
//! response cut anywhere gets the same verdict, and what is established has the right answer.

use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;
use wireloop::http::{
    ClientHandshake, ClientRequest, DeflateParams, Established, HandshakeError, HeadScanner,
    HeaderSlots, Limits, Request, Upgrade, parse,
};
use wireloop_fuzz::{Choices, Cuts};

/// `dGhlIHNhbXBsZSBub25jZQ==`, the key of RFC 6455 section 1.3.
const KEY: [u8; 16] = *b"the sample nonce";

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let is_server = !choices.flag();
    let cuts = Cuts(choices.byte());
    if is_server {
        let limits = choices.one_of(&[
            Limits::default(),
            Limits { head_bytes: 300, headers: 8, target_bytes: 30 },
            Limits { head_bytes: 65_536, headers: 1000, target_bytes: 65_536 },
        ]);
        request(choices.0, cuts, &limits);
    } else {
        response(choices.0, cuts);
    }
});

fn request(input: &[u8], cuts: Cuts, limits: &Limits) {
    let whole = HeadScanner::default().complete(input, limits);
    let mut scanner = HeadScanner::default();
    let mut cut = Ok(None);
    let mut end = 0;
    for piece in cuts.pieces(input) {
        end += piece.len();
        cut = scanner.complete(&input[..end], limits);
        if cut != Ok(None) {
            break;
        }
    }
    assert_eq!(cut, whole, "{cuts:?}");
    let Ok(Some(length)) = whole else { return };
    assert!(length <= limits.head_bytes && input[..length].ends_with(b"\r\n\r\n"));

    let mut slots = HeaderSlots::new();
    let Ok(parsed) = parse(input, limits, &mut slots) else { return };
    let (request, parsed_length) = parsed.expect("the head is complete");
    assert_eq!(parsed_length, length);
    assert!(request.headers().len() <= limits.headers);
    httparse_agrees(&request, &input[..length]);
    if let Ok(upgrade) = Upgrade::validate(&request) {
        our_client_accepts(&request, &upgrade);
    }
}

/// Whatever we take for a request, httparse takes for the same.
fn httparse_agrees(request: &Request<'_>, head: &[u8]) {
    let line = head.split(|&byte| byte == b'\n').find(|line| !matches!(line, [] | [b'\r']));
    let is_known_version = |line: &[u8]| line.ends_with(b"1.1\r") || line.ends_with(b"1.0\r");
    if !line.is_some_and(is_known_version) {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 1000];
    let mut other = httparse::Request::new(&mut fields);
    assert_eq!(other.parse(head), Ok(httparse::Status::Complete(head.len())));
    assert_eq!(other.method, Some(request.method().as_str()));
    assert_eq!(other.path, Some(request.target()));
    assert_eq!(other.version == Some(1), request.version() == http::Version::HTTP_11);
    let others = other.headers.iter().map(|field| (field.name, field.value));
    assert!(request.headers().iter().eq(others));
    // 3.2: one Host, whatever else there is; in HTTP/1.1 it must be there.
    let hosts = other.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    assert!(hosts.count() <= 1 && (other.version == Some(0) || request.host().is_some()));
}

/// Our own client, had it sent this key and these offers, takes our answer for established.
fn our_client_accepts(request: &Request<'_>, upgrade: &Upgrade<'_>) {
    assert_eq!(request.method(), http::Method::GET);
    assert!(!request.framing().has_body());
    let text = request.header_text("Sec-WebSocket-Key").expect("it was validated");
    let (key, is_canonical) = decode(text).expect("16 bytes in base64");
    if !is_canonical {
        // Another client has sent it: ours leaves no spare bits.
        return;
    }
    let protocols: Vec<&str> = upgrade.protocols().iter().collect();
    for extension in upgrade.extensions().iter() {
        assert!(!extension.name().is_empty());
        extension.params().for_each(drop);
    }
    let headers = HeaderMap::new();
    let offer = ClientRequest {
        host: "localhost",
        target: "/",
        key,
        protocols: &protocols,
        deflate: None,
        headers: &headers,
    };
    let mut sent = Vec::new();
    let mut client = ClientHandshake::start(&offer, &mut sent).expect("its parts were validated");
    let sent = String::from_utf8(sent).expect("it is ASCII");
    assert!(sent.contains(&format!("Sec-WebSocket-Key: {text}\r\n")), "base64 both ways");
    let accept = match protocols.last() {
        Some(last) => upgrade.protocols().choose(last).expect("it is offered"),
        None => upgrade.protocols().none(),
    };
    let mut answer = Vec::new();
    upgrade.write_accept(&accept, None, &mut answer);
    let consumed = answer.len();
    answer.extend_from_slice(b"\x81\x00");
    let protocol = protocols.last().map(|&last| last.into());
    let expected = Established { consumed, protocol, deflate: None };
    assert_eq!(client.read(&answer), Ok(Some(expected)));
}

/// RFC 4648 section 4, for exactly 16 bytes; and whether the spare bits are zero.
fn decode(text: &str) -> Option<([u8; 16], bool)> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.strip_suffix("==").filter(|digits| digits.len() == 22)?;
    let mut bits = 0_u128;
    for digit in digits.chars().take(21) {
        bits = bits << 6 | DIGITS.find(digit)? as u128;
    }
    let last = DIGITS.find(digits.chars().last()?)? as u128;
    Some(((bits << 2 | last >> 4).to_be_bytes(), last & 0b1111 == 0))
}

const OFFER: DeflateParams = DeflateParams {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: Some(DeflateParams::ANY_WINDOW),
};

fn response(input: &[u8], cuts: Cuts) {
    let start = || {
        let headers = HeaderMap::new();
        let request = ClientRequest {
            host: "localhost",
            target: "/",
            key: KEY,
            protocols: &["chat", "superchat"],
            deflate: Some(OFFER),
            headers: &headers,
        };
        ClientHandshake::start(&request, &mut Vec::new()).expect("it is well formed")
    };
    let whole = start().read(input);
    let mut client = start();
    let mut cut = Ok(None);
    let mut end = 0;
    for piece in cuts.pieces(input) {
        end += piece.len();
        cut = client.read(&input[..end]);
        if cut != Ok(None) {
            break;
        }
    }
    assert_eq!(cut, whole, "{cuts:?}");
    match whole {
        Ok(Some(established)) => check_established(&established, input),
        Ok(None) => assert!(input.len() < 16_384, "a response head has an end"),
        Err(HandshakeError::UnexpectedStatus(status)) => {
            assert!(StatusCode::from_u16(status).is_ok() && !(100..200).contains(&status));
        }
        Err(_) => {}
    }
}

/// Section 4.1, from the list for the response.
fn check_established(established: &Established, input: &[u8]) {
    let head = &input[..established.consumed];
    // Behind interim responses stands the last one.
    let blank = head[..head.len() - 4].windows(4).rposition(|bytes| bytes == b"\r\n\r\n");
    let last = &head[blank.map_or(0, |blank| blank + 4)..];
    let mut fields = [httparse::EMPTY_HEADER; 1000];
    let mut other = httparse::Response::new(&mut fields);
    assert_eq!(other.parse(last), Ok(httparse::Status::Complete(last.len())));
    assert_eq!((other.code, other.version), (Some(101), Some(1)));
    let values = |name: &str| -> Vec<&[u8]> {
        let fields = other.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| field.value).collect()
    };
    assert_eq!(values("Sec-WebSocket-Accept"), [b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    let protocols = values("Sec-WebSocket-Protocol");
    let protocol = established.protocol.as_deref();
    assert_eq!(protocols.first().copied(), protocol.map(str::as_bytes));
    assert!(
        protocols.len() <= 1 && protocol.is_none_or(|name| ["chat", "superchat"].contains(&name))
    );
    let answers = values("Sec-WebSocket-Extensions").concat();
    let is_named = answers.windows(18).any(|bytes| bytes == b"permessage-deflate");
    assert_eq!(is_named, established.deflate.is_some());
    let agreed = established.deflate.unwrap_or_default();
    let bits = agreed.server_max_window_bits.into_iter().chain(agreed.client_max_window_bits);
    assert!(bits.clone().all(|bits| (8..=15).contains(&bits)));
}

//! Properties of the whole layer over mutated input: no byte a peer sends makes it panic, and
//! how the bytes are cut changes nothing.

use super::*;

const SEEDS: [&str; 3] = [
    "GET /chat/a%20b/?room=1 HTTP/1.1\r\nHost: a:8181\r\nUpgrade: websocket\r\n\
     Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, echo\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; a=\"1\\0\"; b, x\r\n\r\n",
    "\r\nGET http://a/../x HTTP/1.1\r\nHost: [::1]:80\r\nRange: bytes=1-2\r\n\
     If-None-Match: W/\"a\", \"b\"\r\nIf-Range: \"c\"\r\n\
     If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nOrigin: https://a:443\r\n\
     Accept-Encoding: gzip;q=0.5, br\r\n\r\n",
    "POST /a HTTP/1.0\r\nContent-Length: 18446744073709551615\r\n\
     Transfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n",
];

/// What the grammars of this layer are sensitive to.
const ALPHABET: &[u8] = b"\r\n\0\t \",;=:/\\*%?#[]@+-.09aZW\x7f\x80\xff";

const ROUNDS: u32 = 20_000;

/// The generator of Steele and Vigna's SplitMix64: seeded, so that a failure repeats itself.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound
    }

    fn mutated(&mut self, seed: &str) -> Vec<u8> {
        let mut bytes = seed.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let place = self.below(bytes.len());
            let byte = ALPHABET[self.below(ALPHABET.len())];
            match self.below(4) {
                0 => bytes.insert(place, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(place)),
                2 => bytes.truncate(place.max(1)),
                _ => bytes[place] = byte,
            }
        }
        bytes
    }
}

/// Does with a request whatever the server may do with it.
fn exercise(request: &Request<'_>, router: &Router<()>) {
    let _ = (request.keep_alive(), request.is_upgrade(), request.framing(), request.query());
    let _ = relative_path(request.path());
    let modified = std::time::SystemTime::UNIX_EPOCH;
    let info = FileInfo { length: 3, modified, read: modified, coding: None };
    let _ = decide(request, &info);
    assert!(AcceptEncoding::of(request).preferred().count() <= 2);
    let _ = Origins::only(["https://a"]).expect("valid").check(request);
    if let Lookup::Found { variables, .. } = router.find(request.method(), request.path()) {
        let _ = variables.value("name");
    }
    if let Ok(upgrade) = Upgrade::validate(request) {
        let count = upgrade.extensions().iter().map(|offer| offer.params().count()).sum::<usize>();
        assert!(count <= request.headers().iter().map(|(_, value)| value.len()).sum());
        let mut out = Vec::new();
        let chosen = upgrade.protocols().choose_any(&["echo", "chat"]);
        chosen.iter().for_each(|accept| upgrade.write_accept(accept, None, &mut out));
        let lines = out.split(|byte| *byte == b'\n').count();
        assert!(matches!(lines, 1 | 6 | 7), "an answer holds no line of the client's");
    }
}

#[test]
fn no_request_makes_the_layer_panic_and_no_cut_changes_its_answer() {
    let mut random = Random(6455);
    let mut router = Router::new();
    for pattern in ["/chat/{name}/**", "/*", "/**"] {
        router.add(None, pattern, ()).expect("a valid pattern");
    }
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let input = random.mutated(SEEDS[round as usize % SEEDS.len()]);
        let limits = Limits { head_bytes: 460, target_bytes: 40, headers: 8 };
        let mut slots = HeaderSlots::new();
        let whole = parse(&input, &limits, &mut slots);
        if let Ok(Some((request, _))) = &whole {
            exercise(request, &router);
            accepted += 1;
        }
        let mut scanner = HeadScanner::default();
        let cut = random.below(input.len());
        let first = scanner.complete(&input[..cut], &limits);
        let last = match first {
            Ok(None) => scanner.complete(&input, &limits),
            done => done,
        };
        assert_eq!(last, HeadScanner::default().complete(&input, &limits), "round {round}");
    }
    assert!(accepted > ROUNDS / 10, "the mutations are mild enough to reach everything");
}

#[test]
fn no_response_makes_the_client_panic() {
    let seed = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    let headers = ::http::HeaderMap::new();
    let request = ClientRequest {
        host: "a",
        target: "/",
        key: *b"the sample nonce",
        protocols: &["chat"],
        deflate: None,
        headers: &headers,
    };
    let start = ClientHandshake::start(&request, &mut Vec::new()).expect("a valid request");
    let mut random = Random(101);
    for round in 0..ROUNDS {
        let input = random.mutated(seed);
        let mut handshake = start.clone();
        let first = handshake.read(&input[..random.below(input.len())]);
        let last = if first == Ok(None) { handshake.read(&input) } else { first };
        assert_eq!(last, start.clone().read(&input), "round {round}");
    }
}

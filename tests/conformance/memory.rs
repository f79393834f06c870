//! What peers can make the server keep, and what they leave behind: the binary's memory is
//! measured from outside. The advisories are about other implementations.
//!
//! `WIRELOOP_SCALE=n` makes n times as much of everything that has no fixed size.

use std::{io::Write, net::TcpStream, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::{BINARY, Binary, CONTINUATION, Client, PING, PONG, TEXT, frame, handshake};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn scaled(count: usize) -> usize {
    let scale = std::env::var("WIRELOOP_SCALE").ok().and_then(|scale| scale.parse().ok());
    count * scale.unwrap_or(1)
}

/// As many connections as this, or as the limit on open files allows beside other tests. Where it
/// may be raised, it is.
fn connections(wanted: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).expect("a limit may be raised to its maximum");
    let allowed = maximum.map_or(wanted, |maximum| maximum as usize / 2);
    wanted.min(allowed)
}

/// The server must not use much more memory than before.
#[track_caller]
fn expect_growth(server: &Binary, before: usize, at_most: usize) {
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown <= at_most, "the server keeps {grown} bytes, not {at_most}");
}

/// Writes in the background, as far as the server takes it.
fn write_all(client: &Client, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let mut socket: TcpStream = client.socket();
    // A server that has seen enough may refuse the rest.
    thread::spawn(move || drop(socket.write_all(&bytes)))
}

/// Many connections, each of which announces the longest message and sends none of it.
#[test]
fn cve_2022_35922_an_announced_length_costs_no_memory() {
    let count = connections(9_000);
    let server = Binary::start(&[]);
    let mut clients: Vec<Client> = (0..count).map(|_| server.upgrade("/echo")).collect();
    let before = server.resident_bytes();
    let header = [&[0x82, 0xff][..], &(16 * MIB as u64).to_be_bytes(), &[0; 4]].concat();
    let wire = [frame(true, PING, [0; 4], b""), header].concat();
    for client in &mut clients {
        client.send_raw(&wire);
    }
    for client in &mut clients {
        client.expect_frame(true, PONG, b"");
    }
    expect_growth(&server, before, count * 4 * KIB);
    // A little of each arrives: memory is taken for that, not for what was announced.
    for client in &mut clients {
        client.send_raw(&[7; 100]);
    }
    server.upgrade("/echo").close();
    expect_growth(&server, before, count * 4 * KIB);
}

/// ws CVE-2026-48779 and its issue 2331: messages in fragments of one byte, which never end. The
/// receiver keeps a tenth more than the payload (a test in `ws/partial.rs`); the rest are holes of
/// the allocator, since all the messages grow at the same time.
#[test]
fn cve_2026_48779_tiny_fragments_cost_what_they_carry() {
    // One less than the limit of 131,072.
    let (count, fragments) = (scaled(20), 131_071);
    let server = Binary::start(&[]);
    let mut clients: Vec<Client> = (0..count).map(|_| server.upgrade("/echo")).collect();
    let before = server.resident_bytes();
    let mut wire = frame(false, TEXT, [0; 4], b"x");
    for _ in 1..fragments {
        wire.extend(frame(false, CONTINUATION, [0; 4], b"x"));
    }
    for part in wire.chunks(wire.len() / 10) {
        clients.iter_mut().for_each(|client| client.send_raw(part));
    }
    clients.iter_mut().for_each(|client| client.ping_and_wait(b"all taken"));
    expect_growth(&server, before, count * (fragments * 3 / 2 + 16 * KIB));
    let [first, second, ..] = &mut clients[..] else { panic!("there are more") };
    first.send_frame(true, CONTINUATION, b"x");
    let (_, opcode, payload) = first.read_frame();
    assert!(opcode == TEXT && payload == vec![b'x'; fragments + 1]);
    second.send_raw(&frame(false, CONTINUATION, [0; 4], b"x"));
    second.send_raw(&frame(false, CONTINUATION, [0; 4], b"x"));
    second.expect_closing(1009);
}

/// A message in a hundred thousand fragments that others interleave with must not be copied for
/// each of them: this took the square of its size.
#[test]
fn long_messages_in_many_fragments_take_time_in_proportion() {
    let (count, fragments) = (4, 120_000);
    let server = Binary::start(&[]);
    let mut clients: Vec<Client> = (0..count).map(|_| server.upgrade("/echo")).collect();
    let fragment = frame(false, CONTINUATION, [0; 4], &[7; 128]);
    let part = fragment.repeat(100);
    clients.iter_mut().for_each(|client| client.send_frame(false, BINARY, b""));
    let begun = server.processor_time();
    for _ in 0..fragments / 100 {
        clients.iter_mut().for_each(|client| client.send_raw(&part));
    }
    clients.iter_mut().for_each(|client| client.ping_and_wait(b"all taken"));
    let used = server.processor_time() - begun;
    assert!(used.as_secs() < 4, "{used:?} of the processor for 60 MiB");
}

/// actix-ws 651 and others: frames without payload, which were not counted.
#[test]
fn fragments_without_payload_cost_no_memory_and_have_an_end() {
    let server = Binary::start(&[]);
    let mut other = server.upgrade("/echo");
    let mut client = server.upgrade("/echo");
    let before = server.resident_bytes();
    let mut wire = frame(false, BINARY, [0; 4], b"");
    wire.extend(frame(false, CONTINUATION, [0; 4], b"").repeat(scaled(1_000_000)));
    let writer = write_all(&client, wire);
    for number in 0..50 {
        other.ping_and_wait(&[number]);
    }
    client.expect_close(1009);
    expect_growth(&server, before, 256 * KIB);
    client.send_close(1009, "");
    writer.join().expect("it does not panic");
    client.expect_gone();
    other.ping_and_wait(b"served");
}

/// Java-WebSocket 1508 and others: what had been kept of a message that became too long. The
/// allocator keeps up to 8 MiB of what it is given back, but not more each time.
#[test]
fn a_message_that_becomes_too_long_is_forgotten() {
    let server = Binary::start(&[]);
    let too_long = || {
        let mut client = server.upgrade("/echo");
        client.send_frame(false, BINARY, &vec![7; MIB]);
        for _ in 0..16 {
            client.send_frame(false, CONTINUATION, &vec![7; MIB]);
        }
        client.expect_closing(1009);
    };
    (0..4).for_each(|_| too_long());
    let before = server.resident_bytes();
    (0..scaled(4)).for_each(|_| too_long());
    expect_growth(&server, before, 8 * MIB);
}

/// Jetty 293 and 13029: the last message stayed with its connection.
#[test]
fn an_idle_connection_keeps_nothing_of_its_messages() {
    let server = Binary::start(&[]);
    let mut clients: Vec<Client> = (0..2 + scaled(8)).map(|_| server.upgrade("/echo")).collect();
    let mut before = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        client.send_frame(true, BINARY, &vec![7; 8 * MIB]);
        let (_, opcode, payload) = client.read_frame();
        assert!(opcode == BINARY && payload.len() == 8 * MIB);
        client.ping_and_wait(b"idle");
        if number == 1 {
            before = server.resident_bytes();
        }
    }
    // Each of them kept 8 MiB. Of what it was given back, the allocator may keep some.
    expect_growth(&server, before, 8 * MIB);
}

/// The `ws` crate's RUSTSEC-2020-0043, tinymux 1083, OkHttp, tyrus 954: pongs that pile up for a
/// peer that reads none of them.
#[test]
fn rustsec_2020_0043_a_million_pings_without_reading_stop_the_peer() {
    let server = Binary::start(&[]);
    let mut client = server.upgrade("/echo");
    // The receive buffers, which are there once for all connections, are resident from their first
    // use on. What is in all of them may have come from one peer before it can be stopped.
    client.send_raw(&frame(true, PONG, [1, 2, 3, 4], &[9; 125]).repeat(20_000));
    client.ping_and_wait(b"used");
    let before = server.resident_bytes();
    let ping = frame(true, PING, [1, 2, 3, 4], &[9; 125]);
    let sent = client.fill(&ping, scaled(1_000_000) * ping.len());
    assert!(sent < 64 * MIB, "the peer is stopped, but not after {sent} bytes");
    expect_growth(&server, before, 2 * MIB);
    // Nothing is lost: every ping that was sent whole has its pong.
    (0..sent / ping.len()).for_each(|_| client.expect_frame(true, PONG, &[9; 125]));
    server.upgrade("/echo").close();
}

/// Undertow CVE-2021-3690: a buffer was lost for each pong.
#[test]
fn cve_2021_3690_pongs_leave_nothing_behind() {
    let server = Binary::start(&[]);
    let mut client = server.upgrade("/echo");
    let pongs = frame(true, PONG, [1, 2, 3, 4], &[9; 20]).repeat(10_000);
    let mut send = |times| {
        (0..times).for_each(|_| client.send_raw(&pongs));
        client.ping_and_wait(b"all taken");
    };
    // The receive buffers are resident from their first use on.
    send(10);
    let before = server.resident_bytes();
    send(scaled(50));
    expect_growth(&server, before, 128 * KIB);
}

/// Tomcat CVE-2021-42340 and CVE-2024-23672: connections that were closed in every way there is
/// leave neither memory nor descriptors.
#[test]
fn cve_2021_42340_connections_that_have_ended_leave_nothing_behind() {
    let server = Binary::start(&[]);
    let mut clients = 0;
    let mut churn = |count: usize| {
        for _ in 0..count {
            clients += 1;
            end_somehow(&server, clients);
        }
        // All that were reset have been noticed when a later one is served.
        server.upgrade("/echo").close();
    };
    churn(500);
    let (before, files) = (server.resident_bytes(), server.open_files());
    churn(scaled(4000));
    expect_growth(&server, before, 256 * KIB);
    assert!(server.open_files() <= files + 1, "{} of {files}", server.open_files());
}

/// One connection, ended in one of the ways there are.
fn end_somehow(server: &Binary, number: usize) {
    match number % 7 {
        0 => server.upgrade("/echo").close(),
        1 => drop(server.upgrade("/echo")),
        // Within the handshake.
        2 => Client::connect(server.address()).send_raw(&handshake("/echo", "").as_bytes()[..30]),
        // With a message half sent.
        3 => server.upgrade("/echo").send_raw(&frame(true, BINARY, [0; 4], &[1; 5000])[..3000]),
        // With an echo that is not read, so that the kernel resets the connection.
        4 => server.upgrade("/echo").send_frame(true, BINARY, &[1; 5000]),
        5 => {
            let mut client = server.upgrade("/echo");
            client.send_raw(b"\xff");
            client.expect_closing(1002);
        }
        _ => {
            let mut client = server.upgrade("/echo");
            client.send_text("echo");
            client.shutdown();
            client.expect_text("echo");
            client.expect_gone();
        }
    }
}

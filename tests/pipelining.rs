//! Defect 12 of Perfect-WebSockets: with enough messages in the buffer, its recursive echo
//! overflowed the stack. Here a million small ones go through a worker that has hardly any.

mod support;

use std::{io::Write, sync::Arc, thread};

use support::{BINARY, Client, frame};
use wireloop::{
    Config, Echo, Routes,
    io::{Epoll, sys},
    server::Worker,
};

const MESSAGES: u32 = 1_000_000;

/// How many messages are written or read at a time.
const BATCH: u32 = 10_000;

/// Enough for a worker in a debug build, and for a few hundred echoes that called each other.
const STACK_BYTES: usize = 128 << 10;

#[test]
fn a_million_pipelined_messages_return_in_order_in_constant_stack() {
    let listener = sys::listen(([127, 0, 0, 1], 0).into()).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let work = move || {
        let routes =
            Routes::new().websocket("/", |_, protocols| Ok(protocols.none().session(Echo)));
        let driver = Epoll::new().expect("there is a descriptor left");
        let config = Arc::new(Config::default());
        let mut worker = Worker::new(driver, Arc::new(routes), config, vec![listener])
            .expect("the listener can be watched");
        let mut was_busy = false;
        while worker.pass().expect("epoll works") {
            was_busy |= worker.connections() > 0;
            // The client has come and gone.
            if was_busy && worker.connections() == 0 {
                break;
            }
        }
    };
    let worker = thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread");

    let mut client = Client::connect(address);
    client.upgrade("/");
    let mut socket = client.socket();
    let writer = thread::spawn(move || {
        for start in (0..MESSAGES).step_by(BATCH as usize) {
            let key = start.to_be_bytes();
            let frames = (start..start + BATCH)
                .flat_map(|number| frame(true, BINARY, key, &number.to_be_bytes()));
            socket.write_all(&frames.collect::<Vec<u8>>()).expect("the server goes on reading");
        }
    });
    for start in (0..MESSAGES).step_by(BATCH as usize) {
        let expected = (start..start + BATCH).flat_map(|number| {
            let [a, b, c, d] = number.to_be_bytes();
            [0x82, 4, a, b, c, d]
        });
        let expected: Vec<u8> = expected.collect();
        assert!(client.read_bytes(expected.len()) == expected, "from {start} on");
    }
    writer.join().expect("everything is written");
    client.close();
    drop(client);
    worker.join().expect("the worker does not overflow its stack");
}

//! The streaming example with a file that is larger than all its buffers: 64 MiB in each direction,
//! in memory that does not grow with it. Alone in its process, whose memory it measures.

#![allow(dead_code, reason = "the `main` of an example is not called here")]

mod support;

#[path = "../examples/streaming.rs"]
mod streaming;

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    io::{Read, Write},
};

use support::{BINARY, CONTINUATION, Client, TEXT, serve};

const FILE_BYTES: usize = 64 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// What the server's buffers, the client's and the allocator's leftovers may come to.
const MEMORY_BYTES: usize = 16 << 20;

/// A part of the file, which differs from all others.
fn chunk(number: usize) -> Vec<u8> {
    let number = number.to_le_bytes();
    number.into_iter().cycle().take(CHUNK_BYTES).collect()
}

#[test]
fn sixty_four_mebibytes_pass_in_both_directions_in_bounded_memory() {
    let directory = tempfile::tempdir().expect("there is room");
    let (to_send, to_write) = (directory.path().join("send"), directory.path().join("write"));
    let mut file = fs::File::create(&to_send).expect("it is ours");
    let chunks = FILE_BYTES / CHUNK_BYTES;
    (0..chunks).for_each(|number| file.write_all(&chunk(number)).expect("there is room"));

    let routes = || streaming::routes(to_send.clone(), to_write.clone());
    serve(routes, |server| {
        let before = peak_bytes();
        download(server.upgrade("/download"));
        upload(server.upgrade("/upload"));
        let grown = peak_bytes() - before;
        assert!(grown < MEMORY_BYTES, "64 MiB in each direction took {grown} bytes");
        assert!(are_equal(&to_send, &to_write), "the file has changed on its way");
    });
}

fn download(mut client: Client) {
    let (mut position, mut opcode) = (0, BINARY);
    loop {
        let (is_final, got, payload) = client.read_frame();
        assert_eq!(got, opcode, "at {position}");
        let start = position % CHUNK_BYTES;
        assert!(start + payload.len() <= CHUNK_BYTES, "fragments are 64 KiB");
        let expected = chunk(position / CHUNK_BYTES);
        assert!(payload == expected[start..][..payload.len()], "at {position}");
        position += payload.len();
        opcode = CONTINUATION;
        if is_final {
            break;
        }
    }
    assert_eq!(position, FILE_BYTES);
    client.expect_closing(1000);
}

fn upload(mut client: Client) {
    let mut hasher = DefaultHasher::new();
    for number in 0..FILE_BYTES / CHUNK_BYTES {
        let chunk = chunk(number);
        hasher.write(&chunk);
        client.send_frame(false, if number == 0 { BINARY } else { CONTINUATION }, &chunk);
    }
    client.send_frame(true, CONTINUATION, &[]);
    let (is_final, opcode, receipt) = client.read_frame();
    assert_eq!((is_final, opcode), (true, TEXT));
    let expected = format!("{FILE_BYTES} bytes, hash {:016x}", hasher.finish());
    assert_eq!(String::from_utf8(receipt).expect("text"), expected);
    client.expect_closing(1000);
}

/// The most memory this process has had.
fn peak_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("proc(5)");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc(5)");
    let kibibytes = line.trim().strip_suffix(" kB").expect("proc(5)");
    kibibytes.parse::<usize>().expect("a number") << 10
}

fn are_equal(one: &std::path::Path, other: &std::path::Path) -> bool {
    let mut files = [one, other].map(|path| fs::File::open(path).expect("it is there"));
    let mut buffers = [vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]];
    for _ in 0..FILE_BYTES / CHUNK_BYTES {
        for (file, buffer) in files.iter_mut().zip(&mut buffers) {
            file.read_exact(buffer).expect("both are long enough");
        }
        if buffers[0] != buffers[1] {
            return false;
        }
    }
    files.iter().all(|file| file.metadata().is_ok_and(|data| data.len() == FILE_BYTES as u64))
}

//! Messages that many await: who receives them when, and who does not.

mod support;

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use support::{Frame, Row, accept, answer_frames, bench, said, serve_all};

/// A message for a member.
type Letter = (TcpStream, Vec<u8>);

/// A server that passes each message on to all others, unless it lies to one of them. `lie` is
/// asked with the number of the message and the place of the receiver, for how often it has it:
/// again after the next message has been passed on.
fn relay(connections: usize, lie: fn(u64, usize) -> usize) -> String {
    let members: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let late: Arc<Mutex<Vec<Letter>>> = Arc::default();
    let messages = Arc::new(AtomicU64::new(0));
    serve_all(connections, move |mut stream| {
        let me = stream.peer_addr().unwrap();
        accept(&mut stream, "");
        members.lock().unwrap().push(stream.try_clone().unwrap());
        answer_frames(stream, |_, Frame { first, payload }, _| {
            let number = messages.fetch_add(1, Ordering::Relaxed);
            let mut bytes = vec![first, payload.len() as u8];
            bytes.extend(payload);
            let mut members = members.lock().unwrap();
            let others = members.iter_mut().filter(|m| m.peer_addr().is_ok_and(|a| a != me));
            let mut later = Vec::new();
            for (place, member) in others.enumerate() {
                let copies = lie(number, place);
                if copies > 0 {
                    let _ = member.write_all(&bytes);
                }
                later.extend((1..copies).map(|_| (member.try_clone().unwrap(), bytes.clone())));
            }
            for (mut member, bytes) in std::mem::replace(&mut *late.lock().unwrap(), later) {
                let _ = member.write_all(&bytes);
            }
        });
    })
}

fn report(arguments: &str) -> (Option<i32>, String) {
    said(bench(arguments))
}

#[test]
fn all_others_receive_each_message() {
    for threads in ["", "-t 2", "-t 3 --text -s 100 --poisson"] {
        let (code, text) =
            report(&format!("-c 20 -d 200ms --publishers 3 -R 300 --drain 1s {threads}"));
        assert!(matches!(code, Some(0 | 3)), "{text}");
        assert!(text.contains(" 0 missing"), "{text}");
        let line = text.lines().find(|line| line.contains("published")).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[0], words[3], "{text}");
        let [first, median, last] = ["first", "median", "last"].map(|name| Row::of(&text, name));
        assert!(first.p50.time <= median.p50.time && median.p50.time <= last.p50.time, "{text}");
    }
}

#[test]
fn who_misses_a_message_and_who_has_it_twice_is_counted() {
    let lie = |number: u64, place: usize| match (number % 10, place) {
        (3, 1) => 0,
        // Also when nobody misses the message, and when another one does.
        (3 | 7, 2) => 2,
        _ => 1,
    };
    let url = relay(6, lie);
    let (code, text) =
        report(&format!("-c 6 --publishers 1 -R 100 --warm-up 0 -d 1s --drain 300ms {url}"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("100 messages published, 90 received by all"), "{text}");
    assert!(text.contains("490 deliveries in 1.00 s, 10 missing"), "{text}");
    assert!(text.contains(" 20 repeated, 0 corrupt"), "{text}");
    assert!(text.contains("10 x message not delivered"), "{text}");
    // A message that one has missed has no last receiver, only an age.
    assert!(!Row::of(&text, "last").max.is_exact && Row::of(&text, "first").max.is_exact, "{text}");
}

#[test]
fn publishers_need_room_for_a_name() {
    let (code, text) = report("-c 5 --publishers 1 -R 10 -s 15");
    assert!(code == Some(1) && text.contains("give -s 16 or more"), "{text}");
}

//! Servers that lie: each fault of an echo is counted under its own name, as often as it was made.

mod support;

use std::{
    net::TcpStream,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use support::{Faults, Frame, answer, echo, failure, serve, serve_all};

/// What a server does to one message in so many.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Drop,
    Repeat,
    /// Answers it after the next one.
    Swap,
    Corrupt,
    OpCode,
}

/// An echo that tells `lie` about the messages that it is asked for; what it has told.
fn tell(stream: TcpStream, lie: impl Fn(u32) -> Option<Lie>) -> Faults {
    let mut told = Faults::default();
    let mut held: Option<Frame> = None;
    answer(stream, |number, mut frame, answers| {
        match lie(number) {
            Some(Lie::Drop) => {
                told.lost += 1;
                return;
            }
            Some(Lie::Swap) if held.is_none() => {
                held = Some(frame);
                return;
            }
            Some(Lie::Repeat) => {
                told.repeated += 1;
                answers.push(frame.clone());
            }
            Some(Lie::Corrupt) => {
                told.corrupt += 1;
                let place = number as usize % frame.payload.len();
                frame.payload[place] ^= 1 << (number % 7);
            }
            Some(Lie::OpCode) => {
                told.wrong_opcode += 1;
                // Binary for text.
                frame.first = 0x82;
            }
            Some(Lie::Swap) | None => {}
        }
        answers.push(frame);
        if let Some(frame) = held.take() {
            told.reordered += 1;
            answers.push(frame);
        }
    });
    told.lost += u64::from(held.is_some());
    told
}

/// Runs against a server that tells such lies, and compares what is counted with what was told.
#[track_caller]
fn expect_counted(arguments: &str, lie: impl Fn(u32) -> Option<Lie> + Send + 'static) {
    let (sender, told) = mpsc::channel();
    let url = serve(1, move |stream| {
        // The test may have failed.
        let _ = sender.send(tell(stream, &lie));
    });
    let length = if arguments.contains("-d ") { "" } else { "-d 250ms" };
    let text = failure(&format!(
        "-c 1 --text --answer-timeout 20ms --drain 500ms {length} {arguments} {url}"
    ));
    let told = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_ne!(told, Faults::default());
    assert_eq!(Faults::of(&text), told, "{text}");
}

/// Every 97th message of a closed loop with one and with eight in flight, and of an open loop.
#[track_caller]
fn expect_each_counted(lie: Lie) {
    for arguments in ["", "--depth 8", "-R 3000"] {
        expect_counted(arguments, move |number| (number % 97 == 42).then_some(lie));
    }
}

#[test]
fn lost_messages_are_counted_and_do_not_stop_a_closed_loop() {
    expect_each_counted(Lie::Drop);
}

#[test]
fn repeated_echoes_are_counted() {
    expect_each_counted(Lie::Repeat);
}

#[test]
fn swapped_echoes_are_counted() {
    expect_each_counted(Lie::Swap);
}

#[test]
fn corrupt_echoes_are_counted_whichever_byte_it_is() {
    expect_each_counted(Lie::Corrupt);
}

#[test]
fn echoes_with_the_wrong_opcode_are_counted() {
    expect_each_counted(Lie::OpCode);
}

#[test]
fn all_faults_together_are_counted_apart() {
    let lies = [Lie::Drop, Lie::Repeat, Lie::Swap, Lie::Corrupt, Lie::OpCode];
    for arguments in ["--depth 16", "-R 5000", "--depth 3 -s 120 --driver io-uring"] {
        expect_counted(arguments, move |number| {
            (number % 17 == 11).then(|| lies[number as usize / 17 % 5])
        });
    }
}

/// Few enough to be hidden by anything that is not exact.
#[test]
fn one_lie_in_ten_thousand_messages_is_counted() {
    let lies = [Lie::Drop, Lie::Repeat, Lie::Swap, Lie::Corrupt, Lie::OpCode];
    expect_counted("-d 2s -R 30000", move |number| {
        (number % 10_000 == 4242).then(|| lies[number as usize / 10_000 % 5])
    });
}

#[test]
fn a_server_that_answers_nothing_leaves_all_unanswered() {
    expect_counted("--depth 2", |_| Some(Lie::Drop));
}

#[test]
fn a_server_that_answers_nothing_is_not_sent_messages_without_end() {
    let url = serve(1, |stream| answer(stream, |_, _, _| {}));
    let text = failure(&format!("-c 1 --depth 16 --answer-timeout 0 --drain 0 {url}"));
    // Those in flight, and 256 in the place of earlier ones.
    assert_eq!(Faults::of(&text).lost, 272, "{text}");
}

#[test]
fn echoes_of_another_connection_are_counted() {
    let (sender, told) = mpsc::channel();
    let astray = Arc::new(Mutex::new(None));
    let url = serve_all(2, move |stream| {
        let me = stream.peer_addr().unwrap();
        let mut told = 0;
        answer(stream, |_, frame, answers| {
            let mut astray = astray.lock().unwrap();
            if let Some((_, frame)) = astray.take_if(|(owner, _)| *owner != me) {
                told += 1;
                answers.push(frame);
            }
            astray.get_or_insert_with(|| (me, frame.clone()));
            answers.push(frame);
        });
        let _ = sender.send(told);
    });
    let text = failure(&format!("-c 2 -R 500 {url}"));
    let told: u32 = told.iter().take(2).sum();
    assert!(text.contains(&format!(" {told} x echo of another connection")), "{text}");
    assert_eq!(Faults::of(&text), Faults::default(), "{text}");
}

#[test]
fn short_payloads_are_compared_with_the_one_that_is_due() {
    let url =
        serve(1, |stream| echo(stream, |number, payload| payload[2] ^= u8::from(number % 50 == 7)));
    let text = failure(&format!("-c 1 -s 15 {url}"));
    assert!(text.contains("corrupt; without a number to tell lost or reordered"), "{text}");
    assert!(text.contains("x echo with wrong content"), "{text}");
}

//! Servers whose times are known beforehand: the report says what arithmetic says.

mod support;

use std::time::Duration;

use support::{Row, answer, failure, serve};

#[test]
fn unanswered_messages_count_with_their_age() {
    // 120 messages behind 24 of the warm-up, of which the second half is not answered.
    let url = serve(1, |stream| {
        answer(stream, |number, frame, answers| {
            if number < 84 {
                answers.push(frame);
            }
        });
    });
    let text = failure(&format!("-c 1 -R 240 --drain 300ms {url}"));
    for name in ["response", "service"] {
        let row = Row::of(&text, name);
        assert!(row.p50.is_exact && row.p50.time < Duration::from_millis(300), "{text}");
        // The oldest was sent 250 ms before the end.
        assert!(!row.p90.is_exact && row.p90.time > Duration::from_millis(450), "{text}");
        assert!(!row.max.is_exact && row.max.time > Duration::from_millis(545), "{text}");
    }
    assert!(text.contains("60 x message without an answer"), "{text}");
}

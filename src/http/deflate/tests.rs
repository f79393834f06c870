//! Which offers are accepted and how, and which answers a client takes.

use super::*;
use crate::http::headers::HeaderSlots;

const FRESH: DeflatePolicy = DeflatePolicy {
    server_context_takeover: false,
    client_context_takeover: false,
    server_window_bits: 15,
};
const KEPT: DeflatePolicy =
    DeflatePolicy { server_context_takeover: true, client_context_takeover: true, ..FRESH };

fn with_extensions<T>(lines: &[&str], test: impl FnOnce(&Extensions<'_>) -> T) -> T {
    let fields: String =
        lines.iter().map(|line| format!("Sec-WebSocket-Extensions: {line}\r\n")).collect();
    let fields = fields + "\r\n";
    let mut slots = HeaderSlots::new();
    let headers = slots.parse(fields.as_bytes(), 100).expect("valid");
    test(&Extensions::validate(headers).expect("valid"))
}

fn answer(offers: &[&str], policy: &DeflatePolicy) -> Option<String> {
    with_extensions(offers, |offers| {
        DeflateParams::negotiate(offers, policy).map(|params| params.to_string())
    })
}

#[test]
fn each_parameter_is_answered_as_its_section_says() {
    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (offer, fresh, kept) in [
        ("", "", ""),
        ("; server_no_context_takeover", "", "; server_no_context_takeover"),
        ("; client_no_context_takeover", "", "; client_no_context_takeover"),
        ("; server_max_window_bits=9", "; server_max_window_bits=9", "; server_max_window_bits=9"),
        (
            "; server_max_window_bits=\"15\"",
            "; server_max_window_bits=15",
            "; server_max_window_bits=15",
        ),
        ("; client_max_window_bits", "", ""),
        ("; client_max_window_bits=8", "", ""),
        ("; client_max_window_bits=15", "", ""),
    ] {
        let offer = format!("permessage-deflate{offer}");
        assert_eq!(answer(&[&offer], &FRESH), Some(format!("{BOTH}{fresh}")), "{offer}");
        assert_eq!(answer(&[&offer], &KEPT), Some(format!("permessage-deflate{kept}")), "{offer}");
    }
}

#[test]
fn a_smaller_window_of_our_own_is_said() {
    let policy = DeflatePolicy { server_window_bits: 10, ..KEPT };
    for (offer, bits) in
        [("", 10), ("; server_max_window_bits=9", 9), ("; server_max_window_bits=15", 10)]
    {
        assert_eq!(
            answer(&[&format!("permessage-deflate{offer}")], &policy),
            Some(format!("permessage-deflate; server_max_window_bits={bits}"))
        );
    }
}

#[test]
fn an_offer_that_is_not_understood_or_cannot_be_kept_is_declined() {
    for params in [
        "unknown",
        "unknown=1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=8",
        "server_max_window_bits=08",
        "server_max_window_bits=09",
        "server_max_window_bits=16",
        "server_max_window_bits=+9",
        "server_max_window_bits=10; server_max_window_bits=10",
        "server_max_window_bits=9x",
        "server_max_window_bits=100",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=010",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=10",
        "Server_No_Context_Takeover",
    ] {
        assert_eq!(answer(&[&format!("permessage-deflate; {params}")], &KEPT), None, "{params}");
    }
    for name in ["x-webkit-deflate-frame", "Permessage-Deflate", "permessage-bzip2", "constructor"]
    {
        assert_eq!(answer(&[name], &KEPT), None, "{name}");
    }
    assert_eq!(answer(&[], &KEPT), None);
}

#[test]
fn the_first_acceptable_offer_is_taken() {
    let expected = Some("permessage-deflate; server_max_window_bits=10".to_owned());
    for offers in [
        &[
            "permessage-deflate; x, permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ][..],
        &[
            "other; a=b",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=10",
        ],
    ] {
        assert_eq!(answer(offers, &KEPT), expected, "{offers:?}");
    }
}

#[test]
fn a_client_takes_only_answers_to_its_offer() {
    let plain = DeflateParams::default();
    let any = DeflateParams { client_max_window_bits: Some(DeflateParams::ANY_WINDOW), ..plain };
    let some = DeflateParams { client_max_window_bits: Some(12), ..plain };
    let small = DeflateParams { server_max_window_bits: Some(10), ..plain };
    let fresh = DeflateParams { server_no_context_takeover: true, ..plain };
    for (offer, answer, is_taken) in [
        (plain, "permessage-deflate", true),
        (plain, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", true),
        (plain, "permessage-deflate; server_max_window_bits=8", true),
        (plain, "permessage-deflate; client_max_window_bits=15", false),
        (any, "permessage-deflate; client_max_window_bits=8", true),
        (any, "permessage-deflate; client_max_window_bits", false),
        (some, "permessage-deflate; client_max_window_bits=12", true),
        (some, "permessage-deflate; client_max_window_bits=13", false),
        (small, "permessage-deflate; server_max_window_bits=10", true),
        (small, "permessage-deflate; server_max_window_bits=11", false),
        (small, "permessage-deflate", false),
        (fresh, "permessage-deflate; server_no_context_takeover", true),
        (fresh, "permessage-deflate", false),
        (plain, "permessage-deflate; unknown", false),
        (
            plain,
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            false,
        ),
        (plain, "permessage-deflate, permessage-deflate", false),
        (plain, "other", false),
        (plain, "permessage-deflate, other", false),
    ] {
        let agreed = with_extensions(&[answer], |answer| offer.agreed(answer));
        assert_eq!(agreed.is_ok(), is_taken, "{offer}: {answer}");
    }
    assert_eq!(with_extensions(&[], |answer| plain.agreed(answer)), Ok(None));
}

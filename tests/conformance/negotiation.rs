//! RFC 7692 sections 5 and 7: which offers of permessage-deflate are accepted, and how.

use wireloop::{Config, Routes};

use super::{
    compression::{OFFER, answer, kept},
    echo,
    support::{config, serve, serve_with},
};

const FRESH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Offers, and what is answered by a server that keeps no context and by one that does.
#[track_caller]
fn expect_answers(cases: &[(&str, Option<&str>, Option<&str>)]) {
    for (config, of_kept) in [(Config::default(), false), (kept(), true)] {
        serve_with(config, echo, |server| {
            for (offer, fresh, kept) in cases {
                let expected = if of_kept { kept } else { fresh };
                let found = answer(&mut server.connect(), "/", offer);
                assert_eq!(found.as_deref(), *expected, "{offer}");
            }
        });
    }
}

#[test]
fn rfc7692_5_the_first_acceptable_offer_is_taken() {
    let small = "permessage-deflate; server_max_window_bits=10";
    let fresh = format!("{FRESH}; server_max_window_bits=10");
    expect_answers(&[
        (
            "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=10",
            Some(&fresh),
            Some(small),
        ),
        (
            "x-other, permessage-deflate; server_max_window_bits=10, permessage-deflate",
            Some(&fresh),
            Some(small),
        ),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10",
            Some(&fresh),
            Some(small),
        ),
    ]);
}

#[test]
fn rfc7692_5_offers_may_stand_on_several_lines() {
    serve(echo, |server| {
        let lines = "x-other; a=b\r\nSec-WebSocket-Extensions: permessage-deflate";
        assert_eq!(answer(&mut server.connect(), "/", lines).as_deref(), Some(FRESH));
    });
}

#[test]
fn rfc7692_7_invalid_parameters_are_declined() {
    let params = [
        "unknown",
        "server_no_context_takeover=1",
        "client_no_context_takeover=\"x\"",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits; client_max_window_bits",
        "server_max_window_bits=10; server_max_window_bits=10",
        "server_max_window_bits",
        "server_max_window_bits=x",
        "server_max_window_bits=-9",
        "server_max_window_bits=1000000000000000000000",
    ];
    let offers: Vec<_> =
        params.iter().map(|param| format!("permessage-deflate; {param}")).collect();
    let cases: Vec<_> = offers.iter().map(|offer| (offer.as_str(), None, None)).collect();
    expect_answers(&cases);
}

#[test]
fn rfc7692_7_1_1_1_the_client_decides_on_the_servers_context() {
    expect_answers(&[
        ("permessage-deflate", Some(FRESH), Some("permessage-deflate")),
        (
            "permessage-deflate; server_no_context_takeover",
            Some(FRESH),
            Some("permessage-deflate; server_no_context_takeover"),
        ),
    ]);
}

#[test]
fn rfc7692_7_1_1_2_the_client_may_give_up_its_context() {
    expect_answers(&[(
        "permessage-deflate; client_no_context_takeover",
        Some(FRESH),
        Some("permessage-deflate; client_no_context_takeover"),
    )]);
}

/// Undici CVE-2026-2229: values beyond the range were not caught.
#[test]
fn rfc7692_7_1_2_window_bits_are_8_to_15_without_a_leading_zero() {
    let values = ["7", "16", "0", "08", "09", "010", "1", "99", "-8", "9.0", "0x9"];
    let names = ["server_max_window_bits", "client_max_window_bits"];
    let offers: Vec<_> = names
        .iter()
        .flat_map(|name| {
            values.iter().map(move |value| format!("permessage-deflate; {name}={value}"))
        })
        .collect();
    let cases: Vec<_> = offers.iter().map(|offer| (offer.as_str(), None, None)).collect();
    expect_answers(&cases);
}

#[test]
fn rfc7692_7_1_2_2_the_clients_window_is_not_restricted() {
    let offers: Vec<_> = ["", "=8", "=9", "=15"]
        .iter()
        .map(|value| format!("permessage-deflate; client_max_window_bits{value}"))
        .collect();
    let cases: Vec<_> = offers
        .iter()
        .map(|offer| (offer.as_str(), Some(FRESH), Some("permessage-deflate")))
        .collect();
    expect_answers(&cases);
}

/// The names of a JavaScript object's own properties crashed `ws` in 2017.
#[test]
fn ws_2017_extensions_with_special_names_are_ignored() {
    for name in ["constructor", "toString", "__proto__", "hasOwnProperty", "permessage-bzip2"] {
        expect_answers(&[(name, None, None)]);
    }
}

/// RFC 7692 section 8, CRIME and BREACH: a session can do without.
#[test]
fn rfc7692_8_a_route_can_decline_compression() {
    let routes = || {
        Routes::new().websocket("/", |_request, protocols| {
            Ok(protocols.none().uncompressed().session(wireloop::Echo))
        })
    };
    serve(routes, |server| assert_eq!(answer(&mut server.connect(), "/", OFFER), None));
}

#[test]
fn rfc7692_compression_can_be_turned_off() {
    let off = config(|config| config.compression = None);
    serve_with(off, echo, |server| {
        assert_eq!(answer(&mut server.connect(), "/", OFFER), None);
    });
}

#[test]
fn rfc7692_7_1_2_1_a_window_of_256_bytes_is_declined() {
    // It cannot be written with zlib's format.
    expect_answers(&[("permessage-deflate; server_max_window_bits=8", None, None)]);
}

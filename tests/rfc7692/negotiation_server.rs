//! §5 and §7.1: what a server makes of what it is offered, and the very bytes that it answers.

use super::{NO_TAKEOVER, RESPONSE, offered, with_contexts, with_lines};
use crate::duo::{Duo, REQUEST, show};
use sockeye::Config;

#[track_caller]
fn expect_answer(lines: &[&str], configure: impl FnOnce(&mut Config), answer: Option<&str>) {
    let mut server = Duo::accepted(configure);
    server.feed(&with_lines(REQUEST, lines)).expect_opened(None);
    let wanted = answer.map_or(RESPONSE.to_vec(), |answer| with_lines(RESPONSE, &[answer]));
    let bytes = server.take_bytes();
    assert!(bytes == wanted, "{lines:?} is answered by {}", show(&bytes));
}

fn by_default(_: &mut Config) {}

#[test]
fn s7_1_1_without_a_budget_every_offer_is_answered_without_context_takeover() {
    for offer in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=15",
        "permessage-deflate;client_max_window_bits ; server_no_context_takeover",
    ] {
        expect_answer(&[offer], by_default, Some(NO_TAKEOVER));
    }
}

#[test]
fn s7_1_1_with_a_budget_context_takeover_is_agreed_to_unless_one_side_is_to_do_without() {
    for offer in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover",
        NO_TAKEOVER,
    ] {
        expect_answer(&[offer], with_contexts, Some(offer));
    }
}

#[test]
fn s7_1_2_1_the_servers_window_is_as_small_as_the_client_asks() {
    for bits in 9..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        expect_answer(&[&offer], with_contexts, Some(&offer));
        expect_answer(&[&offer], by_default, Some(&format!("{NO_TAKEOVER}; server_max_window_bits={bits}")));
    }
}

#[test]
fn s7_1_2_1_a_window_of_8_bits_is_declined_and_the_next_offer_is_tried() {
    expect_answer(&["permessage-deflate; server_max_window_bits=8"], by_default, None);
    expect_answer(
        &["permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9"],
        with_contexts,
        Some("permessage-deflate; server_max_window_bits=9"),
    );
    expect_answer(
        &["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
        by_default,
        Some(NO_TAKEOVER),
    );
}

#[test]
fn s7_1_2_1_the_setting_for_the_servers_window_is_told_though_nobody_asked() {
    let small = |config: &mut Config| {
        with_contexts(config);
        config.deflate.window_bits_max = 11;
    };
    expect_answer(&["permessage-deflate"], small, Some("permessage-deflate; server_max_window_bits=11"));
    for (asked, told) in [(15, 11), (12, 11), (11, 11), (10, 10), (9, 9)] {
        expect_answer(
            &[&format!("permessage-deflate; server_max_window_bits={asked}")],
            small,
            Some(&format!("permessage-deflate; server_max_window_bits={told}")),
        );
    }
}

#[test]
fn s7_1_2_2_the_clients_window_is_answered_only_to_a_client_that_offers_it() {
    let small = |config: &mut Config| {
        with_contexts(config);
        config.deflate.peer_window_bits_max = 10;
    };
    expect_answer(&["permessage-deflate"], small, Some("permessage-deflate"));
    for (offer, told) in [("", 10), ("=15", 10), ("=11", 10), ("=10", 10), ("=9", 9), ("=8", 8)] {
        expect_answer(
            &[&format!("permessage-deflate; client_max_window_bits{offer}")],
            small,
            Some(&format!("permessage-deflate; client_max_window_bits={told}")),
        );
    }
    // Where any will do, nothing has to be said, but what the client says itself.
    expect_answer(&["permessage-deflate; client_max_window_bits"], with_contexts, Some("permessage-deflate"));
    expect_answer(
        &["permessage-deflate; client_max_window_bits=12"],
        with_contexts,
        Some("permessage-deflate; client_max_window_bits=12"),
    );
}

#[test]
fn s7_1_all_four_parameters_at_once_are_answered_in_one_order() {
    let all = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
               server_max_window_bits=10; client_max_window_bits=11";
    expect_answer(
        &[
            "permessage-deflate ;client_max_window_bits=11; server_max_window_bits=10;client_no_context_takeover; \
           server_no_context_takeover",
        ],
        with_contexts,
        Some(all),
    );
}

#[test]
fn s5_the_first_offer_that_can_be_accepted_is_and_others_are_not_looked_at() {
    expect_answer(
        &["permessage-deflate; server_max_window_bits=12, permessage-deflate; server_max_window_bits=10"],
        with_contexts,
        Some("permessage-deflate; server_max_window_bits=12"),
    );
    expect_answer(&["foo, permessage-deflate; bar, permessage-deflate, x"], by_default, Some(NO_TAKEOVER));
}

#[test]
fn s9_1_of_rfc6455_offers_over_several_lines_are_one_list() {
    expect_answer(
        &[
            "foo; bar",
            "permessage-deflate; x",
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate",
        ],
        with_contexts,
        Some("permessage-deflate; server_max_window_bits=9"),
    );
    expect_answer(&["", " , ", "permessage-deflate"], by_default, Some(NO_TAKEOVER));
}

#[test]
fn s7_1_an_offer_with_a_parameter_that_is_unknown_twice_or_wrong_is_declined() {
    for bad in [
        "unknown",
        "unknown=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits=10; client_max_window_bits=11",
        "server_no_context_takeover=1",
        "server_no_context_takeover=true",
        "client_no_context_takeover=\"x\"",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "server_max_window_bits=015",
        "server_max_window_bits=+9",
        "server_max_window_bits=9.0",
        "server_max_window_bits=0x9",
        "server_max_window_bits=256",
        "server_max_window_bits=4294967305",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=08",
        "client_max_window_bits=1e1",
        "SERVER_MAX_WINDOW_BITS=9",
        "server_max_window_bits=\"16\"",
    ] {
        let offer = format!("permessage-deflate; {bad}");
        expect_answer(&[&offer], by_default, None);
        expect_answer(&[&offer], with_contexts, None);
        let next = format!("{offer}, permessage-deflate; client_no_context_takeover");
        expect_answer(&[&next], with_contexts, Some("permessage-deflate; client_no_context_takeover"));
        expect_answer(&[&offer, "permessage-deflate"], by_default, Some(NO_TAKEOVER));
    }
    // Another extension, however it is called.
    for other in
        ["x-webkit-deflate-frame", "permessage-deflate2", "permessage-bzip2", "Permessage", "deflate"]
    {
        expect_answer(&[other], by_default, None);
    }
}

#[test]
fn s9_1_of_rfc6455_values_may_be_quoted() {
    for offer in [
        "permessage-deflate; server_max_window_bits=\"10\"",
        "permessage-deflate; server_max_window_bits=\"1\\0\"",
        "permessage-deflate ; server_max_window_bits = 10",
    ] {
        expect_answer(&[offer], with_contexts, Some("permessage-deflate; server_max_window_bits=10"));
    }
}

#[test]
fn s9_1_of_rfc6455_what_is_no_list_of_extensions_is_refused_with_400() {
    for line in
        ["permessage-deflate; server_max_window_bits=", "permessage-deflate; a=\"", "permessage-deflate;"]
    {
        let mut server = Duo::accepted(by_default);
        server.feed(&with_lines(REQUEST, &[line])).expect_refusal(400);
    }
}

#[test]
fn s5_where_it_is_switched_off_or_not_offered_nothing_is_agreed() {
    let off = |config: &mut Config| config.deflate.enabled = false;
    expect_answer(&["permessage-deflate; client_max_window_bits"], off, None);
    expect_answer(&[], with_contexts, None);
    // And nothing is compressed, nor may be.
    let mut server = offered("permessage-deflate", off);
    server.expect_bytes(RESPONSE);
    assert!(server.send(&"a".repeat(1_000)[..]));
    server.expect_frame(0x81, "a".repeat(1_000).as_bytes());
    server.feed_frame(0xc1, super::HELLO).expect_fault(
        sockeye::Fault::ReservedBits { bits: 4 },
        1002,
        "peer sent RSV1; compression was not negotiated",
    );
}

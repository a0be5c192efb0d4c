//! §5 and §7.1: what a client offers, to the byte, and which answers it takes.

use super::{NO_TAKEOVER, RESPONSE, client, sent, with_contexts, with_lines};
use crate::duo::{Duo, Event};
use sockeye::{
    ClientRequest, Config, ConnectionState,
    wire::{extension::AnswerError, handshake::ResponseError},
};

fn by_default(_: &mut Config) {}

#[track_caller]
fn expect_offer(configure: impl FnOnce(&mut Config), offer: Option<&str>) {
    let mut client = Duo::dialled(ClientRequest::default(), configure);
    let request = String::from_utf8(client.take_bytes()).unwrap();
    let lines: Vec<&str> =
        request.split("\r\n").filter_map(|l| l.strip_prefix("Sec-WebSocket-Extensions: ")).collect();
    assert_eq!(lines, Vec::from_iter(offer));
}

#[test]
fn s7_1_a_client_offers_what_its_settings_say() {
    expect_offer(
        by_default,
        Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        ),
    );
    expect_offer(with_contexts, Some("permessage-deflate; client_max_window_bits"));
    expect_offer(|config| config.deflate.enabled = false, None);
    let smaller = |config: &mut Config| {
        with_contexts(config);
        (config.deflate.window_bits_max, config.deflate.peer_window_bits_max) = (12, 10);
    };
    expect_offer(smaller, Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=12"));
    // Less than the two contexts of a connection is no budget for them.
    let tight = |config: &mut Config| config.limits.deflate_context_bytes_max = 400_000;
    expect_offer(
        tight,
        Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        ),
    );
}

#[track_caller]
fn expect_taken(configure: impl FnOnce(&mut Config), answer: &[&str]) -> Duo {
    let mut client = Duo::dialled(ClientRequest::default(), configure);
    client.take_bytes();
    client.feed(&with_lines(RESPONSE, answer)).expect_opened(None).expect_silence();
    client
}

#[track_caller]
fn expect_failed(configure: impl FnOnce(&mut Config), answer: &[&str], error: AnswerError) {
    let mut client = Duo::dialled(ClientRequest::default(), configure);
    client.take_bytes();
    client.feed(&with_lines(RESPONSE, answer)).expect(Event::Failed(ResponseError::Extension(error)));
    client.expect_silence();
    assert_eq!(client.state(), ConnectionState::Closed, "{answer:?}");
}

#[test]
fn s7_1_every_answer_that_an_offer_allows_is_taken() {
    for answer in [
        NO_TAKEOVER,
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate;client_no_context_takeover;server_no_context_takeover; server_max_window_bits=8",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=\"9\"; client_max_window_bits=8",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=15",
        "  ,permessage-deflate ; server_no_context_takeover, ",
    ] {
        expect_taken(by_default, &[answer]);
    }
    for answer in ["permessage-deflate", NO_TAKEOVER, "permessage-deflate; client_max_window_bits=9"] {
        expect_taken(with_contexts, &[answer]);
        expect_taken(with_contexts, &["", answer]);
    }
}

#[test]
fn s7_1_an_answer_that_was_not_offered_fails_the_connection() {
    use AnswerError::{NotOffered, Parameter, Twice};
    let smaller = |config: &mut Config| {
        with_contexts(config);
        (config.deflate.window_bits_max, config.deflate.peer_window_bits_max) = (12, 10);
    };
    for (answer, error) in [
        // §7.1.1.1: it was asked for, and is not promised.
        ("permessage-deflate", Parameter("server_no_context_takeover")),
        ("permessage-deflate; client_no_context_takeover", Parameter("server_no_context_takeover")),
        (
            "permessage-deflate; server_no_context_takeover; client_max_window_bits",
            Parameter("client_max_window_bits"),
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits",
            Parameter("server_max_window_bits"),
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=16",
            Parameter("server_max_window_bits"),
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=7",
            Parameter("server_max_window_bits"),
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=010",
            Parameter("client_max_window_bits"),
        ),
        ("permessage-deflate; server_no_context_takeover=1", Parameter("server_no_context_takeover")),
        (
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            Parameter("server_no_context_takeover"),
        ),
        ("permessage-deflate; server_no_context_takeover; x", Parameter("?")),
        ("permessage-bzip2", NotOffered),
        ("x-webkit-deflate-frame", NotOffered),
        ("permessage-deflate;", NotOffered),
    ] {
        expect_failed(by_default, &[answer], error);
    }
    expect_failed(by_default, &[NO_TAKEOVER, NO_TAKEOVER], Twice);
    expect_failed(by_default, &[NO_TAKEOVER, "foo"], NotOffered);
    for (answer, error) in [
        ("permessage-deflate", Parameter("server_max_window_bits")), // it was asked for 10 bits
        ("permessage-deflate; server_max_window_bits=11", Parameter("server_max_window_bits")),
        (
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=13",
            Parameter("client_max_window_bits"),
        ),
    ] {
        expect_failed(smaller, &[answer], error);
    }
    expect_taken(smaller, &["permessage-deflate; server_max_window_bits=10; client_max_window_bits=12"]);
    expect_failed(|config| config.deflate.enabled = false, &[NO_TAKEOVER], NotOffered);
}

#[test]
fn s7_1_what_is_wrong_with_an_answer_is_said() {
    let texts = [
        (AnswerError::NotOffered, "the server uses an extension that was not offered"),
        (AnswerError::Twice, "the server answers permessage-deflate twice"),
        (
            AnswerError::Parameter("server_max_window_bits"),
            "the server answers permessage-deflate with server_max_window_bits not as it was offered",
        ),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn s5_1_a_server_that_declines_is_sent_nothing_compressed_and_may_send_nothing_so() {
    let mut client = expect_taken(with_contexts, &[]);
    assert!(client.send("Hello Hello Hello Hello"));
    client.expect_frame(0x81, b"Hello Hello Hello Hello");
    client.feed(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00").expect_fault(
        sockeye::Fault::ReservedBits { bits: 4 },
        1002,
        "peer sent RSV1; compression was not negotiated",
    );
}

#[test]
fn s7_1_2_2_a_client_that_is_to_use_8_bits_compresses_nothing() {
    let answer = "permessage-deflate; client_max_window_bits=8";
    let mut client = client(answer, with_contexts);
    assert!(client.send("Hello Hello Hello Hello"));
    assert_eq!(sent(&mut client), (0x81, b"Hello Hello Hello Hello".to_vec()));
    client.feed(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00").expect_text("Hello");
}

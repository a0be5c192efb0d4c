//! §4.1: what a client asks for, and which answers it takes.

use crate::duo::{Duo, Event, RESPONSE, show};
use sockeye::{ClientRequest, ConnectionState, Ending, Expired, ResponseError, wire::extension::AnswerError};

fn dialled() -> Duo {
    let mut client = Duo::dialled(ClientRequest::default(), |_| {});
    client.take_bytes();
    client
}

/// [`RESPONSE`] with `from` replaced by `to`.
fn response(from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(RESPONSE).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to).into_bytes()
}

/// [`RESPONSE`] with further lines.
fn response_with(lines: &str) -> Vec<u8> {
    response("\r\n\r\n", &format!("\r\n{lines}\r\n"))
}

#[track_caller]
fn accepts(response: &[u8]) {
    let mut client = dialled();
    client.feed(&[response, b"\x81\x02hi"].concat());
    assert_eq!(client.trace, [Event::Opened(None), Event::Text("hi".to_owned())], "{}", show(response));
    assert_eq!(client.state(), ConnectionState::Open);
    client.expect_opened(None).expect_text("hi").expect_silence();
}

#[track_caller]
fn fails(response: &[u8], error: ResponseError) {
    let mut client = dialled();
    client.feed(&[response, b"\x81\x02hi"].concat());
    assert_eq!(client.trace, [Event::Failed(error.clone())], "{}", show(response));
    client.expect(Event::Failed(error)).expect_silence();
}

// ------------------------------------------------------------------ the request

#[test]
fn s4_1_the_request_is_exactly_these_bytes() {
    let request = ClientRequest {
        target: "/chat?room=1".into(),
        host: "example.com:81".into(),
        subprotocols: vec!["chat".into(), "superchat".into()],
        headers: vec![("Origin".into(), "http://example.com".into())],
    };
    let mut client = Duo::dialled(request, |config| config.deflate.enabled = false);
    client.expect_bytes(
        b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n",
    );
}

#[test]
fn s4_1_item_7_each_connection_has_a_nonce_of_its_own() {
    use sockeye::{Commons, Config, Connection, Now};
    let mut commons = Commons::new(&Config::default(), crate::duo::entropy);
    let mut keys = std::collections::HashSet::new();
    for _ in 0..8 {
        let mut out = Vec::new();
        Connection::client(Now::default(), ClientRequest::default(), &mut commons, &mut out);
        let text = String::from_utf8(out).unwrap();
        let key = text.split("\r\n").find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        assert!(key.len() == 24 && keys.insert(key.to_owned()), "{key}");
    }
}

#[test]
fn s4_1_nothing_is_sent_between_the_request_and_the_answer() {
    let mut client = dialled();
    assert!(!client.send("hi") && !client.ping(b"") && !client.pong(b"") && !client.close(1000, ""));
    let (last, rest) = RESPONSE.split_last().unwrap();
    for byte in rest {
        client.feed(&[*byte]).expect_silence().expect_no_message();
        assert_eq!(client.state(), ConnectionState::Handshake);
    }
    client.feed(&[*last]).expect_opened(None).expect_silence();
    assert!(client.send("hi"));
    client.expect_bytes(b"\x81\x82\x11\x12\x13\x14\x79\x7b");
}

// ------------------------------------------------------------------ the answer

#[test]
fn s4_1_an_answer_is_accepted_whatever_the_order_and_the_case_of_its_lines() {
    accepts(RESPONSE);
    accepts(
        b"HTTP/1.1 101 \r\nsec-websocket-accept:s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \t\r\nServer: x\r\n\
          CONNECTION: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\n\r\n",
    );
}

#[test]
fn s4_1_answer_1_a_status_other_than_101_fails_the_handshake() {
    for status in [100, 102, 200, 304, 400, 401, 404, 426, 503] {
        let bytes = response("101 Switching Protocols", &format!("{status} Whatever"));
        fails(&bytes, ResponseError::Status(status));
    }
}

#[test]
fn s4_1_answer_2_upgrade_is_there_and_is_websocket() {
    fails(&response("Upgrade: websocket\r\n", ""), ResponseError::Upgrade);
    for upgrade in ["h2c", "websocket2", "web socket", ""] {
        fails(&response("Upgrade: websocket", &format!("Upgrade: {upgrade}")), ResponseError::Upgrade);
    }
}

#[test]
fn s4_1_answer_2_upgrade_is_nothing_but_websocket() {
    // "if the |Upgrade| header field contains a value that is not an ASCII case-insensitive match for the value
    // "websocket", the client MUST _Fail the WebSocket Connection_"
    fails(&response("Upgrade: websocket", "Upgrade: websocket, h2c"), ResponseError::Upgrade);
    fails(&response("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"), ResponseError::Upgrade);
}

#[test]
fn s4_1_answer_3_connection_is_there_and_lists_upgrade() {
    fails(&response("Connection: Upgrade\r\n", ""), ResponseError::Connection);
    for connection in ["keep-alive", "Upgrades", ""] {
        fails(
            &response("Connection: Upgrade", &format!("Connection: {connection}")),
            ResponseError::Connection,
        );
    }
}

#[test]
fn s4_1_answer_4_the_accept_key_is_there_and_answers_ours() {
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    fails(&response(accept, ""), ResponseError::Accept);
    for other in [
        "",
        "HSmrc0sMlYUkAGmm5OPpG2HaGWk=",
        "dGhlIHNhbXBsZSBub25jZQ==",
        "s3pplmbitxaq9kygzzhzrbk+xoo=",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=, x",
        "\"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\"",
    ] {
        let bytes = response("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", other);
        fails(&bytes, ResponseError::Accept);
    }
    fails(&response_with(accept), ResponseError::Accept);
}

#[test]
fn s4_1_answer_5_an_extension_that_was_not_offered_fails_the_handshake() {
    for extension in ["permessage-deflate", "foo; bar=1", "permessage-deflate; server_no_context_takeover"] {
        let bytes = response_with(&format!("Sec-WebSocket-Extensions: {extension}\r\n"));
        let error = ResponseError::Extension(AnswerError::NotOffered);
        let mut client = Duo::dialled(ClientRequest::default(), |config| config.deflate.enabled = false);
        client.take_bytes();
        client.feed(&bytes).expect(Event::Failed(error)).expect_silence();
    }
}

#[test]
fn s4_1_answer_6_a_subprotocol_that_was_not_offered_fails_the_handshake() {
    fails(&response_with("Sec-WebSocket-Protocol: chat\r\n"), ResponseError::Subprotocol);
    let offering = || {
        let request =
            ClientRequest { subprotocols: vec!["chat".into(), "echo".into()], ..ClientRequest::default() };
        let mut client = Duo::dialled(request, |_| {});
        client.take_bytes();
        client
    };
    let mut client = offering();
    client.feed(&response_with("Sec-WebSocket-Protocol: echo\r\n")).expect_opened(Some("echo"));
    let mut client = offering();
    client.feed(RESPONSE).expect_opened(None);
    for line in ["x", "Echo", "chat, echo", "", "chat\r\nSec-WebSocket-Protocol: echo"] {
        let mut client = offering();
        client.feed(&response_with(&format!("Sec-WebSocket-Protocol: {line}\r\n")));
        client.expect(Event::Failed(ResponseError::Subprotocol)).expect_silence();
    }
}

#[test]
fn s4_1_an_answer_that_is_no_http_1_1_fails_the_handshake() {
    for line in
        ["HTTP/1.0 101 Switching Protocols", "HTTP/2.0 101 x", "SSH-2.0-x", "HTTP/1.1", "HTTP/1.1 1o1 x"]
    {
        let mut client = dialled();
        client.feed(&response("HTTP/1.1 101 Switching Protocols", line));
        let malformed = matches!(client.trace[..], [Event::Failed(ResponseError::Malformed(_))]);
        assert!(malformed, "{line}: {:?}", client.trace);
        client.dismiss();
    }
    let bare: Vec<u8> = RESPONSE.iter().copied().filter(|&byte| byte != b'\r').collect();
    fails(&bare, ResponseError::Malformed("a line does not end in CR LF"));
}

#[test]
fn s4_1_an_answer_above_head_bytes_max_fails_the_handshake() {
    let bytes = response_with(&format!("X: {}\r\n", "x".repeat(16_384)));
    fails(&bytes, ResponseError::HeadTooLarge { limit: 16_384 });
    let mut client = dialled();
    client.feed(&bytes[..16_384]).expect_silence().expect_no_message();
    client.feed(&bytes[16_384..]).expect(Event::Failed(ResponseError::HeadTooLarge { limit: 16_384 }));
}

#[test]
fn s7_1_7_a_client_whose_handshake_failed_is_closed_and_takes_nothing_more() {
    // `Step::Failed`: "the server's answer fails the handshake; the connection is closed".
    for bad in [response("101", "404"), response_with(&format!("X: {}\r\n", "x".repeat(16_384)))] {
        let mut client = dialled();
        client.feed(&bad);
        assert!(matches!(client.trace[..], [Event::Failed(_)]));
        client.dismiss();
        assert_eq!(client.state(), ConnectionState::Closed, "after {}", show(&bad));
        assert_eq!(client.ending(), Ending::Shutdown);
        client.feed(RESPONSE).feed(b"\x81\x02hi").expect_silence().expect_no_message();
    }
}

#[test]
fn s4_1_frames_behind_an_answer_that_came_in_pieces_are_delivered() {
    let mut client = dialled();
    client.feed(&RESPONSE[..50]).feed(&[&RESPONSE[50..], b"\x81\x02hi\x89\x01"].concat());
    client.expect_opened(None).expect_text("hi").expect_silence();
    client.feed(b"!").expect_bytes(b"\x8a\x81\x11\x12\x13\x14\x30");
}

#[test]
fn s4_1_an_answer_that_does_not_come_within_handshake_ms_max_is_not_waited_for() {
    let mut client = dialled();
    client.at(9_000).feed(&RESPONSE[..50]);
    assert_eq!(client.deadline(), Some(10_000));
    assert_eq!(client.expire_at(9_999), None);
    assert_eq!(client.expire_at(10_000), Some(Expired::Drop));
    client.expect_silence();
}

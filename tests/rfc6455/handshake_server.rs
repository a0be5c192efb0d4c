//! §4.2: what a server reads of the opening handshake, and what it answers.

use crate::duo::{
    Duo, Event, REQUEST, RESPONSE,
    drive::{Drive, Seen, echo},
    show,
};
use sockeye::{ConnectionState, Ending, Expired, Refusal, Upgrade};

/// [`REQUEST`] with `from` replaced by `to`.
fn request(from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(REQUEST).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to).into_bytes()
}

/// [`REQUEST`] with further lines.
fn request_with(lines: &str) -> Vec<u8> {
    request("Sec-WebSocket-Version: 13\r\n", &format!("Sec-WebSocket-Version: 13\r\n{lines}"))
}

#[track_caller]
fn accepts(request: &[u8]) {
    let mut server = Duo::accepted(|_| {});
    server.feed(request);
    assert_eq!(server.trace, [Event::Opened(None)], "{}", show(request));
    server.expect_opened(None).expect_bytes(RESPONSE);
}

#[track_caller]
fn refuses(request: &[u8], status: u16, text: &str) {
    let mut server = Duo::accepted(|_| {});
    server.feed(request);
    assert_eq!(server.trace, [Event::Refused(status)], "{}", show(request));
    let answer = server.expect_refusal(status);
    assert!(
        answer.contains("\r\nConnection: close\r\n") || answer.contains("\r\nConnection: Upgrade, close\r\n")
    );
    assert!(!answer.contains("Sec-WebSocket-Accept"), "{answer}");
    assert_eq!(answer.split("\r\n\r\n").nth(1), Some(format!("{text}\n").as_str()), "{}", show(request));
    // What follows is no frame and is answered by nothing.
    server.feed(b"\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0").expect_silence().expect_no_message();
}

// ------------------------------------------------------------------ what is accepted

#[test]
fn s1_3_the_request_of_the_rfc_is_answered_by_its_accept_key() {
    let sample =
        b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let mut drive = Drive::with(|config| config.subprotocols = vec!["chat".into()], echo);
    let id = drive.accept();
    drive.feed(id, sample).expect_seen(id, Seen::Open);
    drive.expect(
        id,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
    );
}

#[test]
fn s4_2_2_the_smallest_request_is_answered_by_exactly_these_bytes() {
    accepts(REQUEST);
}

#[test]
fn s4_2_2_the_accept_key_is_the_hash_of_the_key_as_it_stands() {
    let mut server = Duo::accepted(|_| {});
    server.feed(&request("dGhlIHNhbXBsZSBub25jZQ==", "x3JJHMbDL1EzLkh9GBhXDw==")).expect_opened(None);
    server.expect_bytes(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n",
    );
}

#[test]
fn s4_2_1_the_order_and_the_case_of_header_fields_do_not_matter() {
    accepts(
        b"GET / HTTP/1.1\r\nsec-websocket-version:13\r\nSEC-WEBSOCKET-KEY: \t dGhlIHNhbXBsZSBub25jZQ== \r\n\
          CONNECTION: UPGRADE\r\nupgrade:WebSocket\r\nhOST:a\r\n\r\n",
    );
}

#[test]
fn s4_2_1_unknown_header_fields_are_ignored() {
    accepts(&request_with("Cookie: a=b\r\nX-Whatever: \u{e9}\r\nAccept-Language: de\r\n"));
}

#[test]
fn s4_2_1_item_1_the_target_may_be_a_path_or_an_absolute_http_uri() {
    for target in ["/", "/chat?room=1&x=%20", "http://a/chat", "HTTPS://a:81/", "ws://a", "wss://a?x"] {
        accepts(&request("GET / ", &format!("GET {target} ")));
    }
}

#[test]
fn s4_2_1_items_3_and_4_upgrade_and_connection_are_lists_over_all_their_lines() {
    accepts(&request("Upgrade: websocket", "Upgrade: h2c, WebSocket"));
    accepts(&request("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"));
    accepts(&request("Connection: Upgrade", "Connection: keep-alive, Upgrade"));
    accepts(&request("Connection: Upgrade", "Connection: keep-alive\r\nConnection: ,,upgrade ,"));
}

#[test]
fn r9112_2_2_empty_lines_in_front_of_the_request_are_ignored() {
    accepts(&[b"\r\n\r\n", REQUEST].concat());
}

#[test]
fn s4_2_2_no_byte_is_sent_before_the_request_is_whole_and_one_answer_after() {
    let mut server = Duo::accepted(|_| {});
    let (last, rest) = REQUEST.split_last().unwrap();
    for byte in rest {
        server.feed(&[*byte]).expect_silence().expect_no_message();
        assert_eq!(server.state(), ConnectionState::Handshake);
    }
    server.feed(&[*last]).expect_opened(None).expect_bytes(RESPONSE);
    assert_eq!((server.state(), server.ending()), (ConnectionState::Open, Ending::Open));
}

#[test]
fn s4_2_2_bytes_behind_the_request_are_frames() {
    let mut server = Duo::accepted(|_| {});
    server.feed(&[REQUEST, b"\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0"].concat());
    server.expect_opened(None).expect_text("hi").expect_bytes(&[RESPONSE, b"\x8a\x00"].concat());
}

#[test]
fn s4_2_2_bytes_behind_a_request_that_came_in_pieces_are_frames() {
    let mut server = Duo::accepted(|_| {});
    server.feed(&REQUEST[..100]).feed(&[&REQUEST[100..], b"\x81\x82\0\0\0\0hi\x81"].concat());
    server.expect_opened(None).expect_text("hi").expect_bytes(RESPONSE);
    server.feed(b"\x81\0\0\0\0!").expect_text("!");
}

#[test]
fn s5_nothing_is_sent_before_the_handshake_is_over() {
    let mut server = Duo::accepted(|_| {});
    assert!(!server.send("hi") && !server.ping(b"") && !server.pong(b"") && !server.close(1000, ""));
    server.expect_silence();
}

// ------------------------------------------------------------------ what is refused

#[test]
fn s4_2_1_item_1_a_method_other_than_get_is_refused_with_405() {
    for method in ["POST", "OPTIONS", "CONNECT", "get"] {
        let bytes = request("GET /", &format!("{method} /"));
        refuses(&bytes, 405, "only GET is understood here");
    }
    let mut server = Duo::accepted(|_| {});
    assert!(server.feed(&request("GET", "PUT")).expect_refusal(405).contains("\r\nAllow: GET\r\n"));
}

#[test]
fn r9110_9_3_2_the_answer_to_head_has_no_content() {
    let mut server = Duo::accepted(|_| {});
    server.feed(&request("GET", "HEAD")).expect(Event::Refused(405));
    let answer = String::from_utf8(server.take_bytes()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn s4_2_1_item_1_a_version_other_than_http_1_1_is_refused_with_505() {
    for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"] {
        refuses(&request("HTTP/1.1", version), 505, "only HTTP/1.1 is spoken here");
    }
}

#[test]
fn s4_2_1_item_1_a_target_of_another_form_is_refused() {
    let text = "malformed request: the target is neither a path nor an http or ws URI";
    for target in ["*", "a:80", "ftp://a/", "/a#fragment", "chat", "http:///chat", "ws://"] {
        refuses(&request("GET / ", &format!("GET {target} ")), 400, text);
    }
}

#[test]
fn s4_2_1_item_2_there_is_exactly_one_valid_host() {
    refuses(&request("Host: a\r\n", ""), 400, "malformed request: there is no Host");
    refuses(&request("Host: a", "Host: a\r\nHost: a"), 400, "malformed request: there is more than one Host");
    for host in ["", "a b", "a/b", "user@a", "a:port", "[::1", ":80"] {
        let bytes = request("Host: a", &format!("Host: {host}"));
        refuses(&bytes, 400, "malformed request: Host is no host and port");
    }
}

#[test]
fn s4_2_1_item_3_without_upgrade_to_websocket_it_is_plain_http_and_told_so() {
    let text = "this is a WebSocket endpoint: connect with ws://";
    refuses(&request("Upgrade: websocket\r\n", ""), 426, text);
    for upgrade in ["h2c", "websocket2", "web socket", "websockets, h2c", ""] {
        refuses(&request("Upgrade: websocket", &format!("Upgrade: {upgrade}")), 426, text);
    }
    refuses(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426, text);
}

#[test]
fn s4_2_1_item_4_connection_lists_upgrade() {
    let text = "malformed request: Connection does not list Upgrade";
    refuses(&request("Connection: Upgrade\r\n", ""), 400, text);
    for connection in ["keep-alive", "Upgrades", "close, up grade", ""] {
        refuses(&request("Connection: Upgrade", &format!("Connection: {connection}")), 400, text);
    }
}

#[test]
fn s4_2_1_item_5_there_is_one_key_of_16_bytes() {
    let key = |value: &str| request("dGhlIHNhbXBsZSBub25jZQ==", value);
    let text = "malformed request: Sec-WebSocket-Key is not 16 bytes in base64";
    for bad in [
        "",
        "dGhlIHNhbXBsZSBub25j",      // 15 bytes
        "dGhlIHNhbXBsZSBub25jZWE=",  // 17 bytes
        "dGhlIHNhbXBsZSBub25jZWFh",  // 18 bytes
        "dGhlIHNhbXBsZSBub25jZQ",    // no padding
        "dGhlIHNhbXBsZSBub25jZQ=",   // half of it
        "dGhlIHNhbXBsZSBub25jZQ===", // too much of it
        "dGhlIHNhbXBs ZSBub25jZQ==", // a space
        "dGhlIHNhbXBsZSBub25jZ-==",  // the URL alphabet
        "the sample nonce",          // not base64
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        refuses(&key(bad), 400, text);
    }
    refuses(
        &request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        400,
        "malformed request: there is no Sec-WebSocket-Key",
    );
    refuses(
        &request_with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        400,
        "malformed request: there is more than one Sec-WebSocket-Key",
    );
}

#[test]
fn s4_2_2_item_4_another_version_is_refused_with_426_and_the_version_that_is_spoken() {
    let text = "only version 13 of the WebSocket protocol is spoken here";
    refuses(&request("Sec-WebSocket-Version: 13\r\n", ""), 426, text);
    for version in ["8", "14", "0", "13, 8", "13;", "013", "0x0d", "", "256"] {
        refuses(&request("Version: 13", &format!("Version: {version}")), 426, text);
    }
    refuses(
        &request_with("Sec-WebSocket-Version: 13\r\n"),
        400,
        "malformed request: there is more than one Sec-WebSocket-Version",
    );
    let mut server = Duo::accepted(|_| {});
    server.feed(&request("Version: 13", "Version: 25")).expect(Event::Refused(426)).expect_bytes(
        b"HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 57\r\n\
          Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n\r\n\
          only version 13 of the WebSocket protocol is spoken here\n",
    );
}

#[test]
fn s4_2_1_item_8_a_subprotocol_that_is_no_token_is_refused() {
    let text = "malformed request: Sec-WebSocket-Protocol is no list of tokens";
    for offer in ["chat room", "\"chat\"", "chat;q=1", "chat, super/chat", "", ",", "caf\u{e9}"] {
        refuses(&request_with(&format!("Sec-WebSocket-Protocol: {offer}\r\n")), 400, text);
    }
}

#[test]
fn s4_2_1_extensions_that_break_the_grammar_of_s9_1_are_refused() {
    // §4.2.1: "any violations of the ABNF grammar specified for the components of the handshake", such as a 400.
    for bad in ["permessage-deflate; =1", "foo bar", "a; b=\"", "permessage-deflate;;x", "a/b", "a; b=c d"] {
        let mut server = Duo::accepted(|_| {});
        server.feed(&request_with(&format!("Sec-WebSocket-Extensions: {bad}\r\n")));
        assert_eq!(server.trace, [Event::Refused(400)], "Sec-WebSocket-Extensions: {bad}");
        server.dismiss();
    }
}

#[test]
fn s9_1_extensions_that_are_not_known_are_not_answered() {
    accepts(&request_with("Sec-WebSocket-Extensions: x-webkit-deflate-frame, foo; bar=\"baz\"; qux=1\r\n"));
}

#[test]
fn s4_2_1_more_than_one_origin_is_refused() {
    let bytes = request_with("Origin: http://a\r\nOrigin: http://b\r\n");
    refuses(&bytes, 400, "malformed request: there is more than one Origin");
}

#[test]
fn r9112_2_2_lines_end_in_cr_lf_and_nothing_else() {
    let text = "malformed request: a line does not end in CR LF";
    refuses(&request("Host: a\r\n", "Host: a\n"), 400, text);
    refuses(&request("Host: a\r\n", "Host: a\r\nX: b\rc\r\n"), 400, text);
    let bare: Vec<u8> = REQUEST.iter().copied().filter(|&byte| byte != b'\r').collect();
    refuses(&bare, 400, text);
}

#[test]
fn r9112_5_header_lines_that_break_the_grammar_are_refused() {
    let name = "malformed request: a header's name is no token, or a header line is folded";
    refuses(&request("Host: a", "Host : a"), 400, name);
    refuses(&request("Host: a", "Host: a\r\n folded: b"), 400, name);
    refuses(&request("Host: a", "Host: a\r\n: b"), 400, name);
    refuses(&request("Host: a", "Host: a\r\nno colon"), 400, name);
    refuses(&request_with("X: \0\r\n"), 400, "malformed request: a header's value holds a control character");
    refuses(
        &request_with("X: \x7f\r\n"),
        400,
        "malformed request: a header's value holds a control character",
    );
}

#[test]
fn r9112_3_a_request_line_that_breaks_the_grammar_is_refused() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET",
        "/ HTTP/1.1",
        "G\u{1}T / HTTP/1.1",
        "GET / HTTX/1.1",
    ] {
        let mut server = Duo::accepted(|_| {});
        server.feed(&request("GET / HTTP/1.1", line));
        assert_eq!(server.trace, [Event::Refused(400)], "{line}");
        server.expect_refusal(400);
    }
}

#[test]
fn r9112_6_a_request_with_a_body_is_refused() {
    let text = "malformed request: a handshake has no body (Content-Length)";
    for length in ["5", "+0", "0, 0", "-0", "x", ""] {
        refuses(&request_with(&format!("Content-Length: {length}\r\n")), 400, text);
    }
    refuses(
        &request_with("Transfer-Encoding: chunked\r\n"),
        400,
        "malformed request: a handshake has no body (Transfer-Encoding)",
    );
    accepts(&request_with("Content-Length: 0\r\n"));
}

// ------------------------------------------------------------------ limits of the head

#[test]
fn a_head_of_head_bytes_max_passes_and_one_byte_more_is_refused_with_431() {
    let padded = |bytes: usize| {
        let line = "X-Padding: \r\n".len();
        request_with(&format!("X-Padding: {}\r\n", "x".repeat(bytes - REQUEST.len() - line)))
    };
    let text = "the request head is larger than 16384 bytes";
    assert_eq!(padded(16_384).len(), 16_384);
    accepts(&padded(16_384));
    refuses(&padded(16_385), 431, text);
    // In pieces it is refused as soon as it is too large, whole or not.
    let mut server = Duo::accepted(|_| {});
    server.feed(&padded(20_000)[..16_384]).expect_silence().expect_no_message();
    assert!(server.feed(b"x").expect_refusal(431).ends_with(&format!("\r\n\r\n{text}\n")));
    let mut server = Duo::accepted(|_| {});
    let whole = padded(16_384);
    server.feed(&whole[..9_000]).feed(&whole[9_000..]).expect_opened(None).expect_bytes(RESPONSE);
}

#[test]
fn a_head_of_headers_max_lines_passes_and_one_more_is_refused_with_431() {
    let lines = |count: usize| request_with(&"X: y\r\n".repeat(count - 5));
    accepts(&lines(100));
    refuses(&lines(101), 431, "the request has more than 100 header lines");
}

#[test]
fn empty_lines_without_end_are_a_head_that_is_too_large() {
    let mut server = Duo::accepted(|_| {});
    server.feed(&b"\r\n".repeat(8_192)).expect_silence();
    server.feed(b"\r\n").expect_refusal(431);
}

#[test]
fn a_handshake_that_takes_handshake_ms_max_is_refused_with_408_however_its_bytes_come() {
    let mut server = Duo::accepted(|_| {});
    for (i, byte) in REQUEST.iter().take(90).enumerate() {
        server.at(i as u64 * 100).feed(&[*byte]);
        assert_eq!(server.deadline(), Some(10_000));
    }
    assert_eq!(server.expire_at(9_999), None);
    assert_eq!(server.expire_at(10_000), Some(Expired::Refuse(Refusal::Timeout { limit_ms: 10_000 })));
    assert!(server.expect_refusal(408).ends_with("the handshake took longer than 10000 ms\n"));
    server.feed(&REQUEST[90..]).expect_silence().expect_no_message();
}

// ------------------------------------------------------------------ what the engine chooses

/// The subprotocol a server that knows `known` acknowledges, or the status it refuses with.
fn chosen(known: &[&str], strict: bool, lines: &str) -> Result<Option<String>, u16> {
    let mut drive = Drive::with(
        |config| {
            config.subprotocols = known.iter().map(|&name| name.to_owned()).collect();
            config.subprotocols_strict = strict;
        },
        echo,
    );
    let id = drive.accept();
    let answer = drive.feed(id, &request_with(lines)).take_bytes(id);
    let answer = String::from_utf8(answer).unwrap();
    drive.take_seen();
    let status: u16 = answer["HTTP/1.1 ".len()..][..3].parse().unwrap();
    if status != 101 {
        return Err(status);
    }
    let lines: Vec<&str> =
        answer.split("\r\n").filter_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: ")).collect();
    assert!(lines.len() <= 1, "{answer}");
    Ok(lines.first().map(|&name| name.to_owned()))
}

#[test]
fn s4_2_2_item_5_5_the_first_subprotocol_offered_that_is_known_is_acknowledged() {
    let known = ["chat", "echo"];
    let some = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(chosen(&known, false, "Sec-WebSocket-Protocol: x, echo, chat\r\n"), some("echo"));
    let two_lines = "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: chat,echo\r\n";
    assert_eq!(chosen(&known, false, two_lines), some("chat"));
    assert_eq!(chosen(&known, false, "Sec-WebSocket-Protocol: x, y\r\n"), some("x"));
    assert_eq!(chosen(&known, false, "Sec-WebSocket-Protocol: Echo\r\n"), some("Echo"));
    assert_eq!(chosen(&known, false, ""), Ok(None));
}

#[test]
fn with_subprotocols_strict_an_offer_of_unknown_ones_only_is_refused() {
    assert_eq!(chosen(&["chat"], true, "Sec-WebSocket-Protocol: x, y\r\n"), Err(400));
    assert_eq!(chosen(&["chat"], true, "Sec-WebSocket-Protocol: x, chat\r\n"), Ok(Some("chat".to_owned())));
    assert_eq!(chosen(&["chat"], true, ""), Ok(None));
}

#[test]
fn s10_2_an_origin_that_is_not_in_the_list_is_refused_with_403() {
    let drive = || Drive::with(|config| config.origins = vec!["https://example.com".into()], echo);
    for origin in ["https://evil.example", "http://example.com", "https://example.com:444", "null", ""] {
        let mut drive = drive();
        let id = drive.accept();
        drive.feed(id, &request_with(&format!("Origin: {origin}\r\n")));
        let answer = String::from_utf8(drive.take_bytes(id)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{origin}: {answer}");
        assert!(answer.contains("\r\n\r\npages of this origin may not connect: "), "{origin}: {answer}");
        drive.expect_shut(id);
    }
    for lines in ["Origin: https://example.com\r\n", "Origin: HTTPS://EXAMPLE.COM\r\n", ""] {
        let mut drive = drive();
        let id = drive.accept();
        drive.feed(id, &request_with(lines)).expect(id, RESPONSE).expect_seen(id, Seen::Open);
    }
}

#[test]
fn s4_2_2_a_handler_sees_the_request_and_refuses_it_with_a_status_of_its_own() {
    let mut drive = Drive::new(echo).judge(|request| {
        assert_eq!((request.path(), request.query()), ("/room/7", Some("x=%20")));
        assert_eq!((request.target(), request.host()), ("/room/7?x=%20", "a"));
        assert_eq!((request.origin(), request.header("cookie")), (Some("http://b"), Some("c=d")));
        Upgrade::refuse(Refusal::with_status(404, "no such room"))
    });
    let id = drive.accept();
    let lines = request_with("Origin: http://b\r\nCookie: c=d\r\n");
    let text = String::from_utf8(lines).unwrap().replace("GET / ", "GET /room/7?x=%20 ");
    drive.feed(id, &[text.as_bytes(), b"\x81\x81\0\0\0\0!"].concat());
    drive.expect(
        id,
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\
          Connection: close\r\n\r\nno such room\n",
    );
    drive.expect_nothing_seen().expect_shut(id);
}

#[test]
fn r9112_3_2_2_an_absolute_target_names_the_host() {
    let mut drive = Drive::new(echo).judge(|request| {
        assert_eq!((request.host(), request.target()), ("b:81", "/chat?x"));
        Upgrade::accept()
    });
    let id = drive.accept();
    drive.feed(id, &request("GET / ", "GET http://b:81/chat?x ")).expect(id, RESPONSE);
    drive.expect_seen(id, Seen::Open);
}

#[test]
fn s4_2_2_a_handler_adds_lines_and_names_the_subprotocol() {
    let mut drive = Drive::new(echo).judge(|_| {
        let mut upgrade = Upgrade::accept();
        upgrade.subprotocol = Some("superchat".to_owned());
        upgrade.header("Set-Cookie", "seen=1");
        upgrade
    });
    let id = drive.accept();
    drive.feed(id, &request_with("Sec-WebSocket-Protocol: chat, superchat\r\n")).expect_seen(id, Seen::Open);
    drive.expect(
        id,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: superchat\r\n\
          Set-Cookie: seen=1\r\n\r\n",
    );
}

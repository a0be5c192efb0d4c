//! HTTP below the handshake: the grammar of RFC 9110 and 9112, and requests that want no upgrade.

use super::OVER;
use super::handshake::{
    CONNECTION, HOST, KEY, LINE, WEBSOCKET, altered, refused, refused_with_version, upgrades, with,
};
use crate::peer::UPGRADE;
use crate::server::shared;

// What is right, if unusual.

#[test]
fn rfc9112_s3_2_2_an_absolute_target_upgrades_whatever_its_case() {
    for target in [
        "http://server.example.com/echo",
        "https://other.example:8443/",
        "ws://a/b?c",
        "wss://[::1]:9/",
        "WS://a/b",
    ] {
        upgrades(&altered(b"/echo", target.as_bytes()));
    }
}

#[test]
fn rfc9112_s3_2_2_an_absolute_target_may_lack_a_path() {
    upgrades(&altered(b"/echo", b"ws://server.example.com"));
    upgrades(&altered(b"/echo", b"ws://server.example.com?query"));
}

#[test]
fn rfc9112_s2_2_empty_lines_before_the_request_are_ignored() {
    upgrades(&[b"\r\n", UPGRADE].concat());
    upgrades(&[b"\r\n\r\n\r\n", UPGRADE].concat());
}

#[test]
fn rfc9110_s5_1_field_names_are_read_in_any_case() {
    upgrades(
        b"GET /echo HTTP/1.1\r\nHOST: server.example.com\r\nupgrade: websocket\r\ncOnNeCtIoN: Upgrade\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION: 13\r\n\r\n",
    );
}

#[test]
fn rfc9110_s5_5_white_space_around_values_is_not_part_of_them() {
    upgrades(
        b"GET /echo HTTP/1.1\r\nHost:server.example.com\r\nUpgrade:\twebsocket\t \r\nConnection:   Upgrade  \r\n\
        Sec-WebSocket-Key: \t dGhlIHNhbXBsZSBub25jZQ== \t\r\nSec-WebSocket-Version:13 \r\n\r\n",
    );
}

#[test]
fn rfc9110_s5_5_tabs_and_obsolete_text_in_other_values_do_no_harm() {
    upgrades(&with(b"X-Note: a\tb caf\xe9 \xff\x80\r\nX-Empty:\r\n"));
}

#[test]
fn rfc9112_s6_2_an_empty_body_may_be_announced() {
    upgrades(&with(b"Content-Length: 0\r\n"));
}

#[test]
fn rfc9112_s3_2_host_may_be_any_name_address_and_port() {
    for host in
        ["localhost:4863", "127.0.0.1", "[::1]", "[2001:db8::1]:80", "a-b_c.example", "xn--bcher-kva.example"]
    {
        upgrades(&altered(b"server.example.com", host.as_bytes()));
    }
}

// Method, target and version of the request line.

#[test]
fn s4_1_other_methods_are_405_and_get_is_named() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "get", "Get", "GETT", "GE", "PROPFIND"] {
        let response = refused(&altered(b"GET", method.as_bytes()), &[405]);
        assert_eq!(response.field("Allow"), Some("GET"), "{method}");
    }
}

#[test]
fn rfc9110_s9_3_2_head_is_405_without_a_body() {
    let server = shared(OVER);
    let mut peer = server.dial();
    let response = peer.send(&altered(b"GET", b"HEAD")).expect_refusal_head(&[405]);
    assert_eq!(response.field("Allow"), Some("GET"));
    peer.expect_end();
}

#[test]
fn rfc9112_s9_6_a_refused_upload_does_not_eat_its_answer() {
    let server = shared(OVER);
    let mut peer = server.dial();
    let request = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 262144\r\n\r\n";
    peer.send_regardless(&[request.as_slice(), &[b'x'; 262_144]].concat()).expect_refusal(&[405]);
}

#[test]
fn rfc9112_s3_a_method_that_is_no_token_is_refused() {
    refused(&altered(b"GET", b"G@T"), &[400, 405]);
    refused(&altered(b"GET", b"G\x01T"), &[400, 405]);
    refused(&altered(b"GET", b"G\xc3\x89T"), &[400, 405]);
}

#[test]
fn rfc9112_s2_3_other_http_versions_are_505() {
    for version in ["HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
        refused(&altered(b"HTTP/1.1", version.as_bytes()), &[505]);
    }
}

#[test]
fn rfc9112_s2_3_what_is_no_http_version_is_refused() {
    for version in [
        "http/1.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/11",
        "HTTP/1.10",
        "HTTP/1.1x",
        "HTTPS/1.1",
        "WS/1.1",
        "HTTP /1.1",
    ] {
        refused(&altered(b"HTTP/1.1", version.as_bytes()), &[400, 505]);
    }
}

#[test]
fn rfc9112_s3_a_request_line_of_two_words_is_refused() {
    refused(&altered(LINE, b"GET /echo\r\n"), &[400, 505]);
    refused(&altered(LINE, b"GET\r\n"), &[400, 405]);
}

#[test]
fn rfc9112_s3_other_white_space_in_the_request_line_is_400() {
    for line in [
        b"GET  /echo HTTP/1.1\r\n".as_slice(),
        b"GET /echo  HTTP/1.1\r\n",
        b"GET /echo HTTP/1.1 \r\n",
        b" GET /echo HTTP/1.1\r\n",
        b"GET\t/echo\tHTTP/1.1\r\n",
        b"GET  HTTP/1.1\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET /a\x0bb HTTP/1.1\r\n",
    ] {
        refused(&altered(LINE, line), &[400]);
    }
}

#[test]
fn rfc9112_s3_2_controls_in_the_target_are_400() {
    for target in [b"/\0".as_slice(), b"/a\x01", b"/\x7f", b"/\x1b[2J", b"/a\tb"] {
        refused(&altered(b"/echo", target), &[400]);
    }
}

#[test]
fn rfc9112_s3_2_a_target_of_another_form_is_400() {
    for target in
        ["*", "server.example.com:80", "chat", "?query", ":80", "http:/x", "ftp://a/b", "file:///etc/passwd"]
    {
        refused(&altered(b"/echo", target.as_bytes()), &[400]);
    }
}

#[test]
fn rfc9110_s4_2_1_an_absolute_target_without_a_host_is_400() {
    refused(&altered(b"/echo", b"http:///echo"), &[400]);
    refused(&altered(b"/echo", b"ws://"), &[400]);
}

#[test]
fn s3_a_fragment_in_the_target_is_400() {
    refused(&altered(b"/echo", b"/echo#there"), &[400]);
    refused(&altered(b"/echo", b"/#"), &[400]);
    refused(&altered(b"/echo", b"ws://a/b#c"), &[400]);
}

#[test]
fn rfc9112_s3_a_tls_hello_is_refused() {
    let hello = b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03client random\r\n\r\n";
    refused(hello, &[400]);
}

#[test]
fn rfc9113_s3_4_an_http_2_preface_is_refused() {
    refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 405, 505]);
}

// Plain HTTP.

#[test]
fn s4_2_1_a_request_without_an_upgrade_is_426_and_says_to_what() {
    let response = refused(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[426]);
    assert!(response.field("Upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")), "{response:?}");
    assert_eq!(response.field("Sec-WebSocket-Version"), Some("13"));
}

#[test]
fn s4_2_1_an_upgrade_to_something_else_is_426() {
    refused_with_version(&altered(WEBSOCKET, b"Upgrade: h2c\r\n"));
    refused_with_version(&altered(WEBSOCKET, b"Upgrade: websockets\r\n"));
    refused_with_version(&altered(WEBSOCKET, b""));
}

#[test]
fn rfc9112_s9_6_a_second_pipelined_request_is_not_answered() {
    refused(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2), &[426]);
    refused(&[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", UPGRADE].concat(), &[426]);
}

#[test]
fn s4_2_2_frames_behind_a_refused_head_are_not_answered() {
    refused(&[&altered(KEY, b""), b"\x89\x80\0\0\0\0\x81\x81\0\0\0\0x".as_slice()].concat(), &[400]);
}

// Host.

#[test]
fn rfc9112_s3_2_no_host_is_400() {
    refused(&altered(HOST, b""), &[400]);
    refused(&altered(HOST, b"X-Host: server.example.com\r\n"), &[400]);
}

#[test]
fn rfc9112_s3_2_two_hosts_are_400_even_when_equal() {
    refused(&altered(HOST, b"Host: server.example.com\r\nHost: server.example.com\r\n"), &[400]);
    refused(&altered(HOST, b"Host: server.example.com\r\nhost: evil.example\r\n"), &[400]);
}

#[test]
fn rfc9112_s3_2_an_invalid_host_is_400() {
    for host in [
        "", "a b", "a/b", "user@a", "a:port", "a:80:80", "a?b", "a#b", "a\\b", "<a>", "\"a\"", "{a}", "a|b",
        "a^b", "%zz", "[::1", "::1]", "[]", "[zz]", "[::1]x", "[::1]:x",
    ] {
        refused(&altered(b"server.example.com", host.as_bytes()), &[400]);
    }
}

#[test]
fn rfc9112_s3_2_an_absolute_target_does_not_stand_in_for_host() {
    let request = altered(HOST, b"");
    let request = [b"GET ws://server.example.com/echo HTTP/1.1\r\n", &request[LINE.len()..]].concat();
    refused(&request, &[400]);
}

// Header syntax.

#[test]
fn rfc9112_s2_2_a_bare_line_feed_is_400() {
    refused(&altered(b"websocket\r\n", b"websocket\n"), &[400]);
    refused(&altered(LINE, b"GET /echo HTTP/1.1\n"), &[400]);
    refused(&[b"\n", UPGRADE].concat(), &[400]);
    refused(b"GET / HTTP/1.1\nHost: a\n\n", &[400]);
}

#[test]
fn rfc9112_s2_2_a_head_that_ends_in_a_bare_line_feed_is_400() {
    refused(&altered(b"Version: 13\r\n\r\n", b"Version: 13\r\n\n"), &[400]);
    refused(&altered(b"Version: 13\r\n\r\n", b"Version: 13\n\n"), &[400]);
}

#[test]
fn rfc9112_s2_2_a_bare_carriage_return_is_400() {
    refused(&with(b"X-Split: a\rb\r\n"), &[400]);
    refused(&with(b"X-Split: a\r\r\n"), &[400]);
    refused(&altered(LINE, b"GET /echo HTTP/1.1\r\r\n"), &[400]);
    refused(&altered(HOST, b"Host: server.example.com\rX: y\r\n"), &[400]);
}

#[test]
fn rfc9112_s5_2_a_folded_line_is_400() {
    refused(&with(b"X-Folded: a\r\n b\r\n"), &[400]);
    refused(&with(b"X-Folded: a\r\n\tb\r\n"), &[400]);
    refused(&altered(CONNECTION, b"Connection: keep-alive,\r\n Upgrade\r\n"), &[400]);
}

#[test]
fn rfc9112_s5_2_a_folded_first_line_is_400() {
    refused(&altered(HOST, b" Host: server.example.com\r\n"), &[400]);
    refused(&with(b" \r\n"), &[400]);
}

#[test]
fn rfc9112_s5_1_white_space_before_the_colon_is_400() {
    refused(&altered(b"Host:", b"Host :"), &[400]);
    refused(&with(b"X-Late\t: a\r\n"), &[400]);
}

#[test]
fn rfc9112_s5_a_line_without_a_colon_is_400() {
    refused(&with(b"X-Nothing\r\n"), &[400]);
    refused(&with(b"GET / HTTP/1.1\r\n"), &[400]);
}

#[test]
fn rfc9110_s5_1_a_name_that_is_no_token_is_400() {
    for line in [
        b": empty\r\n".as_slice(),
        b"X Y: a\r\n",
        b"X(Y): a\r\n",
        b"X\x01: a\r\n",
        b"X\0: a\r\n",
        b"X\x7f: a\r\n",
        b"X\xe9: a\r\n",
        b"\"X\": a\r\n",
        b"X/Y: a\r\n",
        b"X@Y: a\r\n",
    ] {
        refused(&with(line), &[400]);
    }
}

#[test]
fn rfc9110_s5_5_every_control_but_the_tab_in_a_value_is_400() {
    for control in (0..=0x1f).chain([0x7f]).filter(|c| !b"\t\n".contains(c)) {
        refused(&with(&[b"X-Note: a", [control].as_slice(), b"b\r\n"].concat()), &[400]);
    }
}

#[test]
fn rfc9112_s6_a_body_with_an_upgrade_is_400() {
    refused(&[&with(b"Content-Length: 5\r\n"), b"Hello".as_slice()].concat(), &[400]);
    refused(&with(b"Content-Length: 1\r\n"), &[400]);
    refused(&with(b"content-length: 000001\r\n"), &[400]);
}

#[test]
fn rfc9112_s6_2_a_length_that_would_wrap_to_nothing_is_400() {
    refused(&with(b"Content-Length: 4294967296\r\n"), &[400]);
    refused(&with(b"Content-Length: 18446744073709551616\r\n"), &[400]);
    refused(&with(b"Content-Length: 340282366920938463463374607431768211456\r\n"), &[400]);
}

#[test]
fn rfc9112_s6_3_a_length_that_is_no_number_is_400() {
    for value in ["", "-0", "+0", "0x0", "0 0", "0.0", "zero", "0;", "\"0\""] {
        refused(&with(format!("Content-Length: {value}\r\n").as_bytes()), &[400]);
    }
}

#[test]
fn rfc9112_s6_3_lengths_that_differ_are_400() {
    refused(&with(b"Content-Length: 0\r\nContent-Length: 5\r\n"), &[400]);
    refused(&with(b"Content-Length: 5\r\nContent-Length: 0\r\n"), &[400]);
    refused(&with(b"Content-Length: 0, 5\r\n"), &[400]);
}

#[test]
fn rfc9112_s6_1_any_transfer_encoding_with_an_upgrade_is_400() {
    refused(&[&with(b"Transfer-Encoding: chunked\r\n"), b"0\r\n\r\n".as_slice()].concat(), &[400]);
    refused(&with(b"Transfer-Encoding: identity\r\n"), &[400]);
    refused(&with(b"transfer-encoding:\r\n"), &[400]);
    refused(&with(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), &[400]);
}

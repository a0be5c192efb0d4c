//! Plain HTTP on the port of the WebSockets: what a handler is asked, what is answered, and what is refused without it.

use crate::duo::{
    REQUEST, RESPONSE,
    drive::{Drive, On, Seen, echo},
    show,
};
use sockeye::{Answer, Config, ConnId, Context, HttpRequest, HttpResponse};
use std::{cell::RefCell, panic, rc::Rc};

/// What `on_http` was told: method, target, host and body.
type Asked = Rc<RefCell<Vec<(String, String, String, Option<Vec<u8>>)>>>;

/// Answers with what it was asked; a POST and a HEAD may have a body of 1,000 bytes.
fn mirror(config: impl FnOnce(&mut Config)) -> (Drive, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let drive = Drive::with(config, echo).answer(move |_, _, request| {
        let body = request.body().map(<[u8]>::to_vec);
        let (method, target) = (request.method().to_owned(), request.target().to_owned());
        log.borrow_mut().push((method, target, request.host().to_owned(), body));
        match request.body() {
            None if request.method() == "GET" => Answer::Respond(HttpResponse::new(200).body(b"page")),
            None => Answer::AwaitBody { bytes_max: 1_000 },
            Some(body) => {
                Answer::Respond(HttpResponse::new(200).header("X-Was", "posted").body(body.to_vec()))
            }
        }
    });
    (drive, asked)
}

/// The same, of which nothing is looked at but what it answers.
fn server() -> Drive {
    mirror(|_| {}).0
}

fn page(cx: &mut Context<'_>, id: ConnId, _: &HttpRequest<'_>) -> Answer {
    assert!(!cx.close(id, sockeye::CloseCode::NORMAL, ""), "nothing can be done to {id} yet");
    Answer::Respond(HttpResponse::new(200).header("Content-Type", "text/html").body(b"<h1>hi</h1>\n"))
}

const GET: &[u8] = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n";

/// A POST of five bytes, which were not sent yet.
const POST: &[u8] = b"POST /say HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
const POSTED: &[u8] =
    b"HTTP/1.1 200 OK\r\nX-Was: posted\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// A head whose answer waits for a body.
fn post(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

#[track_caller]
fn expect_refused(drive: &mut Drive, id: ConnId, status: u16, text: &str) {
    let answer = String::from_utf8(drive.take_bytes(id)).expect("it is text");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(answer.split("\r\n\r\n").nth(1), Some(format!("{text}\n").as_str()));
    drive.expect_shut(id);
}

/// The head alone leads to this, before a byte of the body.
#[track_caller]
fn refuses(head: &[u8], status: u16, text: &str) {
    let mut drive = server();
    let id = drive.accept();
    drive.feed(id, head);
    expect_refused(&mut drive, id, status, text);
    drive.feed(id, b"hello").expect_silence(id).feed_eof(id).expect_gone(id);
    assert_eq!((drive.buffered_bytes(), drive.connections()), (0, 0));
}

#[track_caller]
fn posts(request: &[u8]) {
    let mut drive = server();
    let id = drive.accept();
    drive.feed(id, request).expect(id, POSTED).expect_shut(id);
}

// ------------------------------------------------------------------ what is answered

#[test]
fn r9110_9_3_1_a_get_is_answered_and_tcp_is_ended_after_it() {
    let mut drive = Drive::new(echo).answer(page);
    let id = drive.accept();
    drive.feed(id, GET).expect(
        id,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12\r\nConnection: close\r\n\r\n<h1>hi</h1>\n",
    );
    drive.expect_shut(id);
    // What the client goes on to send does not reset the connection, and is not looked at.
    drive.feed(id, GET).feed(id, b"\x81\x82\0\0\0\0hi").expect_silence(id).expect_shut(id);
    drive.feed_eof(id).expect_gone(id).expect_nothing_seen();
    assert_eq!((drive.buffered_bytes(), drive.connections()), (0, 0));
}

#[test]
fn r9112_9_6_a_client_that_does_not_end_tcp_is_waited_for_linger_ms_max() {
    let mut drive = Drive::with(|config| config.limits.linger_ms_max = 700, echo).answer(page);
    let id = drive.accept();
    drive.feed(id, GET).take_bytes(id);
    drive.at(600).expect_shut(id).at(800).expect_gone(id);
}

#[test]
fn r9112_9_6_a_client_that_has_ended_its_direction_already_is_answered() {
    let mut drive = Drive::new(echo).answer(page);
    let id = drive.accept();
    drive.arrive(id, GET).feed_eof(id).expect_gone(id);
    assert!(drive.take_bytes(id).ends_with(b"<h1>hi</h1>\n"));
}

#[test]
fn r9110_9_3_2_a_head_is_answered_as_a_get_but_for_the_body() {
    let mut drive = Drive::new(echo).answer(page);
    let id = drive.accept();
    drive.feed(id, b"HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n").expect(
        id,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12\r\nConnection: close\r\n\r\n",
    );
    drive.expect_shut(id);
}

#[test]
fn r9110_6_4_1_neither_204_nor_304_has_a_body_or_a_length() {
    for (status, line) in [(204, "204 No Content"), (304, "304 Not Modified")] {
        let response = HttpResponse::new(status).header("ETag", "\"1\"").body(b"none");
        let mut drive = Drive::new(echo).answer(move |_, _, _| Answer::Respond(response.clone()));
        let id = drive.accept();
        let answer = format!("HTTP/1.1 {line}\r\nETag: \"1\"\r\nConnection: close\r\n\r\n");
        drive.feed(id, GET).expect(id, answer.as_bytes()).expect_shut(id);
    }
}

#[test]
fn an_answer_without_a_body_says_so() {
    let mut drive = Drive::new(echo).answer(|_, _, _| Answer::Respond(HttpResponse::new(404)));
    let id = drive.accept();
    drive.feed(id, GET);
    drive.expect(id, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

#[test]
fn r9112_3_2_2_the_host_of_an_absolute_target_counts() {
    let (mut drive, asked) = mirror(|_| {});
    let id = drive.accept();
    drive.feed(id, b"GET http://b:81/page?x=1 HTTP/1.1\r\nHost: a\r\n\r\n").take_bytes(id);
    assert_eq!(*asked.borrow(), [("GET".into(), "/page?x=1".into(), "b:81".into(), None)]);
}

#[test]
fn r9112_9_6_a_second_request_behind_the_first_is_not_answered() {
    let (mut drive, asked) = mirror(|_| {});
    let id = drive.accept();
    drive.feed(id, &[GET, GET].concat());
    drive.expect(id, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage");
    drive.expect_shut(id);
    let id = drive.accept();
    drive.feed(id, &[POST, b"hello", GET].concat()).expect(id, POSTED).expect_shut(id);
    assert_eq!(asked.borrow().len(), 3);
}

// ------------------------------------------------------------------ what the handler is not asked

/// Requests and upgrades of every kind, right and wrong.
const ALL_KINDS: &[&[u8]] = &[
    GET,
    POST,
    REQUEST,
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"nonsense\r\n\r\n",
];

#[test]
fn only_well_formed_requests_that_ask_for_no_upgrade_are_the_handlers_to_answer() {
    let (mut drive, asked) = mirror(|_| {});
    let mut told = Vec::new();
    for request in ALL_KINDS {
        let id = drive.accept();
        drive.feed(id, request).take_bytes(id);
        told.extend(asked.borrow_mut().drain(..).next().map(|asked| asked.0));
    }
    assert_eq!(drive.take_seen(), [Seen::Open]);
    assert_eq!(told, ["GET", "POST", "HEAD", "get", "GET", "GET", "GET", "POST"]);
}

#[test]
fn where_the_handler_refuses_it_is_as_if_only_websockets_were_served() {
    let expected: &[(&[u8], u16)] = &[
        (GET, 426),
        (POST, 405),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 405),
    ];
    let mut drive = Drive::new(echo);
    for (request, status) in expected {
        let id = drive.accept();
        let answer = drive.feed(id, request).take_bytes(id);
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{status}");
        assert_eq!(
            answer.ends_with(b"\n\r\n"),
            request.starts_with(b"HEAD"),
            "the answer to HEAD has no body"
        );
    }
}

#[test]
fn who_is_one_too_many_is_refused_before_the_handler_is_asked() {
    let (mut drive, asked) = mirror(|config| config.limits.connections_max = 1);
    drive.accept();
    let id = drive.accept();
    drive.feed(id, GET);
    expect_refused(&mut drive, id, 503, "the server has as many connections as it may have");
    assert!(asked.borrow().is_empty());
}

#[test]
fn who_waits_to_be_answered_is_nobody_that_can_be_sent_to() {
    let mut drive = Drive::new(|cx, id, on| {
        if let (Some(id), On::Open) = (id, on) {
            cx.subscribe(id, "room");
        }
    })
    .answer(|cx, id, request| {
        assert!(!cx.subscribe(id, "room") && !cx.ping(id, b""));
        assert_eq!(cx.send(id, "no"), sockeye::Sent::Refused);
        match request.body() {
            None => Answer::AwaitBody { bytes_max: 100 },
            Some(body) => {
                cx.publish("room", body);
                Answer::Respond(HttpResponse::new(202))
            }
        }
    });
    let member = drive.open();
    let id = drive.accept();
    drive.feed(id, &[POST, b"hello"].concat()).expect(member, b"\x82\x05hello");
    drive.expect(id, b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    drive.expect_alive(member);
}

// ------------------------------------------------------------------ bodies

#[test]
fn r9112_6_a_body_may_be_cut_anywhere() {
    let request = [POST, b"hello"].concat();
    posts(&request);
    for cut in 1..request.len() {
        let (mut drive, asked) = mirror(|_| {});
        let id = drive.accept();
        drive.feed(id, &request[..cut]).expect_silence(id).expect_alive(id);
        assert_eq!(asked.borrow().len(), usize::from(cut >= POST.len()), "{cut}");
        drive.feed(id, &request[cut..]).expect(id, POSTED).expect_shut(id);
        let told = |body: Option<&[u8]>| ("POST".into(), "/say".into(), "a".into(), body.map(<[u8]>::to_vec));
        assert_eq!(*asked.borrow(), [told(None), told(Some(b"hello"))]);
        assert_eq!(drive.feed_eof(id).buffered_bytes(), 0);
    }
    let mut drive = server();
    let id = drive.accept();
    let (last, rest) = request.split_last().unwrap();
    for byte in rest {
        drive.feed(id, &[*byte]).expect_silence(id);
    }
    drive.feed(id, &[*last]).expect(id, POSTED).expect_shut(id);
}

#[test]
fn a_request_of_any_kind_is_answered_the_same_wherever_it_is_cut() {
    let with_body = |lines: &str| [&post(lines)[..], b"hello, and more"].concat();
    let mut requests: Vec<Vec<u8>> = ALL_KINDS.iter().map(|request| request.to_vec()).collect();
    requests.extend([
        with_body("Content-Length: 5\r\n"),
        with_body("Content-Length: 15\r\nExpect: 100-continue\r\n"),
        with_body("Content-Length: 1001\r\n"),
        with_body("Content-Length: 5\r\nContent-Length: 5\r\n"),
        with_body("Transfer-Encoding: chunked\r\n"),
        [b"\r\n\r\n", &with_body("Content-Length: 5\r\n")[..]].concat(),
    ]);
    for request in &requests {
        let mut drive = server();
        let whole = drive.accept();
        drive.feed(whole, request);
        let (answer, shut) = (drive.take_bytes(whole), drive.is_shut(whole));
        for cut in 1..request.len() {
            let id = drive.accept();
            drive.feed(id, &request[..cut]).feed(id, &request[cut..]);
            let bytes = drive.take_bytes(id);
            let bytes = bytes.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&bytes);
            assert!(bytes == answer && drive.is_shut(id) == shut, "{cut} of {}", show(request));
        }
        drive.take_seen();
    }
}

#[test]
fn r9110_5_1_field_names_are_read_in_any_case() {
    posts(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length:5\r\n\r\nhello");
    posts(b"POST / HTTP/1.1\r\nHOST: a\r\nCONTENT-LENGTH: \t 005 \r\n\r\nhello");
}

#[test]
fn r9112_6_3_item_7_no_content_length_is_an_empty_body() {
    for head in [post(""), post("Content-Length: 0\r\n"), post("Expect: 100-continue\r\n")] {
        let mut drive = server();
        let id = drive.accept();
        drive.feed(id, &[&head[..], b"hello"].concat()).expect(
            id,
            b"HTTP/1.1 200 OK\r\nX-Was: posted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        drive.expect_shut(id);
    }
}

#[test]
fn a_body_may_be_larger_than_one_read() {
    let body: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    let expected = body.clone();
    let mut drive =
        Drive::with(|config| config.limits.read_bytes_max = 4 << 10, echo).answer(move |_, _, request| {
            match request.body() {
                None => Answer::AwaitBody { bytes_max: 100_000 },
                Some(body) => {
                    assert!(body == expected);
                    Answer::Respond(HttpResponse::new(204))
                }
            }
        });
    let id = drive.accept();
    drive.feed(id, &[&post("Content-Length: 100000\r\n")[..], &body].concat());
    drive.expect(id, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect_shut(id);
    assert_eq!(drive.buffered_bytes(), 0);
}

#[test]
fn r9110_15_5_14_a_body_that_is_too_large_is_413_before_it_is_read() {
    let text = "the request body is larger than 1000 bytes";
    for length in ["1001", "4294967296", "4294967301", "18446744073709551616", &"9".repeat(1_000)] {
        refuses(&post(&format!("Content-Length: {length}\r\n")), 413, text);
        refuses(&post(&format!("Content-Length: {length}\r\nExpect: 100-continue\r\n")), 413, text);
    }
    let mut drive = server();
    let id = drive.accept();
    drive.feed(id, &post("Content-Length: 1000\r\n")).feed(id, &[b'x'; 999]).expect_silence(id);
    assert!(drive.feed(id, b"x").take_bytes(id).ends_with(&[b'x'; 1_000]));
}

#[test]
fn no_body_is_larger_than_a_buffer_can_be() {
    let mut drive = Drive::new(echo).answer(|_, _, _| Answer::AwaitBody { bytes_max: u32::MAX });
    let id = drive.accept();
    drive.feed(id, &post("Content-Length: 1073741825\r\n"));
    expect_refused(&mut drive, id, 413, "the request body is larger than 1073741824 bytes");
}

#[test]
fn r9112_6_3_item_5_a_content_length_that_is_no_number_is_400() {
    let bad: [&[u8]; 13] = [
        b"",
        b"+5",
        b"-5",
        b"5, 5",
        b"5,5",
        b"5 5",
        b"5;",
        b"0x5",
        b"5.0",
        b"five",
        b"\"5\"",
        b"5\t5",
        b"\xd9\xa5",
    ];
    for value in bad {
        let head = [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", value, b"\r\n\r\n"].concat();
        refuses(&head, 400, "malformed request: Content-Length is no number");
    }
}

#[test]
fn r9112_6_3_item_5_more_than_one_content_length_is_400_even_where_they_are_equal() {
    for second in ["5", "6", ""] {
        let head = post(&format!("Content-Length: 5\r\nX: y\r\ncontent-length: {second}\r\n"));
        refuses(&head, 400, "malformed request: there is more than one Content-Length");
    }
}

#[test]
fn r9112_6_1_a_chunked_body_is_411_and_with_a_length_as_well_400() {
    let none = "a body is read by its Content-Length, and there is none";
    refuses(&post("Transfer-Encoding: chunked\r\n"), 411, none);
    refuses(&post("transfer-encoding: identity\r\n"), 411, none);
    let both = "malformed request: there are both Transfer-Encoding and Content-Length";
    refuses(&post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, both);
    refuses(&post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, both);
}

#[test]
fn r9110_10_1_1_who_waits_for_a_100_is_told_to_go_on_unless_all_of_the_body_is_there() {
    for expectation in ["100-continue", "100-Continue", " , 100-CONTINUE"] {
        let head = post(&format!("Content-Length: 5\r\nExpect: {expectation}\r\n"));
        let mut drive = server();
        let id = drive.accept();
        drive.feed(id, &head).expect(id, b"HTTP/1.1 100 Continue\r\n\r\n").expect_alive(id);
        drive.feed(id, b"hel").expect_silence(id).feed(id, b"lo").expect(id, POSTED).expect_shut(id);
        let id = drive.accept();
        drive.feed(id, &[&head[..], b"hell"].concat()).expect(id, b"HTTP/1.1 100 Continue\r\n\r\n");
        drive.feed(id, b"o").expect(id, POSTED);
        posts(&[&head[..], b"hello"].concat());
    }
}

#[test]
fn r9110_10_1_1_a_100_that_waits_to_be_written_stands_before_the_answer() {
    let mut drive = server();
    let id = drive.accept();
    drive
        .block(id)
        .feed(id, &post("Content-Length: 5\r\nExpect: 100-continue\r\n"))
        .take(id, 7)
        .feed(id, b"hello");
    drive.expect(id, b"HTTP/1.").expect_alive(id).take(id, 1_000);
    drive.expect(id, &[b"1 100 Continue\r\n\r\n", POSTED].concat()).expect_shut(id);
}

#[test]
fn r9110_10_1_1_other_expectations_are_417() {
    for expectation in ["200-ok", "100-continue, more", "100-continue\r\nExpect: more"] {
        let head = post(&format!("Content-Length: 5\r\nExpect: {expectation}\r\n"));
        refuses(&head, 417, "no other expectation than 100-continue is met here");
    }
}

#[test]
fn an_answer_at_once_needs_no_body_and_no_expectation() {
    let mut drive = Drive::new(echo).answer(|_, _, _| Answer::Respond(HttpResponse::new(403)));
    let id = drive.accept();
    drive.feed(id, &post("Content-Length: 5\r\nContent-Length: x\r\nExpect: all\r\n"));
    drive
        .expect(id, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .expect_shut(id);
}

#[test]
fn a_body_that_is_asked_for_twice_is_a_mistake_and_answered_with_500() {
    let mut drive = Drive::new(echo).answer(|_, _, _| Answer::AwaitBody { bytes_max: 5 });
    let id = drive.accept();
    drive.feed(id, &[POST, b"hello"].concat());
    expect_refused(&mut drive, id, 500, "the body was asked for a second time");
}

#[test]
fn a_body_may_be_refused_when_it_is_there() {
    let mut drive = Drive::new(echo).answer(|_, _, request| match request.body() {
        None => Answer::AwaitBody { bytes_max: 5 },
        Some(_) => Answer::Refuse,
    });
    let id = drive.accept();
    drive.feed(id, &[POST, b"hello"].concat());
    expect_refused(&mut drive, id, 405, "only GET is understood here");
}

// ------------------------------------------------------------------ limits

#[test]
fn a_client_that_ends_in_the_middle_of_a_body_is_dropped() {
    let (mut drive, asked) = mirror(|_| {});
    let id = drive.accept();
    drive.feed(id, POST).feed(id, b"hell").feed_eof(id).expect_silence(id).expect_gone(id);
    assert_eq!((asked.borrow().len(), drive.buffered_bytes()), (1, 0));
}

#[test]
fn a_connection_that_is_lost_in_the_middle_of_a_body_leaves_nothing() {
    let mut drive = server();
    let id = drive.accept();
    drive
        .feed(id, POST)
        .feed(id, b"hell")
        .lose(id, sockeye::Lost::Silent)
        .expect_gone(id)
        .expect_nothing_seen();
    assert_eq!((drive.buffered_bytes(), drive.connections()), (0, 0));
}

#[test]
fn head_and_body_together_have_handshake_ms_max() {
    let (mut drive, asked) = mirror(|config| config.limits.handshake_ms_max = 1_000);
    let id = drive.accept();
    drive.at(600).feed(id, POST).at(900).feed(id, b"hell").expect_silence(id).at(1_100);
    expect_refused(&mut drive, id, 408, "the handshake took longer than 1000 ms");
    drive.feed(id, b"o").expect_silence(id);
    assert_eq!(asked.borrow().len(), 1);
    let answer = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Length: 39\r\nConnection: close\r\n\r\n";
    let id = drive.accept();
    drive.feed(id, b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").at(2_200);
    drive.expect(id, answer).expect_shut(id); // RFC 9110 §9.3.2
}

#[test]
fn memory_follows_what_came_of_a_body_and_not_what_was_announced() {
    let mut drive = Drive::new(echo).answer(|_, _, _| Answer::AwaitBody { bytes_max: 100 << 20 });
    let id = drive.accept();
    drive.feed(id, &post("Content-Length: 100000000\r\n")).feed(id, b"hell");
    assert!((1..16 << 10).contains(&drive.buffered_bytes()), "{}", drive.buffered_bytes());
    drive.feed(id, &[b'x'; 300_000]);
    assert!((300_000..1 << 20).contains(&drive.buffered_bytes()), "{}", drive.buffered_bytes());
}

#[test]
fn a_body_past_the_budget_is_503() {
    let mut drive = Drive::with(|config| config.limits.buffered_bytes_max = 1 << 20, echo)
        .answer(|_, _, _| Answer::AwaitBody { bytes_max: 100 << 20 });
    let id = drive.accept();
    drive.feed(id, &post("Content-Length: 100000000\r\n")).feed(id, &vec![b'x'; 2 << 20]);
    expect_refused(&mut drive, id, 503, "the server is out of buffers");
    assert_eq!(drive.buffered_bytes(), 0);
}

#[test]
fn a_stop_does_not_wait_for_a_body() {
    let mut drive = server();
    let id = drive.accept();
    drive.feed(id, POST).shutdown();
    expect_refused(&mut drive, id, 503, "the server is stopping");
}

const LARGE: usize = 300 << 10;

/// A server of a large page, and somebody who asked for it and takes nothing yet.
fn slow_reader() -> (Drive, ConnId) {
    let configure = |config: &mut Config| config.limits.handshake_ms_max = 10_000;
    let mut drive = Drive::with(configure, echo)
        .answer(|_, _, _| Answer::Respond(HttpResponse::new(200).body(vec![b'x'; LARGE])));
    let id = drive.accept();
    drive.block(id).feed(id, GET).expect_silence(id);
    (drive, id)
}

#[test]
fn a_slow_reader_has_time_while_it_takes_a_byte_now_and_then() {
    let (mut drive, id) = slow_reader();
    let mut ms = 0;
    for _ in 0..7 {
        ms += 9_000;
        drive.at(ms).expect_alive(id).take(id, 40_000);
        assert_eq!(drive.take_bytes(id).len(), 40_000);
    }
    drive.take(id, LARGE).expect_shut(id);
    assert_eq!(
        drive.take_bytes(id).len(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 307200\r\nConnection: close\r\n\r\n".len() + LARGE - 280_000
    );
    assert_eq!(drive.buffered_bytes(), 0);
    drive.at(ms + 2_000).expect_gone(id).expect_nothing_seen();
}

#[test]
fn a_reader_that_takes_nothing_is_dropped_after_handshake_ms_max() {
    let (mut drive, id) = slow_reader();
    drive.at(9_000).take(id, 1).at(18_900).expect(id, b"H").expect_alive(id);
    drive.at(19_200).expect_gone(id).expect_nothing_seen();
    assert_eq!(drive.buffered_bytes(), 0);
}

#[test]
fn an_answer_is_no_backlog_that_a_handler_is_told_of() {
    let (mut drive, id) = slow_reader();
    assert!(drive.wants_read(id));
    drive.feed(id, GET).take(id, 2 * LARGE).expect_shut(id).expect_nothing_seen();
    assert!(drive.take_bytes(id).ends_with(b"xxxx"));
}

// ------------------------------------------------------------------ what is no answer

#[test]
fn an_answer_that_would_break_its_own_framing_is_a_panic() {
    let wrong: [fn() -> HttpResponse; 8] = [
        || HttpResponse::new(101),
        || HttpResponse::new(600),
        || HttpResponse::new(200).header("content-length", "5"),
        || HttpResponse::new(200).header("Connection", "keep-alive"),
        || HttpResponse::new(200).header("Transfer-Encoding", "chunked"),
        || HttpResponse::new(200).header("X", "a\r\nY: b"),
        || HttpResponse::new(200).header("X Y", "a"),
        || HttpResponse::new(200).header("", "a"),
    ];
    for make in wrong {
        assert!(panic::catch_unwind(make).is_err());
    }
}

#[test]
fn an_upgrade_is_accepted_beside_the_pages() {
    let mut drive = Drive::new(echo).answer(page);
    let id = drive.accept();
    drive.feed(id, REQUEST).expect(id, RESPONSE).expect_seen(id, Seen::Open).expect_alive(id);
}

//! Any bytes as the head of a request, and of a response: never a panic; the same outcome whatever pieces they come
//! in; and what is accepted is right by a second look at RFC 6455 §4 and RFC 9112 that shares no code with the first.
//!
//! Input: a byte whose lowest bit chooses request (0) or response (1), a 16-bit seed for the pieces, the head.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::{
    ClientRequest, Commons, Config, Connection, ConnectionState, Input, Now, Refusal, Request, Response,
    Step, Upgrade,
};
use sockeye_fuzz::{chop::Chop, entropy};

fuzz_target!(|data: &[u8]| {
    let &[side, low, high, ref head @ ..] = data else { return };
    let mut chop = Chop::new(u16::from_le_bytes([low, high]));
    let mut config = Config::default();
    config.limits.head_bytes_max = if side & 2 == 0 { 16 << 10 } else { 300 };
    config.limits.headers_max = if side & 2 == 0 { 100 } else { 7 };
    if side & 1 == 0 {
        parse_alone(head_of(head));
        let whole = ask(&config, head, None);
        assert_eq!(whole, ask(&config, head, Some(&mut chop)));
    } else {
        let whole = answer(&config, head, None);
        assert_eq!(whole, answer(&config, head, Some(&mut chop)));
    }
});

// ---------------------------------------------------------------------- server

/// What a head is cut off at: its first empty line, if it has one, those before it not counted.
fn head_of(stream: &[u8]) -> &[u8] {
    let head = without_empty_lines(stream);
    let end = head.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(stream, |end| &stream[..stream.len() - head.len() + end + 4])
}

fn without_empty_lines(mut head: &[u8]) -> &[u8] {
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    head
}

fn parse_alone(head: &[u8]) {
    match Request::parse(head, 100) {
        Ok(request) => {
            if let Err(why) = check_request(head, 100) {
                panic!("accepted, although {why}: {:?}", String::from_utf8_lossy(head));
            }
            for name in request.subprotocols() {
                assert!(is_token(name.as_bytes()));
            }
            assert!(request.path().len() <= request.target().len() && request.path().is_ascii());
            assert!(!request.host().is_empty());
        }
        Err(refusal) => assert!(
            check_request(head, 100).is_err() || !is_plain(head),
            "refused, although nothing is wrong: {refusal}: {:?}",
            String::from_utf8_lossy(head)
        ),
    }
}

/// What a server makes of what a client sends first.
#[derive(Debug, Eq, PartialEq)]
struct Asked {
    /// The head it saw.
    head: Option<Vec<u8>>,
    state: ConnectionState,
    out: Vec<u8>,
    /// Frames behind the head, as far as the connection took them for messages.
    messages: Vec<Vec<u8>>,
}

fn ask(config: &Config, stream: &[u8], mut chop: Option<&mut Chop>) -> Asked {
    let (now, mut commons) = (Now::default(), Commons::new(config, entropy));
    let mut connection = Connection::server(now, &mut commons);
    let mut asked = Asked { head: None, state: connection.state(), out: Vec::new(), messages: Vec::new() };
    let mut rest = stream;
    while !rest.is_empty() {
        let n = chop.as_mut().map_or(rest.len(), |chop| chop.piece(rest.len()));
        let mut input = filled(&rest[..n]);
        rest = &rest[n..];
        loop {
            match connection.receive(now, &mut input, &mut commons) {
                Ok(Step::Pending) => break,
                Ok(Step::Head(head)) => {
                    let head = connection.head(&input, head).to_vec();
                    match Request::parse(&head, config.limits.headers_max) {
                        Ok(request) => {
                            check_request(&head, config.limits.headers_max as usize).expect("checked");
                            let mut upgrade = Upgrade::accept();
                            upgrade.subprotocol = request.subprotocols().next().map(str::to_owned);
                            connection.accept(now, &request, &upgrade, &mut commons, &mut asked.out);
                            check_accept(&asked.out, upgrade.subprotocol.as_deref());
                        }
                        Err(refusal) => {
                            connection.refuse(now, &refusal, &mut commons, &mut asked.out);
                            check_refusal(&asked.out, &refusal);
                        }
                    }
                    assert!(asked.head.is_none(), "a second head");
                    assert!(head.len() <= config.limits.head_bytes_max as usize);
                    asked.head = Some(head);
                }
                Ok(Step::HeadTooLarge) => {
                    let refusal = Refusal::HeadTooLarge { limit: config.limits.head_bytes_max };
                    connection.refuse(now, &refusal, &mut commons, &mut asked.out);
                    check_refusal(&asked.out, &refusal);
                }
                Ok(Step::Message(incoming)) => match connection.message(&input, &incoming) {
                    Ok(message) => asked.messages.push(message.as_bytes().to_vec()),
                    Err(fault) => connection.fail(now, fault, &mut commons, &mut asked.out),
                },
                Ok(Step::Close { code, .. }) => {
                    connection.answer_close(now, code, "", &mut commons, &mut asked.out);
                }
                Ok(Step::Ping(_) | Step::Pong(_)) => {}
                Ok(step @ (Step::Body { .. } | Step::Opened(_) | Step::Failed(..))) => {
                    panic!("a server is not dialled, and no body was asked for: {step:?}")
                }
                Err(fault) => connection.fail(now, fault, &mut commons, &mut asked.out),
            }
        }
    }
    asked.state = connection.state();
    asked
}

fn check_accept(out: &[u8], subprotocol: Option<&str>) {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(out).expect("our answer is HTTP");
    assert_eq!(parsed, httparse::Status::Complete(out.len()));
    assert_eq!((response.code, response.version), (Some(101), Some(1)));
    let value = |name: &str| {
        let mut lines = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        let value = lines.next().map(|header| header.value);
        assert!(lines.next().is_none(), "{name} twice");
        value
    };
    assert_eq!(value("Upgrade"), Some(&b"websocket"[..]));
    assert_eq!(value("Connection"), Some(&b"Upgrade"[..]));
    assert_eq!(value("Sec-WebSocket-Accept").map(<[u8]>::len), Some(28));
    assert_eq!(value("Sec-WebSocket-Protocol"), subprotocol.map(str::as_bytes));
    // Without a budget for contexts both sides compress each message on its own.
    let extension = &b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"[..];
    assert!(value("Sec-WebSocket-Extensions").is_none_or(|answered| answered.starts_with(extension)));
}

fn check_refusal(out: &[u8], refusal: &Refusal) {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(end)) = response.parse(out) else { panic!("our answer is no HTTP") };
    assert_eq!(response.code, Some(refusal.status()));
    assert!((400..600).contains(&refusal.status()));
    let length = response.headers.iter().find(|header| header.name == "Content-Length").expect("a length");
    match refusal {
        // RFC 9110 §9.3.2: the length it would have, and no content.
        Refusal::Head => assert_eq!(out.len(), end),
        _ => assert_eq!(length.value, (out.len() - end).to_string().as_bytes()),
    }
    assert!(
        response.headers.iter().any(|header| header.name == "Connection" && header.value.ends_with(b"close"))
    );
}

// ---------------------------------------------------------------------- client

/// What a client makes of what a server sends first.
#[derive(Debug, Eq, PartialEq)]
struct Answered {
    state: ConnectionState,
    outcome: Option<String>,
    messages: usize,
}

fn answer(config: &Config, stream: &[u8], mut chop: Option<&mut Chop>) -> Answered {
    let (now, mut out, mut commons) = (Now::default(), Vec::new(), Commons::new(config, entropy));
    let offered = ["chat".to_owned(), "superchat".to_owned()];
    let request = ClientRequest {
        target: "/".into(),
        host: "a".into(),
        subprotocols: offered.to_vec(),
        headers: Vec::new(),
    };
    let mut connection = Connection::client(now, request, &mut commons, &mut out);
    let mut answered = Answered { state: connection.state(), outcome: None, messages: 0 };
    let mut rest = stream;
    while !rest.is_empty() && !answered.outcome.as_ref().is_some_and(|outcome| outcome.starts_with("Failed"))
    {
        let n = chop.as_mut().map_or(rest.len(), |chop| chop.piece(rest.len()));
        let mut input = filled(&rest[..n]);
        rest = &rest[n..];
        loop {
            match connection.receive(now, &mut input, &mut commons) {
                Ok(Step::Pending) => break,
                Ok(Step::Opened(head)) => {
                    let response = Response::parse(connection.head(&input, head), 100);
                    let response = response.expect("the connection has read the same head");
                    let subprotocol = response.subprotocol().map(str::to_owned);
                    let accept = Request::parse(&out, 100).expect("our own request is valid").accept_key();
                    let right = check_response(stream, accept.as_bytes(), &offered, subprotocol.as_deref());
                    if let Err(why) = right {
                        panic!("accepted, although {why}: {:?}", String::from_utf8_lossy(stream));
                    }
                    answered.outcome = Some(format!("Opened({subprotocol:?})"));
                }
                Ok(Step::Failed(error, _)) => {
                    answered.outcome = Some(format!("Failed({error})"));
                    break;
                }
                Ok(Step::Message(incoming)) => match connection.message(&input, &incoming) {
                    Ok(_) => answered.messages += 1,
                    Err(fault) => connection.fail(now, fault, &mut commons, &mut out),
                },
                Ok(Step::Close { code, .. }) => {
                    connection.answer_close(now, code, "", &mut commons, &mut out)
                }
                Ok(Step::Ping(_) | Step::Pong(_)) => {}
                Ok(step @ (Step::Head(_) | Step::Body { .. } | Step::HeadTooLarge)) => {
                    panic!("a client is not asked: {step:?}")
                }
                Err(fault) => connection.fail(now, fault, &mut commons, &mut out),
            }
        }
    }
    answered.state = connection.state();
    answered
}

fn filled(piece: &[u8]) -> Input {
    let mut input = Input::new(piece.len());
    input.space().copy_from_slice(piece);
    input.fill(piece.len());
    input
}

// ---------------------------------------------------------------------- a second look

type Line<'a> = (&'a [u8], &'a [u8]);

/// First line and header lines of a head, by the letter of RFC 9112 §2 to §5.
fn lines(head: &[u8]) -> Result<(&[u8], Vec<Line<'_>>), &'static str> {
    let text = head.strip_suffix(b"\r\n\r\n").ok_or("there is no empty line at the end")?;
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        match text[at..] {
            [b'\r', b'\n', ..] => {
                lines.push(&text[start..at]);
                (start, at) = (at + 2, at + 2);
            }
            [b'\r' | b'\n' | 0, ..] => return Err("a lone CR, a lone LF or a NUL"),
            _ => at += 1,
        }
    }
    lines.push(&text[start..]);
    let (&first, rest) = lines.split_first().expect("one was pushed");
    let mut headers = Vec::new();
    for line in rest {
        let colon = line.iter().position(|&byte| byte == b':').ok_or("a line without a colon")?;
        let (name, value) = (&line[..colon], trim_ows(&line[colon + 1..]));
        if !is_token(name) {
            return Err("a name that is no token");
        }
        if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err("a control character in a value");
        }
        headers.push((name, value));
    }
    Ok((first, headers))
}

/// RFC 6455 §4.2.1.
fn check_request(head: &[u8], headers_max: usize) -> Result<(), &'static str> {
    let (first, headers) = lines(without_empty_lines(head))?;
    let words: Vec<&[u8]> = first.split(|&byte| byte == b' ').collect();
    let [b"GET", target, b"HTTP/1.1"] = words[..] else { return Err("no GET, target, HTTP/1.1") };
    if target.iter().any(|&byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err("a character that no target has");
    }
    let schemes: [&[u8]; 4] = [b"http://", b"https://", b"ws://", b"wss://"];
    let is_absolute = |scheme: &&[u8]| {
        target.len() > scheme.len()
            && target[..scheme.len()].eq_ignore_ascii_case(scheme)
            && !b"/?@".contains(&target[scheme.len()])
    };
    if !target.starts_with(b"/") && !schemes.iter().any(is_absolute) {
        return Err("neither a path nor a URI");
    }
    if headers.len() > headers_max {
        return Err("too many header lines");
    }
    let all = |name: &str| -> Vec<&[u8]> { values(&headers, name) };
    let host = all("host");
    let [host] = host[..] else { return Err("not one Host") };
    if host.is_empty()
        || host.iter().any(|byte| !byte.is_ascii_graphic() || b"/\\@?#\"<>^`{|}".contains(byte))
    {
        return Err("no host");
    }
    if !all("transfer-encoding").is_empty() || !all("content-length").iter().all(|value| is_zero(value)) {
        return Err("a body");
    }
    if !lists(&all("upgrade"), b"websocket") || !lists(&all("connection"), b"upgrade") {
        return Err("no upgrade to websocket");
    }
    if all("sec-websocket-version")[..] != [b"13"] {
        return Err("not one version, 13");
    }
    let keys = all("sec-websocket-key");
    let [key] = keys[..] else { return Err("not one key") };
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    if key.len() != 24 || !key.ends_with(b"==") || !key[..22].iter().all(is_base64) {
        return Err("a key that is not 16 bytes in base64");
    }
    if all("origin").len() > 1 {
        return Err("more than one Origin");
    }
    let offers = all("sec-websocket-protocol");
    let offers: Vec<&[u8]> = offers.iter().flat_map(|value| elements(value)).collect();
    if !offers.iter().all(|name| is_token(name))
        || (offers.is_empty() && !all("sec-websocket-protocol").is_empty())
    {
        return Err("a subprotocol that is no token");
    }
    Ok(())
}

/// RFC 6455 §4.1, the client's six points on the answer.
fn check_response(
    stream: &[u8],
    accept: &[u8],
    offered: &[String],
    chosen: Option<&str>,
) -> Result<(), &'static str> {
    let (first, headers) = lines(head_of(stream))?;
    let rest = first.strip_prefix(b"HTTP/1.1 101").ok_or("not HTTP/1.1 101")?;
    if !rest.is_empty() && !rest.starts_with(b" ") {
        return Err("not 101");
    }
    let all = |name: &str| -> Vec<&[u8]> { values(&headers, name) };
    let upgrades = all("upgrade");
    let upgrades = matches!(upgrades[..], [value] if value.eq_ignore_ascii_case(b"websocket"));
    if !upgrades || !lists(&all("connection"), b"upgrade") {
        return Err("no upgrade to websocket");
    }
    if all("sec-websocket-accept")[..] != [accept] {
        return Err("another key is accepted");
    }
    let extensions = all("sec-websocket-extensions");
    let mut extensions = extensions.iter().flat_map(|value| elements(value));
    let is_offered = |extension: &[u8]| {
        trim_ows(extension.split(|&byte| byte == b';').next().unwrap_or(b"")) == b"permessage-deflate"
    };
    if extensions.next().is_some_and(|extension| !is_offered(extension)) || extensions.next().is_some() {
        return Err("an extension that was not offered");
    }
    match (&all("sec-websocket-protocol")[..], chosen) {
        ([], None) => Ok(()),
        ([line], Some(name)) if *line == name.as_bytes() && offered.iter().any(|offer| offer == name) => {
            Ok(())
        }
        _ => Err("another subprotocol"),
    }
}

/// Nothing that one might argue about: such a head, if nothing is wrong with it, has to be accepted.
fn is_plain(head: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b'\r' | b'\n' | b' ' | b'!'..=b'~');
    let Ok((first, headers)) = lines(head) else { return false };
    let name = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'.';
    first.starts_with(b"GET /")
        && first.iter().all(|byte| plain(byte) && !b"\"<>\\^`{|}".contains(byte))
        && headers.iter().all(|(_, value)| value.iter().all(plain))
        && values(&headers, "host").iter().all(|host| host.iter().all(name))
        && values(&headers, "sec-websocket-extensions").is_empty()
}

fn values<'a>(headers: &[Line<'a>], name: &str) -> Vec<&'a [u8]> {
    let named = headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|header| header.1).collect()
}

fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_ows).filter(|element| !element.is_empty())
}

fn lists(values: &[&[u8]], token: &[u8]) -> bool {
    values.iter().flat_map(|value| elements(value)).any(|element| element.eq_ignore_ascii_case(token))
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte))
}

fn is_zero(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|&byte| byte == b'0')
}

/// Without the white space around it. RFC 9110 §5.6.3
fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

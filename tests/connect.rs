//! `sockeye connect` in a pipe: what goes in and out, how it ends and what its exit code says.

mod tool;

use sockeye::{CloseCode, Config, Message};
use std::{
    io::{BufReader, Read, Write},
    net::{Shutdown, TcpListener},
    time::{Duration, Instant},
};
use tool::{Ended, Seen, Serving, Tool, echo, raw_server, raw_websocket, signal, sockeye};

/// Runs it with this stdin to its end.
#[track_caller]
fn run(arguments: &[&str], stdin: &[u8]) -> Ended {
    let mut tool = Tool::connect(arguments);
    tool.input(stdin).end_input();
    tool.end()
}

// ---------------------------------------------------------------------- in and out

#[test]
fn each_line_is_sent_and_each_reply_is_a_line() {
    let server = Serving::start(echo);
    let ended = run(&[&server.url()], b"hi\nthere\n\nlast");
    ended.expect_code(0);
    assert_eq!((ended.stdout().as_str(), ended.stderr.as_str()), ("hi\nthere\n\nlast\n", ""));
    assert_eq!(server.next_of_interest(), Seen::Text("hi".to_owned()));
}

#[test]
fn a_reply_is_shown_when_it_comes_and_not_at_the_end() {
    let server = Serving::start(echo);
    let mut tool = Tool::connect(&[&server.url()]);
    tool.input(b"first\n").expect("first\n");
    tool.input(b"second\n").expect("second\n");
    tool.end_input();
    tool.end().expect_code(0);
}

#[test]
fn a_reply_that_takes_its_time_is_not_lost() {
    // Both when the server is slow to read, and when it replies later than it reads.
    for (before_pong, after_pong) in [(600, 0), (0, 100)] {
        let url = raw_websocket(move |mut stream| {
            let mut frames = [0; 8 + 14];
            stream.read_exact(&mut frames).expect("hi and a Ping, masked");
            assert_eq!((frames[0], frames[8]), (0x81, 0x89));
            let payload: Vec<_> = (0..8).map(|i| frames[14 + i] ^ frames[10 + i % 4]).collect();
            std::thread::sleep(Duration::from_millis(before_pong));
            stream.write_all(&[b"\x8a\x08", &payload[..]].concat()).expect("it is still there");
            std::thread::sleep(Duration::from_millis(after_pong));
            stream.write_all(b"\x81\x05later").expect("it is still there");
            let mut close = [0; 8];
            stream.read_exact(&mut close).expect("a Close");
            assert_eq!(close[0], 0x88);
            stream.write_all(b"\x88\x02\x03\xe8").expect("it waits for the answer");
        });
        let ended = run(&[&url, "--wait", "0.3"], b"hi\n");
        ended.expect_code(0);
        assert_eq!(ended.stdout(), "later\n");
    }
}

#[test]
fn even_without_waiting_replies_of_a_server_that_replies_as_it_reads_are_not_lost() {
    let server = Serving::start(echo);
    let lines: String = (0..1000).map(|i| format!("{i}\n")).collect();
    let ended = run(&[&server.url(), "--wait", "0"], lines.as_bytes());
    ended.expect_code(0);
    assert_eq!(ended.stdout(), lines);
}

#[test]
fn wait_says_how_long_it_is_quiet_before_it_closes() {
    let server = Serving::start(|_, _, _| {});
    for (wait, at_least) in [("0", 0), ("0.3", 300)] {
        let begun = Instant::now();
        run(&[&server.url(), "--wait", wait], b"").expect_code(0);
        assert!(begun.elapsed() >= Duration::from_millis(at_least), "{wait}: {:?}", begun.elapsed());
    }
}

#[test]
fn waiting_for_ever_leaves_the_end_to_the_server() {
    let server = Serving::start(|cx, id, seen| {
        if let Seen::Text(text) = seen {
            cx.send(id, text.as_str());
            cx.close(id, CloseCode::NORMAL, "enough");
        }
    });
    let ended = run(&[&server.url(), "--wait", "forever"], b"hi\n");
    ended.expect_code(0);
    assert_eq!(ended.stdout(), "hi\n");
}

#[test]
fn all_of_a_stream_that_is_larger_than_any_buffer_comes_back_in_order() {
    let server = Serving::start(echo);
    let lines: String = (0..40_000).map(|i| format!("{i:0>200}\n")).collect();
    let mut tool = Tool::connect(&[&server.url()]);
    let mut stdin = tool.stdin.take().expect("it is piped");
    let sent = lines.clone();
    let writer = std::thread::spawn(move || stdin.write_all(sent.as_bytes()));
    let ended = tool.end();
    writer.join().expect("it does not panic").expect("all was taken");
    ended.expect_code(0);
    assert_eq!(ended.stdout.len(), lines.len());
    assert!(ended.stdout() == lines, "in order");
}

#[test]
fn a_line_of_megabytes_is_one_message() {
    let server = Serving::start(echo);
    let line = "x".repeat(5 << 20) + "\n";
    let ended = run(&[&server.url()], line.as_bytes());
    ended.expect_code(0);
    assert!(ended.stdout() == line, "{} bytes came back", ended.stdout.len());
}

#[test]
fn binary_sends_all_of_stdin_as_one_message_and_writes_bytes_as_they_came() {
    let server = Serving::start(echo);
    let bytes: Vec<u8> = (0..=255).chain(*b"\n\r\n").collect();
    let ended = run(&[&server.url(), "--binary"], &bytes);
    ended.expect_code(0);
    assert_eq!(ended.stdout, bytes);
    assert_eq!(server.next_of_interest(), Seen::Binary(bytes));
}

#[test]
fn framing_cuts_stdin_as_it_says() {
    let sent = |arguments: &[&str], stdin: &[u8]| {
        let server = Serving::start(|_, _, _| {});
        run(&[&[server.url().as_str(), "--wait", "0"], arguments].concat(), stdin).expect_code(0);
        let mut messages = Vec::new();
        loop {
            match server.next_of_interest() {
                Seen::Close(..) => return messages,
                seen => messages.push(seen),
            }
        }
    };
    let binary = |bytes: &[u8]| Seen::Binary(bytes.to_vec());
    assert_eq!(
        sent(&["--binary", "--framing", "2"], b"a\nb\nc"),
        [binary(b"a\n"), binary(b"b\n"), binary(b"c")]
    );
    assert_eq!(sent(&["--binary", "--framing", "lines"], b"a\r\n\xff\n"), [binary(b"a\r"), binary(b"\xff")]);
    assert_eq!(sent(&["--framing", "whole"], b"a\nb\n"), [Seen::Text("a\nb\n".to_owned())]);
    assert_eq!(sent(&["--binary"], b""), [], "nothing is no message");
}

#[test]
fn a_line_that_is_not_utf8_is_named_and_nothing_of_it_is_sent() {
    let server = Serving::start(echo);
    let ended = run(&[&server.url(), "--wait", "0.2"], b"good\nb\xffd\nnever\n");
    ended.expect_complaint(1, &["line 2", "UTF-8", "--binary"]);
    assert_eq!(ended.stdout(), "good\n");
}

#[test]
fn json_is_one_object_for_each_event() {
    let server = Serving::start(|cx, id, seen| {
        if let Seen::Text(text) = seen {
            cx.send(id, format!("{text} \"\\\x1b[31m\n").as_str());
            cx.send(id, Message::Binary(b"\0\xff"));
            cx.close(id, CloseCode::new(4001), "so long");
        }
    });
    let ended = run(&[&server.url(), "--json"], b"hi\n");
    ended.expect_code(3);
    let url = server.url();
    let lines: Vec<_> = ended.stdout().lines().map(str::to_owned).collect();
    assert!(
        lines[0].starts_with(&format!(r#"{{"event":"open","url":"{url}","protocol":"","extensions":""#)),
        "{lines:?}"
    );
    assert_eq!(
        lines[1..],
        [
            r#"{"event":"message","type":"text","data":"hi \"\\\u001b[31m\n"}"#,
            r#"{"event":"message","type":"binary","data":"AP8="}"#,
            r#"{"event":"close","reason":"so long","code":4001,"wasClean":true}"#,
        ]
    );
}

#[test]
fn json_tells_of_errors_too() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("ws://{}/", taken.local_addr().expect("it is bound"));
    drop(taken);
    let ended = run(&[&url, "--json"], b"");
    ended.expect_code(69);
    let line = ended.stdout();
    assert!(line.starts_with(r#"{"event":"error","message":""#) && line.lines().count() == 1, "{line}");
}

#[test]
fn ping_is_sent_again_and_again_and_the_pongs_are_timed() {
    let server = Serving::start(|_, _, _| {});
    let ended = run(&[&server.url(), "--ping", "0.05", "--json"], b"");
    ended.expect_code(0);
    let pongs = ended.stdout().lines().filter(|line| line.starts_with(r#"{"event":"pong","ms":"#)).count();
    assert!(pongs >= 3, "{ended:?}");
    let ended = run(&["--wait", "0.1", &server.url(), "--ping"], b"");
    ended.expect_complaint(0, &["pong after ", " ms"]);
}

// ---------------------------------------------------------------------- the handshake

#[test]
fn headers_origin_and_subprotocols_are_sent_as_given() {
    for (flags, header, value) in [
        (&["-H", "Authorization: Bearer a:b "][..], "authorization", "Bearer a:b"),
        (&["--header", "X-Empty:", "-H", "X-Two: 2"], "x-two", "2"),
        (&["--origin", "https://example.com"], "origin", "https://example.com"),
        (&["-s", "chat.v2", "--subprotocol", "chat.v1"], "sec-websocket-protocol", "chat.v2, chat.v1"),
    ] {
        let server = Serving::with(Config::new("127.0.0.1:0"), header, |_, _, _| {});
        let url = format!("{}room?x=1", server.url());
        run(&[&[url.as_str(), "-w", "0"], flags].concat(), b"").expect_code(0);
        assert_eq!(server.next(), Seen::Request(format!("/room?x=1 {value}")));
    }
}

#[test]
fn compression_is_offered_unless_it_is_not_wanted() {
    for (flags, offers) in [(&["-w", "0"][..], true), (&["-w", "0", "--no-deflate"], false)] {
        let config = Config::new("127.0.0.1:0");
        let server = Serving::with(config, "sec-websocket-extensions", |_, _, _| {});
        run(&[&[server.url().as_str()], flags].concat(), b"").expect_code(0);
        let seen = format!("{:?}", server.next());
        assert_eq!(seen.contains("permessage-deflate"), offers, "{seen}");
    }
    let server = Serving::start(echo);
    let line = "all work and no play ".repeat(1000) + "\n";
    let ended = run(&[&server.url(), "--json"], line.as_bytes());
    let stdout = ended.expect_code(0).stdout();
    assert!(stdout.contains("\"extensions\":\"permessage-deflate"), "{stdout}");
    assert!(stdout.contains(line.trim_end()), "{stdout}");
}

#[test]
fn verbose_shows_both_heads_on_stderr_and_nothing_else_changes() {
    let server = Serving::start(echo);
    let url = server.url();
    let ended = run(&[&url, "-v", "-s", "chat", "-H", "X-Mine: yes"], b"hi\n");
    let host = format!("> Host: 127.0.0.1:{}", server.port);
    ended.expect_complaint(
        0,
        &[
            "> GET / HTTP/1.1\n",
            &host,
            "> Sec-WebSocket-Key: ",
            "> Sec-WebSocket-Protocol: chat\n",
            "> X-Mine: yes\n",
            "< HTTP/1.1 101 Switching Protocols\n",
            "< Sec-WebSocket-Accept: ",
            "< Sec-WebSocket-Protocol: chat\n",
        ],
    );
    assert_eq!(ended.stdout(), "hi\n");
    assert!(!ended.stderr.contains('\x1b'), "no colours in a pipe: {:?}", ended.stderr);
}

#[test]
fn what_a_server_says_reaches_stderr_without_what_a_terminal_would_obey() {
    let server = Serving::start(|cx, id, _| {
        cx.close(id, CloseCode::new(4000), "a\x1b]0;b\x07c");
    });
    let ended = run(&[&server.url(), "--wait", "forever"], b"");
    ended.expect_complaint(3, &["4000", "\\u{1b}]0;b"]);
    assert!(!ended.stderr.contains(['\x1b', '\x07']), "{:?}", ended.stderr);
}

// ---------------------------------------------------------------------- how it ends

#[test]
fn the_usual_codes_are_0_and_others_are_3() {
    for (code, exit_code) in [(1000, 0), (1001, 0), (1005, 0), (1011, 3), (4001, 3)] {
        let server = Serving::start(move |cx, id, seen| {
            if *seen == Seen::Open {
                cx.close(id, CloseCode::new(code), "");
            }
        });
        run(&[&server.url(), "--wait", "forever"], b"").expect_code(exit_code);
    }
}

#[test]
fn it_closes_with_the_code_and_reason_it_is_given() {
    let server = Serving::start(|_, _, _| {});
    for (flags, code, reason) in [
        (&[][..], 1000, ""),
        (&["--close", "4001"], 4001, ""),
        (&["--close", "1001", "--reason", "gone home"], 1001, "gone home"),
    ] {
        let ended = run(&[&[server.url().as_str(), "-w", "0"], flags].concat(), b"");
        assert_eq!(server.next_of_interest(), Seen::Close(code, reason.to_owned()));
        ended.expect_code(if code == 4001 { 3 } else { 0 });
    }
}

#[test]
fn a_server_that_is_not_there_or_refuses_is_69() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    drop(taken);
    run(&[&format!("ws://{address}/")], b"").expect_complaint(69, &[&address, "refused"]);
    run(&["ws://nowhere.invalid/"], b"").expect_complaint(69, &["nowhere.invalid"]);
    let refusing = || {
        raw_server(|mut stream, _| {
            let answer =
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).expect("it is taken");
        })
    };
    run(&[&refusing()], b"hi\n").expect_complaint(69, &["401"]);
    let heads = ["> GET / HTTP/1.1\n", "< HTTP/1.1 401 Unauthorized\n", "< WWW-Authenticate: Bearer\n"];
    run(&[&refusing(), "-v"], b"").expect_complaint(69, &heads);
    let silent = raw_server(|stream, _| drop(stream));
    run(&[&silent], b"").expect_complaint(69, &["without an answer"]);
}

#[test]
fn a_connection_that_is_lost_is_74() {
    let url = raw_websocket(|stream| drop(stream.shutdown(Shutdown::Write)));
    run(&[&url, "--wait", "forever"], b"").expect_complaint(74, &["1006", "without a Close"]);
}

#[test]
fn a_server_that_breaks_the_protocol_or_a_limit_is_76() {
    for (bytes, words) in [
        (&b"\x81\x82\0\0\0\0hi"[..], &["1002", "masked"][..]),
        (b"\x81\x02\xff\xff", &["1007", "UTF-8"]),
        (b"\x82\x7e\x04\x01", &["1009", "1025", "1024"]),
        (b"\xc1\x00", &["1002", "RSV1"]),
    ] {
        let url = raw_websocket(move |mut stream| {
            stream.write_all(bytes).expect("it is taken");
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let flags = ["--wait", "forever", "--message-bytes-max", "1KiB", "--no-deflate"];
        run(&[&[url.as_str()], &flags[..]].concat(), b"").expect_complaint(76, words);
    }
}

#[test]
fn a_signal_closes_with_1001_and_exits_with_0() {
    for name in ["INT", "TERM"] {
        let server = Serving::start(|_, _, _| {});
        let mut tool = Tool::connect(&[&server.url(), "--json"]);
        tool.expect("\"open\"");
        signal(name, tool.id());
        assert_eq!(server.next_of_interest(), Seen::Close(1001, String::new()));
        tool.end().expect_code(0);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (closing, close) = std::sync::mpsc::channel();
    let url = raw_websocket(move |mut stream| {
        // The Close is read, and not answered.
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes).expect("it says that it goes");
        closing.send(bytes[0]).expect("the test waits");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut tool = Tool::connect(&[&url, "--json"]);
    tool.expect("\"open\"");
    signal("INT", tool.id());
    assert_eq!(close.recv(), Ok(0x88));
    signal("INT", tool.id());
    tool.end().expect_code(130);
}

#[test]
fn a_reader_of_stdout_that_goes_ends_it_quietly() {
    let server = Serving::start(|cx, id, seen| {
        if *seen == Seen::Open {
            for i in 0..10_000 {
                cx.send(id, format!("{i:0>100}").as_str());
            }
        }
    });
    let mut command = sockeye(&["connect", &server.url(), "--wait", "forever"]);
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut first = [0; 101];
    stdout.read_exact(&mut first).expect("a message");
    drop(stdout);
    let output = child.wait_with_output().expect("it is our child");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn what_makes_no_sense_is_2_and_named() {
    let url = "ws://127.0.0.1:9/";
    for (arguments, words) in [
        (&["connect"][..], &["<URL>"][..]),
        (&["connect", "nonsense"], &["nonsense"]),
        (&["connect", "ftp://127.0.0.1/"], &["ftp"]),
        (&["connect", "ws://127.0.0.1/#part"], &["#"]),
        (&["connect", url, "-H", "no header"], &["no header", "Name: value"]),
        (&["connect", url, "-H", "Sec-WebSocket-Key: mine"], &["Sec-WebSocket-Key", "handshake"]),
        (&["connect", url, "-H", "A: b\r\nC: d"], &["Name: value"]),
        (&["connect", url, "--origin", "a\nb"], &["Origin"]),
        (&["connect", url, "-s", "a", "-s", "a"], &["a"]),
        (&["connect", url, "-s", "a b"], &["a b"]),
        (&["connect", url, "--close", "1006"], &["1006"]),
        (&["connect", url, "--close", "many"], &["many"]),
        (&["connect", url, "--ping", "0"], &["'0'", "0.001"]),
        (&["connect", url, "--wait", "-1"], &["-1"]),
        (&["connect", url, "--framing", "2"], &["--binary"]),
        (&["connect", url, "--framing", "words"], &["words"]),
        (&["connect", url, "--reason", &"x".repeat(124)], &["124", "123"]),
    ] {
        let ended = Tool::start(sockeye(arguments)).end();
        ended.expect_complaint(2, words);
        assert_eq!(ended.stdout(), "", "{arguments:?}");
    }
}

#[test]
fn help_says_what_is_done_with_pipes_and_what_the_exit_codes_mean() {
    let ended = Tool::start(sockeye(&["connect", "--help"])).end();
    ended.expect_code(0);
    let text = ended.stdout();
    for word in ["--wait", "forever", "--framing", "--json", "Ctrl-D", "Exit codes", "69", "74", "76", "130"]
    {
        assert!(text.contains(word), "it names {word:?}: {text}");
    }
}

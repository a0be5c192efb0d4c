//! Writes the corpus: `cargo run --example seeds`, in `fuzz/`. Each input is what somebody thought of; what a fuzzer
//! finds beyond them stays out of the repository, and a finding becomes a test of sockeye's.

use sockeye::{ClientRequest, Commons, Config, Connection, Now, Request, wire::handshake};
use sockeye_fuzz::{REQUEST, entropy};
use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    write("header", header())?;
    write("handshake", handshake())?;
    write("connection", connection())?;
    write("utf8", utf8())?;
    write("deflate", deflate())?;
    write("actions", actions())?;
    write("envelope", envelope())?;
    write("chat", chat())?;
    write("choice", choice())?;
    write("hub", hub())
}

type Seeds = Vec<(String, Vec<u8>)>;

fn write(target: &str, seeds: Seeds) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    for (name, bytes) in seeds {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

fn header() -> Seeds {
    let frames: [(&str, &[u8]); 14] = [
        ("text", b"\x81\x85keyshello"),
        ("binary-126", b"\x82\xfe\x00\x7ekeys"),
        ("binary-125-in-16-bits", b"\x82\xfe\x00\x7dkeys"),
        ("binary-65536", b"\x82\xff\0\0\0\0\0\x01\0\0keys"),
        ("binary-65535-in-64-bits", b"\x82\xff\0\0\0\0\0\0\xff\xffkeys"),
        ("top-bit", b"\x82\xff\x80\0\0\0\0\0\0\0keys"),
        ("ping-125", b"\x89\xfdkeys"),
        ("ping-126", b"\x89\xfe\x00\x7ekeys"),
        ("ping-in-part", b"\x09\x80keys"),
        ("close", b"\x88\x80keys"),
        ("continuation", b"\x80\x81keys!"),
        ("rsv1", b"\xc1\x80keys"),
        ("opcode-3", b"\x83\x80keys"),
        ("first-byte", b"\x81"),
    ];
    let mut seeds = Seeds::new();
    for (name, frame) in frames {
        for (how, role) in [(4, "server"), (6, "server-unfinished"), (5, "client")] {
            let mut bytes = [&[how], frame].concat();
            if role == "client" && bytes.len() > 2 {
                bytes[2] &= 0x7f;
                let key = bytes.windows(4).position(|window| window == b"keys").expect("there is a key");
                bytes.drain(key..key + 4);
            }
            seeds.push((format!("{role}-{name}"), bytes));
        }
    }
    seeds
}

fn handshake() -> Seeds {
    let request = String::from_utf8(REQUEST.to_vec()).expect("it is ASCII");
    let with = |line: &str| request.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    let requests = [
        ("request", request.clone()),
        ("request-with-frames", request.clone() + "\u{1}\u{0}"),
        ("empty-lines-before", format!("\r\n\r\n{request}")),
        ("absolute-form", request.replace("/chat", "http://[::1]:80/chat?a=b")),
        ("no-path", request.replace("/chat", "ws://a?b")),
        ("lists", request.replace("Connection: U", "Connection: keep-alive, , u")),
        ("lists-over-lines", with("Connection: keep-alive\r\nUpgrade: h2c, WebSocket/13")),
        ("subprotocols", with("Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Protocol: v2.x")),
        ("subprotocol-no-token", with("Sec-WebSocket-Protocol: a b")),
        ("origin", with("Origin: https://example.com")),
        ("extensions", with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")),
        ("two-hosts", with("Host: b")),
        ("two-keys", with("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")),
        ("body-of-none", with("Content-Length: 0")),
        ("body", with("Content-Length: 5")),
        ("chunked", with("Transfer-Encoding: chunked")),
        ("folded", with("X: a\r\n b")),
        ("lone-lf", request.replace("Host: a\r\n", "Host: a\n")),
        ("only-lf", request.replace('\r', "")),
        ("space-before-colon", request.replace("Host:", "Host :")),
        ("version-8", request.replace(": 13", ": 8")),
        ("http-1.0", request.replace("HTTP/1.1", "HTTP/1.0")),
        ("post", request.replace("GET", "POST")),
        ("plain-get", "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("many-lines", with(&["A: b"; 120].join("\r\n"))),
        ("large", with(&format!("A: {}", "b".repeat(400)))),
        ("latin-1", with("A: \u{e9}")),
    ];
    let response = response();
    let more = |line: &str| response.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    let responses = [
        ("response", response.clone()),
        ("response-with-frame", response.clone() + "\u{1}\u{2}ab"),
        ("response-subprotocol", more("Sec-WebSocket-Protocol: chat")),
        ("response-two-subprotocols", more("Sec-WebSocket-Protocol: chat, superchat")),
        ("response-extension", more("Sec-WebSocket-Extensions: x")),
        ("response-no-reason", response.replace(" Switching Protocols", "")),
        ("response-http-1.0", response.replace("HTTP/1.1", "HTTP/1.0")),
        ("response-404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("response-other-key", response.replace("Accept: ", "Accept: x")),
    ];
    let mut seeds = Seeds::new();
    for (side, heads) in [(0, &requests[..]), (1, &responses[..])] {
        for (name, head) in heads {
            let limits = if matches!(*name, "many-lines" | "large") { 2 } else { 0 };
            seeds.push(((*name).to_owned(), [&[side | limits, 3, 1], head.as_bytes()].concat()));
        }
    }
    seeds
}

/// The answer to the request that the target makes, whose key is the same each time.
fn response() -> String {
    let mut commons = Commons::new(&Config::default(), entropy);
    let request = ClientRequest { target: "/".into(), host: "a".into(), ..Default::default() };
    let (mut asked, mut answer) = (Vec::new(), Vec::new());
    Connection::client(Now::default(), request, &mut commons, &mut asked);
    let accept = Request::parse(&asked, 100).expect("our own request is valid").accept_key();
    handshake::put_response(accept, None, None, &[], &mut answer);
    String::from_utf8(answer).expect("it is ASCII")
}

fn connection() -> Seeds {
    // Commands as `script.rs` reads them.
    let scripts: [(&str, &[u8]); 26] = [
        ("hello", b"\x00\x05hello"),
        ("mixed-text", b"\x00\x05a\x80\xa0\xc0z"),
        ("text-3-times", b"\x00\x63a\xa0b\x00\x63a\xa0b\x00\x63a\xa0b"),
        ("text-60-times-in-5", b"\x04\x84\xa3a\xa0\xc0"),
        ("text-4096-times", b"\x00\xe3a\xa0\xc0"),
        ("text-4096-times-in-3", b"\x04\x02\xe3\xc0\xa0\x80\x00\x01a"),
        ("binary-125-126-127", b"\x02\x7d\x00\x02\x87\x00\x02\x88\x00"),
        ("binary-65535-65536-65537", b"\x02\x82\x00\x02\x83\x00\x02\x84\x00"),
        ("binary-65536-in-4-and-pings", b"\x06\x83\x83\x00\x0a\x02??"),
        ("binary-too-big", b"\x02\x7d\x00\x02\x86\x00"),
        ("fragments", b"\x08\x03\x00\x08\x00\x00\x08\x05\x00\x02\x04\x00"),
        ("fragments-and-pings", b"\x07\x02ab\x0a\x02??\x07\x02\xa0\xa0\x0b\x01!\x09\x01c"),
        ("pings", b"\x0a\x05hello\x0a\x00\x0a\xff0123456789012345678901234567890123456789\x0a\x01!"),
        ("ping-between-messages", b"\x00\x01a\x0a\x01!\x02\x04\x00\x0a\x01!\x00\x01b"),
        ("close", b"\x00\x01a\x0c\x00\x00\x03bye\x00\x01b"),
        ("close-empty", b"\x0d\x00\x00\x01b"),
        ("close-half", b"\x0d\x01\x03"),
        ("close-1005", b"\x0c\x05\x00\x00"),
        ("close-1014", b"\x0c\x0e\x00\x00"),
        ("close-no-text", b"\x0c\x00\x00\x01\xff"),
        ("text-cut-off", b"\x00\x02a\xfb"),
        ("text-surrogate-in-pieces", b"\x04\x03\x04ab\xfec"),
        ("flaws", b"\x00\x01a\xa0\x01b\xb0\x01b\xc0\x01b\xd0\x01b"),
        ("announced", b"\x00\x01a\xe2\x05\x00\x02\x88\x00\x02\x88\x00"),
        ("interleaved", b"\x07\x01a\xf2\x05\x00"),
        ("raw", b"\x0f\x08\x81\x82keysab"),
    ];
    let mut seeds = Seeds::new();
    for (i, (name, script)) in scripts.iter().enumerate() {
        // Each reply, limit and size of pieces comes up with some script.
        let flags = [0, 0, 2, 4, 0, 6][i % 6];
        for role in [0, 1] {
            let start = [flags | role, (i % 8) as u8, i as u8 | 2, 1, (i * 3) as u8 | 1, 1];
            let side = ["server", "client"][usize::from(role)];
            seeds.push((format!("{side}-{name}"), [&start[..], script].concat()));
        }
    }
    for reply in 0..8 {
        let script = b"\x00\x03abc\x02\x40\x01\x06\x83\x83\x00\x0a\x02??\x02\x83\x00\x00\x61a\x04\x03\xa3a\xa0\xc0\x00\x01z";
        for (flags, seed) in [(0, 4), (4, 6)] {
            let start = [flags, reply, seed, 9, seed ^ 3, 5];
            seeds.push((format!("reply-{reply}-{seed}"), [&start[..], script].concat()));
        }
    }
    seeds
}

fn utf8() -> Seeds {
    let texts: [(&str, &[u8]); 26] = [
        ("empty", b""),
        ("ascii", b"The quick brown fox jumps over the lazy dog, and over again, and once more."),
        ("two", "é".as_bytes()),
        ("three", "€".as_bytes()),
        ("four", "𝄞".as_bytes()),
        ("mixed", "Hello-µ@ßöäüàá-UTF-8!! κόσμε €𝄞".as_bytes()),
        ("first-of-two", b"\xc2\x80"),
        ("last-of-two", b"\xdf\xbf"),
        ("first-of-three", b"\xe0\xa0\x80"),
        ("last-before-surrogates", b"\xed\x9f\xbf"),
        ("first-after-surrogates", b"\xee\x80\x80"),
        ("last-of-three", b"\xef\xbf\xbf"),
        ("first-of-four", b"\xf0\x90\x80\x80"),
        ("last", b"\xf4\x8f\xbf\xbf"),
        ("beyond", b"\xf4\x90\x80\x80"),
        ("surrogate", b"ab\xed\xa0\x80"),
        ("overlong-two", b"\xc0\xaf"),
        ("overlong-three", b"\xe0\x80\xaf"),
        ("overlong-four", b"\xf0\x80\x80\xaf"),
        ("continuation", b"a\x80"),
        ("cut-off-two", b"abc\xc3"),
        ("cut-off-three", b"abc\xe2\x82"),
        ("cut-off-four", b"abc\xf0\x9d\x84"),
        ("interrupted", b"\xe2\x82a"),
        ("five-bytes", b"\xf8\x88\x80\x80\x80"),
        ("late", b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\xe2\x82\xac\xff"),
    ];
    let named = texts.iter().enumerate();
    named.map(|(i, (name, text))| ((*name).to_owned(), [&[i as u8], *text].concat())).collect()
}

/// What the three parts of the `deflate` target read.
fn deflate() -> Seeds {
    // The examples of RFC 7692 §7.2.3, then what is wrong, or may seem so.
    let payloads: [(&str, &[&[u8]]); 16] = [
        ("hello", &[b"\xf2\x48\xcd\xc9\xc9\x07\x00"]),
        ("hello-takes-over", &[b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00"]),
        ("hello-stored", &[b"\x00\x05\x00\xfa\xffHello\x00"]),
        ("hello-final", &[b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"\xf2\x48\xcd\xc9\xc9\x07\x00"]),
        ("hello-two-blocks", &[b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"]),
        ("empty", &[b"\x00", b"\x02\x00", b"\x01", b"\x03\x00", b""]),
        ("final-without-an-end", &[b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00"]),
        ("final-twice", &[b"\x03\x00\x03\x00\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"]),
        ("tail-not-cut-off", &[b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"]),
        ("cut-off", &[b"\xf2\x48\xcd\xc9", b"\x00\x05\x00\xfa\xffHel"]),
        ("cut-off-in-a-length", &[b"\x00\xff\xff"]),
        ("block-of-kind-3", &[b"\x06"]),
        ("distance-too-far", &[b"\xf2\x00\x11\x00\x00"]),
        ("dynamic", &[b"\x04\xc0\xb1\x0d\x00\x00\x08\xc3\xb0\xff\xff\x03\x00"]),
        ("zeros", &[b"\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a\x00"]),
        ("plain", &[b"abcabcabcabcabcabcabcabc", b"abcabcabcabc abcabcabcabc", b"\xe0zzzzz", b"zzzzzzzz"]),
    ];
    let mut seeds = Seeds::new();
    for (i, (name, payloads)) in payloads.iter().enumerate() {
        let framed =
            payloads.iter().flat_map(|payload| [&(payload.len() as u16).to_le_bytes()[..], payload].concat());
        let framed: Vec<u8> = framed.collect();
        let i = i as u8;
        for flags in 0..8 {
            let seed = [i ^ flags, 1];
            let ways: [(&str, &[u8]); 3] =
                [("inflate", &[0, flags]), ("return", &[1, i, i / 2, flags]), ("connection", &[2, flags, i])];
            let (way, start) = ways[usize::from(flags + i) % 3];
            seeds.push((format!("{way}-{name}-{flags}"), [start, &seed, &framed].concat()));
        }
    }
    seeds
}

/// JSON with ordinary bounds and with low ones.
fn texts(texts: &[(&str, &str)]) -> Seeds {
    let both = [(0, ""), (1, "-low")].into_iter();
    both.flat_map(|(flags, how)| {
        texts.iter().map(move |(name, text)| (format!("{name}{how}"), [&[flags], text.as_bytes()].concat()))
    })
    .collect()
}

fn actions() -> Seeds {
    texts(&[
        (
            "pusher",
            r#"[{"action":"authenticate","token":"admin:x"},{"action":"send_channel","channel_name":"a","message":"b"}]"#,
        ),
        (
            "join",
            r#"{"action":"Join Channel","channel_name":"a","visibility":"private","join_or_create":"0","id":[1]}"#,
        ),
        (
            "resume",
            r#"[{"action":"joinChannel","channel_name":"a","since":3,"epoch":null},{"action":"history","limit":2e0}]"#,
        ),
        (
            "govern",
            r#"[{"action":"kick_user","channel_name":"a","uuid":"u"},{"action":"set-visibility","visibility":"x"}]"#,
        ),
        (
            "tell",
            r#"[{"action":"message_user","uuid":"u","message":"\ud83d\ude00 \ud800","id":{"a":1,"a":2}}]"#,
        ),
        (
            "wrong-types",
            r#"[{"action":1},{"action":"leave_channel","channel_name":2},{"action":"authenticate","token":[]},3]"#,
        ),
        (
            "duplicates",
            r#"{"action":"x","action":"list_channels","\u0061ction":"list_members","channel_name":"a"}"#,
        ),
        ("empty", "[]"),
        ("too-deep", r#"[{"action":"x","id":[[[[1]]]]}]"#),
        ("cut-off", r#"[{"action":"join_channel","channel_name":"a"#),
    ])
}

fn envelope() -> Seeds {
    texts(&[
        ("plain", r#"{"action":"say","message":"{\"a\":1}","groupId":"g","userId":"u","recipients":[]}"#),
        ("any-case", r#"{"ACTION":"a","action":"b","MESSAGE":null,"GroupID":"g","recipients":null}"#),
        (
            "recipients",
            r#"{"recipients":[{"type":"group","value":"g"},{"Type":2,"VALUE":"u"},{"type":0,"value":"u"},{"type":"ALL"}]}"#,
        ),
        (
            "malformed-recipients",
            r#"{"recipients":[1,{},{"type":[]},{"type":"x","value":3},{"type":-0.0,"value":"u"}]}"#,
        ),
        ("wrong-types", r#"{"action":1,"message":"m"}"#),
        ("surrogates", r#"{"action":"\ud800","message":"\udc00\u0000"}"#),
    ])
}

fn chat() -> Seeds {
    texts(&[
        ("ping", "ping"),
        ("claim", r#"{"type":"username","name":"<b>Bob</b>","id":1,"date":2}"#),
        ("line", r#"{"type":"message","text":"1<2 <i>x</i> <>","id":1,"date":2,"name":"root"}"#),
        ("other", r#"{"a":{"b":1,"b":[2,{"c":3,"c":4}]},"type":"x","id":1,"id":2,"name":7}"#),
        ("server-only", r#"{"type":"userlist","users":[]}"#),
        ("no-text", r#"{"type":"message","text":1}"#),
    ])
}

fn choice() -> Seeds {
    let of = |listener: u8, text: &str| [&[listener], text.as_bytes()].concat();
    vec![
        ("path".to_owned(), of(5, "/Chat/\na\nactions, json\n[1]")),
        ("last-segment".to_owned(), of(0, "/a/__InitializeSocket.php\necho.a\nx\n{\"action\":\"x\"}")),
        ("room".to_owned(), of(1, "/%52oom/a%2Fb%ff\na\n\n{\"action\":\"history\",\"UserId\":1}")),
        ("host".to_owned(), of(2, "/x\nEcho.a\nroom\n{\"Action\":1}")),
        ("push".to_owned(), of(3, "/__broadcastwebsocket.ww\na\n\n \t[")),
        ("echo".to_owned(), of(4, "/a/.echo/ECHO.php\na\n\n\"a\"")),
    ]
}

/// Steps as `hub/play.rs` reads them.
fn hub() -> Seeds {
    // Two of one dialect come, then they do what that dialect has.
    let two = |way: u8| [0, way, 0, 0, way, 0];
    let say = [2, 0, 1, 2, 0, 0, 0, 0, 8, 0, 0]; // of 0: join "a", say
    let join = [2, 1, 3, 0, 0, 0, 1, 2, 0, 0, 0, 0, 17, 0, 0, 16, 0, 0]; // of 1: authenticate, join, watch, list
    let scripts: [(&str, Vec<u8>); 8] = [
        ("channel", [&two(0)[..], &say, &join, &say, &[12, 0, 2]].concat()),
        ("pusher", [&two(0)[..], &join, &[6, 0, 1, 0, 0, 0, 4, 8, 0, 0]].concat()),
        ("private", [&two(0)[..], &[2, 0, 3, 0, 0, 0, 0, 2, 0, 0, 2, 0, 11, 0, 1, 15, 0, 0], &join].concat()),
        (
            "envelope",
            [&two(3)[..], &[7, 0, 1, 0, 1, 1, 1, 0, 1, 0, 2, 2, 2, 4, 1], &[0, 3, 2], &[14, 1, 0, 1, 0, 0]]
                .concat(),
        ),
        (
            "initialmessages",
            [&two(2)[..], &[7, 0, 0, 0, 2, 3, 0, 8, 1, 0, 3, 2, 1, 0], &[15, 3], &two(2)].concat(),
        ),
        (
            "chat",
            [&two(1)[..], &[9, 0, 0, 1, 0, 9, 1, 1, 2, 0, 10, 0, 2, 3, 9, 1, 3, 4, 9, 0, 4, 5, 13, 0, 1]]
                .concat(),
        ),
        ("rooms", [&two(5)[..], &two(6), &[11, 0, 0, 3, 97, 98, 99, 11, 3, 1, 2, 0, 255, 12, 1, 0]].concat()),
        (
            "auto",
            [&two(14)[..], &two(15), &say, &[7, 1, 0, 0, 1, 1, 0, 11, 0, 0, 2, 91, 93, 11, 3, 1, 1, 0]]
                .concat(),
        ),
    ];
    let both = [(0, ""), (1, "-no-history")].into_iter();
    both.flat_map(|(keeps, how)| {
        let scripts = scripts.iter();
        scripts.map(move |(name, script)| (format!("{name}{how}"), [&[keeps], &script[..]].concat()))
    })
    .collect()
}

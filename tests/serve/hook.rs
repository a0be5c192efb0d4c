//! The application hook: what a program in another language is asked by HTTP, what is done by its answers, and what
//! becomes of the callers, and of everybody else, when it does not answer as it should.

use crate::{
    page::{File, Page},
    serving::{Serving, expect_usage, sockeye},
    tool::{PATIENCE, signal},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

// ---------------------------------------------------------------------- an application

/// A request, as the application sees it.
struct Asked {
    /// The connection that it came on, counted from 0.
    connection: usize,
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Asked> {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut asked = Asked { connection, line: line.trim_end().to_owned(), headers, body: String::new() };
        let mut body = vec![0; asked.header("Content-Length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        asked.body = String::from_utf8(body).expect("it is a text");
        Some(asked)
    }
}

/// An application that listens: `act` does with each request what it likes to the socket, and says whether there is to
/// be another one on it. What it was asked comes out here.
fn application(
    act: impl Fn(&Asked, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> (SocketAddr, Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let (ask, asked) = mpsc::channel();
    let act = Arc::new(act);
    thread::spawn(move || {
        for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let (ask, act) = (ask.clone(), act.clone());
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("a live socket"));
                let mut stream = stream;
                while let Some(asked) = Asked::read(&mut reader, connection) {
                    let goes_on = act(&asked, &mut stream);
                    if ask.send(asked).is_err() || !goes_on {
                        return;
                    }
                }
            });
        }
    });
    (address, asked)
}

/// One that answers what `answer` makes of the question; an empty text is 204.
fn answering(answer: impl Fn(&Value) -> String + Send + Sync + 'static) -> (SocketAddr, Receiver<Asked>) {
    application(move |asked, stream| {
        let body = answer(&asked.json());
        let head = match body.len() {
            0 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            len => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n")
            }
        };
        stream.write_all((head + &body).as_bytes()).is_ok()
    })
}

fn serve(application: SocketAddr, flags: &[&str]) -> Serving {
    let url = format!("http://{application}/hook?a=1");
    Serving::start(&[&["--listen", "127.0.0.1:0", "--hook-url", &url], flags].concat())
}

#[track_caller]
fn next(asked: &Receiver<Asked>) -> Asked {
    asked.recv_timeout(PATIENCE).expect("the application is asked")
}

// ---------------------------------------------------------------------- what is asked, and answered

#[test]
fn an_action_is_posted_as_it_came_and_its_caller_gets_the_reply_with_its_id() {
    let (application, asked) = answering(|question| {
        assert_eq!(question["action"], "roll");
        r#"{"reply": {"action": "rolled", "pips": 4}}"#.to_owned()
    });
    let mut serving = serve(application, &["--hook-action", "roll"]);
    let address = serving.listening_ip();
    let mut page = Page::open(address, "/actions");
    page.send(r#"[{"action":"roll", "sides" : 6, "id":"r1"}]"#);
    assert_eq!(
        page.next(),
        r#"{"status":"ok","version":"1.0","message":"","data":[{"action": "rolled", "pips": 4}],"id":"r1"}"#
    );
    let first = next(&asked);
    assert_eq!(first.line, "POST /hook?a=1 HTTP/1.1");
    assert_eq!(first.header("Content-Type"), Some("application/json"));
    assert_eq!(first.header("Sockeye-Signature"), None, "there is no secret");
    assert!(first.header("User-Agent").is_some_and(|agent| agent.starts_with("sockeye/")));
    assert!(first.body.contains(r#""message":{"action":"roll", "sides" : 6, "id":"r1"}"#), "{}", first.body);
    let question = first.json();
    assert_eq!(question["kind"], "action");
    assert_eq!(question["dialect"], "actions");
    assert_eq!((&question["user"], &question["admin"]), (&Value::Null, &json!(false)));
    assert!(question["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")));
    assert!(question["time"].as_u64().is_some_and(|time| time > 1_700_000_000_000));
    assert_eq!(first.header("Sockeye-Event"), question["event"].as_str());

    // What is not on the list is not passed on, and the next is on the same connection with another event.
    assert!(page.ask(r#"{"action":"Roll"}"#).starts_with("Invalid command"));
    page.send(r#"{"action":"roll","id":2}"#);
    assert_eq!(page.json()["id"], 2);
    let second = next(&asked);
    assert_eq!(second.connection, first.connection);
    assert_ne!(second.header("Sockeye-Event"), first.header("Sockeye-Event"));
    assert!(second.header("Sockeye-Event").is_some_and(|event| event.len() >= 18));
}

#[test]
fn all_that_an_answer_may_say_is_carried_out() {
    let (application, _asked) = answering(|question| match question["action"].as_str() {
        Some("nothing") => String::new(),
        Some("fail") => r#"{"reply":"It is late"}"#.to_owned(),
        Some("both") => r#"{"reply":[{"action":"a"},{"action":"b"}]}"#.to_owned(),
        Some("send") => json!({"send": [
            {"to": {"channel": "c"}, "message": "to <c>", "from": {"id": "0", "name": "house"}},
            {"to": {"user": "7"}, "message": "to Alice", "from": "house"},
            {"to": {"group": "g"}, "message": {"x": 1}, "action": "moved", "from": "house"},
            {"to": {"room": "r"}, "message": "to r"},
            {"to": {"connection": question["connection"]}, "message": {"raw": true}},
            {"to": {"channel": "nowhere"}, "message": "m"},
        ]})
        .to_string(),
        _ => "{}".to_owned(),
    });
    let users = File::new("hook-users", "[[user]]\ntoken = \"t\"\nid = \"7\"\nname = \"Alice\"\n");
    let mut serving = serve(application, &["--hook-action", "*", "--users", users.path()]);
    let address = serving.listening_ip();
    let mut page = Page::open(address, "/actions");
    for (action, answer) in [
        (
            r#"{"action":"nothing","id":1}"#,
            r#"{"status":"ok","version":"1.0","message":"","data":[],"id":1}"#,
        ),
        (
            r#"{"action":"fail","id":2}"#,
            r#"{"status":"error","version":"1.0","message":"It is late","data":[],"id":2}"#,
        ),
        (
            r#"{"action":"both"}"#,
            r#"{"status":"ok","version":"1.0","message":"","data":[{"action":"a"},{"action":"b"}]}"#,
        ),
        (r#"{"action":"other","id":3}"#, r#"{"status":"ok","version":"1.0","message":"","data":[],"id":3}"#),
    ] {
        assert_eq!(page.send(action).next(), answer);
    }
    let mut member = Page::open(address, "/actions");
    assert_eq!(member.ask(r#"{"action":"join_channel","channel_name":"c"}"#), "");
    let mut alice = Page::open(address, "/actions");
    assert!(alice.is_known("t"));
    let mut group = Page::open(address, "/envelope?groupid=g");
    let mut seven = Page::open(address, "/envelope?userid=7");
    let mut room = Page::open(address, "/room/r");
    // They have been heard before, so that they are where they belong.
    for page in [&mut group, &mut seven] {
        page.send(r#"{"action":"here","recipients":[{"type":"group","value":"none"}]}"#);
    }
    room.send("here").next();
    group.send(r#"{"action":"echo","message":"g","groupId":"g"}"#).next();

    page.send(r#"{"action":"send","id":4}"#);
    assert_eq!(page.json()["id"], 4, "the reply comes first");
    assert_eq!(page.next(), r#"{"raw":true}"#);
    let said = &member.json()["data"][0];
    assert_eq!(
        (&said["text"], &said["username"], &said["uuid"]),
        (&json!("to <c>"), &json!("house"), &json!("0"))
    );
    assert_eq!(alice.json()["data"][0]["text"], "to Alice");
    let moved = r#"{"action":"moved","message":"{\"x\":1}","groupId":"g","userId":"house","recipients":[]}"#;
    assert_eq!(group.next(), moved);
    assert_eq!(seven.json()["message"], "to Alice");
    assert_eq!(room.next(), "to r");
}

#[test]
fn a_message_of_envelope_is_the_applications_or_is_distributed_where_it_says_so() {
    let (application, asked) = answering(|question| match question["message"]["action"].as_str() {
        Some("pass") => r#"{"allow":true}"#.to_owned(),
        Some("ask") => r#"{"reply":{"action":"told","message":"yes","groupId":"g"}}"#.to_owned(),
        Some("fail") => r#"{"reply":"not now"}"#.to_owned(),
        _ => String::new(),
    });
    let mut serving = serve(application, &["--hook-envelope"]);
    let mut page = Page::open(serving.listening_ip(), "/envelope?groupid=g&userid=me");
    page.send(r#"{"action":"drop","message":"1"}"#);
    page.send(r#"{"action":"pass", "message":"2","groupId":"g"}"#);
    assert_eq!(page.next(), r#"{"action":"pass","message":"2","groupId":"g","userId":"me","recipients":[]}"#);
    page.send(r#"{"action":"ask"}"#);
    assert_eq!(page.next(), r#"{"action":"told","message":"yes","groupId":"g","userId":"","recipients":[]}"#);
    page.send(r#"{"action":"fail"}"#);
    assert_eq!(
        page.next(),
        r#"{"action":"error","message":"not now","groupId":"","userId":"","recipients":[]}"#
    );
    let first = next(&asked);
    assert_eq!((&first.json()["kind"], &first.json()["sender"]), (&json!("message"), &json!("me")));
    assert!(next(&asked).body.contains(r#""message":{"action":"pass", "message":"2","groupId":"g"}"#));
}

#[test]
fn who_a_token_is_and_who_may_join_is_asked_and_what_is_said_meanwhile_waits_in_order() {
    let (application, asked) = answering(|question| {
        match (question["kind"].as_str(), question["token"].as_str(), question["place"]["channel"].as_str()) {
            (Some("authenticate"), Some("alice"), _) => {
                r#"{"identity":{"id":"7","name":"Alice","group":"staff"}}"#.to_owned()
            }
            (Some("authenticate"), Some("late"), _) => r#"{"reply":"The books are closed"}"#.to_owned(),
            (Some("authenticate"), ..) => String::new(),
            (_, _, Some("closed")) => r#"{"allow":false}"#.to_owned(),
            (_, _, Some("staff")) if question["user"]["group"] != "staff" => {
                r#"{"allow":false,"reply":"Staff only"}"#.to_owned()
            }
            _ => r#"{"allow":true}"#.to_owned(),
        }
    });
    let mut serving = serve(application, &["--hook-authenticate", "--hook-join"]);
    let address = serving.listening_ip();
    let mut page = Page::open(address, "/actions");
    assert_eq!(page.ask(r#"{"action":"authenticate","token":"x"}"#), "Invalid auth token");
    assert_eq!(page.ask(r#"{"action":"authenticate","token":"late"}"#), "The books are closed");
    assert_eq!(page.ask(r#"{"action":"join_channel","channel_name":"staff"}"#), "Staff only");
    assert!(page.ask(r#"{"action":"join_channel","channel_name":"closed"}"#).contains("Permission denied"));
    page.send(
        r#"[{"action":"authenticate","token":"alice","id":1},{"action":"join_channel","channel_name":"staff","id":2},
            {"action":"message_channel","channel_name":"staff","message":"hi","id":3}]"#,
    );
    page.send(r#"{"action":"leave_channel","channel_name":"staff","id":4}"#);
    for id in 1..=4 {
        let answer = page.json();
        assert_eq!((&answer["id"], &answer["status"]), (&json!(id), &json!("ok")), "{answer}");
    }
    let places: Vec<_> = asked.try_iter().map(|asked| asked.json()["place"].clone()).collect();
    assert!(places.contains(&json!({"channel": "staff"})), "{places:?}");

    // The session of a handshake, and groups.
    let cookie = [("Cookie", "armor_sid_user=alice")];
    let mut seven = Page::open_with(address, "/envelope?groupid=g", &cookie);
    seven.send(r#"{"action":"say","message":"m","groupId":"g"}"#);
    assert_eq!(seven.json()["userId"], "7");
    let mut room = Page::open(address, "/room/r");
    assert_eq!(room.send("in").next(), "in");
}

#[test]
fn a_question_is_signed_with_the_secret_which_is_shown_nowhere() {
    let (application, asked) = answering(|_| String::new());
    let secret = File::new("hook-secret", "top secret\n");
    let mut serving =
        serve(application, &["--hook-action", "*", "--hook-secret-file", secret.path(), "--log", "json"]);
    let address = serving.line_with("listening");
    let address: Value = serde_json::from_str(&address).expect("a record");
    let address: SocketAddr = address["address"].as_str().and_then(|a| a.parse().ok()).expect("an address");
    let mut page = Page::open(address, "/actions");
    assert_eq!(page.ask(r#"{"action":"sign","id":1}"#), "");
    let asked = next(&asked);
    let signature = asked.header("Sockeye-Signature").expect("there is a secret");
    let (time, digest) = signature.split_once(",v1=").expect("two parts");
    let time = time.strip_prefix("t=").expect("a time");
    assert!(time.parse::<u64>().is_ok_and(|time| time > 1_700_000_000), "{time}");
    assert_eq!(digest, hmac_sha256(b"top secret", format!("{time}.{}", asked.body).as_bytes()));
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
    assert!(!serving.said.contains("top secret"), "{}", serving.said);
    assert!(
        serving.said.contains(r#""asked":1"#) && serving.said.contains(r#""answered":1"#),
        "{}",
        serving.said
    );

    for (flags, variables) in
        [(vec!["--hook-secret", "shown"], vec![]), (vec![], vec![("SOCKEYE_HOOK__HOOK_SECRET", "shown")])]
    {
        let mut command = sockeye(
            &[&["serve", "--print-config", "--hook-url", "http://a/?key=in-the-query"][..], &flags].concat(),
        );
        command.envs(variables);
        let output = crate::tool::finish(command.spawn().expect("the binary starts"));
        let listing = String::from_utf8_lossy(&output.stdout);
        assert!(listing.contains("#hook_secret = \"********\"") && !listing.contains("shown\""), "{listing}");
        assert!(
            listing.contains("hook_url = \"http://a/\"") && !listing.contains("in-the-query"),
            "{listing}"
        );
    }
}

/// RFC 2104, by hand: the digest in another way than the server has it.
fn hmac_sha256(key: &[u8], text: &[u8]) -> String {
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = sha256(&[&padded(0x36), text].concat());
    sha256(&[&padded(0x5c)[..], &inner].concat()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By the tool of the system.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("coreutils are installed");
    child.stdin.take().expect("it is piped").write_all(bytes).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    let hex = String::from_utf8_lossy(&output.stdout);
    (0..64).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
}

// ---------------------------------------------------------------------- order and load

#[test]
fn the_answers_of_a_connection_come_in_the_order_of_its_questions() {
    // Each connection's answers take longer the earlier they were asked.
    let (application, _asked) = answering(|question| {
        let number = question["message"]["n"].as_u64().expect("a number");
        thread::sleep(Duration::from_millis(3 - number % 4));
        json!({"reply": {"action": "counted", "n": number}}).to_string()
    });
    let mut serving = serve(application, &["--hook-action", "count", "--hook-timeout-ms", "20000"]);
    let address = serving.listening_ip();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut page = Page::open(address, "/actions");
                for n in 0..50 {
                    page.send(&json!({"action": "count", "n": n, "id": n}).to_string());
                }
                for n in 0..50 {
                    let answer = page.json();
                    assert_eq!((&answer["id"], &answer["data"][0]["n"]), (&json!(n), &json!(n)), "{answer}");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("all answers came in order"));
}

/// While `ask` goes on, echoes elsewhere come back at once, and right.
#[track_caller]
fn beside_echoes<R>(address: SocketAddr, ask: impl FnOnce() -> R) -> R {
    let (stop, stopped) = mpsc::channel::<()>();
    let echoes = thread::spawn(move || {
        let mut page = Page::open(address, "/echo");
        let mut worst = Duration::ZERO;
        for n in 0.. {
            let (text, began) = (format!("echo {n}"), Instant::now());
            assert_eq!(page.send(&text).next(), text);
            worst = worst.max(began.elapsed());
            if n > 20 && stopped.try_recv() != Err(mpsc::TryRecvError::Empty) {
                break;
            }
        }
        worst
    });
    let result = ask();
    drop(stop);
    let worst = echoes.join().expect("every echo came back");
    assert!(worst < Duration::from_millis(500), "an echo took {worst:?}");
    result
}

// ---------------------------------------------------------------------- what goes wrong

#[track_caller]
fn expect_failure(application: SocketAddr, flags: &[&str], message: &str, reason: &str) {
    let all =
        ["--hook-action", "*", "--hook-envelope", "--hook-authenticate", "--hook-join", "--log", "json"];
    let mut serving =
        serve(application, &[&all, &["--hook-timeout-ms", "500", "--hook-threads", "1"][..], flags].concat());
    let record: Value = serde_json::from_str(&serving.line_with("listening")).expect("a record");
    let address: SocketAddr = record["address"].as_str().and_then(|a| a.parse().ok()).expect("an address");
    beside_echoes(address, || {
        let mut page = Page::open(address, "/actions");
        for action in [
            r#"{"action":"x","id":1}"#,
            r#"{"action":"authenticate","token":"x","id":1}"#,
            r#"{"action":"join_channel","channel_name":"x","id":1}"#,
        ] {
            let answer = page.send(action).json();
            assert_eq!(
                (&answer["status"], &answer["message"], &answer["id"]),
                (&json!("error"), &json!(message), &json!(1)),
                "{action}"
            );
        }
        let mut page = Page::open(address, "/envelope");
        let error =
            json!({"action": "error", "message": message, "groupId": "", "userId": "", "recipients": []});
        assert_eq!(page.json(), error, "the group was not joined");
        assert_eq!(page.send(r#"{"action":"say"}"#).json(), error);
    });
    let line = serving.line_with("the hook failed");
    assert!(line.contains(reason) && line.contains(r#""level":"warn""#), "{line}");
    let began = Instant::now();
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?} to end", began.elapsed());
}

#[test]
fn an_application_that_accepts_and_never_answers_is_an_error_to_its_callers() {
    let (application, _asked) = application(|_, _| true);
    expect_failure(application, &[], "The application did not answer in time", "hook_timeout_ms");
}

#[test]
fn an_application_that_refuses_connections_is_an_error_to_its_callers() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let application = listener.local_addr().expect("it is bound");
    drop(listener);
    expect_failure(application, &[], "The application cannot be reached", "refused");
}

#[test]
fn an_application_that_ends_the_connection_is_an_error_to_its_callers() {
    let (application, _asked) = application(|_, _| false);
    expect_failure(application, &[], "The application cannot be reached", "the hook failed");
}

#[test]
fn an_answer_that_makes_no_sense_is_an_error_to_its_callers() {
    let (application, _asked) = answering(|_| "{\"reply\":}".to_owned());
    expect_failure(application, &[], "The application failed", "no JSON object");
    let (application, _asked) = answering(|_| "<html>".to_owned());
    expect_failure(application, &[], "The application failed", "no JSON object");
}

#[test]
fn what_is_no_http_is_an_error_to_its_callers() {
    let (application, _asked) = application(|_, stream| {
        stream.write_all(b"SSH-2.0-x\r\n\r\n").expect("it is read");
        false
    });
    expect_failure(application, &[], "The application failed", "no HTTP");
}

#[test]
fn another_status_is_an_error_to_its_callers_and_no_redirect_is_followed() {
    let (elsewhere, wrongly) = answering(|_| "{}".to_owned());
    let head = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
    );
    let (application, _asked) = application(move |_, stream| stream.write_all(head.as_bytes()).is_ok());
    expect_failure(application, &[], "The application failed", "status 307");
    assert!(wrongly.try_recv().is_err(), "nobody else is asked");
}

#[test]
fn an_answer_of_ten_megabytes_is_cut_off_and_an_error_to_its_callers() {
    let (application, _asked) = application(|_, stream| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n".to_vec();
        answer.resize(10 << 20, b' ');
        // Nobody reads all of it.
        let _ = stream.write_all(&answer);
        false
    });
    expect_failure(
        application,
        &["--hook-answer-bytes-max", "64KiB"],
        "The application failed",
        "larger than 65536 bytes",
    );
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_an_error_to_its_callers_when_time_is_up() {
    let (application, _asked) = application(|_, stream| {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".iter().chain([&b' '; 1_000]);
        for byte in answer {
            if stream.write_all(&[*byte]).is_err() {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    });
    expect_failure(application, &[], "The application did not answer in time", "hook_timeout_ms");
}

#[test]
fn what_is_too_much_for_the_queue_is_refused_at_once() {
    let (application, asked) = application(|_, _| true);
    let flags =
        ["--hook-action", "*", "--hook-threads", "1", "--hook-queue", "3", "--hook-timeout-ms", "1000"];
    let mut serving = serve(application, &flags);
    let address = serving.listening_ip();
    let mut page = Page::open(address, "/actions");
    let actions: Vec<_> = (0..10).map(|id| json!({"action": "x", "id": id})).collect();
    let began = Instant::now();
    page.send(&Value::from(actions).to_string());
    for id in 3..10 {
        let answer = page.json();
        assert_eq!(
            (&answer["id"], &answer["message"]),
            (&json!(id), &json!("The application has too much to do"))
        );
    }
    assert!(began.elapsed() < Duration::from_millis(900), "it took {:?}", began.elapsed());
    next(&asked);
    // One was asked in vain; the others had waited for their turn as long, and were not asked any more.
    for id in 0..3 {
        let answer = page.json();
        assert_eq!(
            (&answer["id"], &answer["message"]),
            (&json!(id), &json!("The application did not answer in time"))
        );
    }
    assert!(began.elapsed() < Duration::from_millis(3_000), "it took {:?}", began.elapsed());
    assert!(asked.try_recv().is_err());
}

#[test]
fn a_room_that_may_not_be_joined_is_left_with_1008_and_one_that_nobody_can_be_asked_about_is_refused() {
    let (application, asked) = answering(|question| match question["place"]["room"].as_str() {
        Some("closed") => r#"{"allow":false,"reply":"Members only"}"#.to_owned(),
        _ => r#"{"allow":true}"#.to_owned(),
    });
    let mut serving = serve(application, &["--hook-join"]);
    let address = serving.listening_ip();
    assert_eq!(Page::open(address, "/room/closed").expect_close(1008), "Members only");
    assert_eq!(next(&asked).json()["dialect"], "room");
    let mut page = Page::open(address, "/room/open");
    assert_eq!(page.send("what is said at once is said").next(), "what is said at once is said");

    let (application, asked) = self::application(|_, _| true);
    let flags = ["--hook-join", "--hook-authenticate", "--hook-threads", "1", "--hook-queue", "1"];
    let mut serving = serve(application, &[&flags[..], &["--hook-timeout-ms", "20000"]].concat());
    let address = serving.listening_ip();
    let _waits = Page::open(address, "/room/r");
    next(&asked);
    let why = Page::expect_refusal(address, "/room/r");
    assert!(why.contains("503"), "{why}");
    let request = "GET /envelope HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Cookie: armor_sid_user=t\r\n\r\n";
    let (head, body) = crate::page::http(address, request);
    assert!(head.starts_with("HTTP/1.1 503 ") && body.contains("too much to do"), "{head}\n{body}");
}

#[test]
fn an_answer_to_who_has_gone_is_nobodys_and_what_it_sends_to_others_is_sent() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let (application, asked) = answering(move |_| {
        gone.lock().expect("nobody panicked").recv_timeout(PATIENCE).expect("the caller has gone");
        r#"{"reply":{"action":"late"},"send":[{"to":{"channel":"c"},"message":"it was asked"}]}"#.to_owned()
    });
    let mut serving = serve(application, &["--hook-action", "x", "--hook-timeout-ms", "20000"]);
    let address = serving.listening_ip();
    let mut member = Page::open(address, "/actions");
    assert_eq!(member.ask(r#"{"action":"join_channel","channel_name":"c"}"#), "");
    let mut caller = Page::open(address, "/actions");
    caller.send(r#"{"action":"x","id":1}"#);
    caller.close();
    // Another one has its place by now.
    let mut other = Page::open(address, "/actions");
    go.send(()).expect("it waits");
    assert_eq!(member.json()["data"][0]["text"], "it was asked");
    next(&asked);
    assert_eq!(other.ask(r#"{"action":"list_channels"}"#), "");
}

#[test]
fn a_proxy_of_the_environment_is_not_asked() {
    let (application, asked) = answering(|_| "{}".to_owned());
    let url = format!("http://{application}/");
    let mut command =
        sockeye(&["serve", "--listen", "127.0.0.1:0", "--hook-url", &url, "--hook-action", "x"]);
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:1/");
    }
    let mut serving = Serving::spawn(command);
    let address = serving.listening_ip();
    assert_eq!(Page::open(address, "/actions").ask(r#"{"action":"x","id":1}"#), "");
    next(&asked);
}

/// An application over TLS, which answers once on each connection.
fn tls_application() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("they fit");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let config = Arc::new(config);
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let session = rustls::ServerConnection::new(config.clone()).expect("a session");
            let mut stream = rustls::StreamOwned::new(session, socket);
            let (mut read, mut buffer) = (Vec::new(), [0; 4_096]);
            while !read.ends_with(b"}}") {
                match stream.read(&mut buffer) {
                    Ok(n) if n > 0 => read.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            // Who does not trust it has gone.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        }
    });
    (address, made.cert.pem())
}

#[test]
fn an_application_is_asked_over_tls_where_it_is_trusted() {
    let (application, pem) = tls_application();
    let (trusted, other) = (File::new("hook-ca", pem), File::new("hook-other", tls_application().1));
    let url = format!("https://localhost:{}/", application.port());
    for (cafile, message) in [(&trusted, ""), (&other, "The application cannot be reached")] {
        let flags = ["--listen", "127.0.0.1:0", "--hook-url", &url, "--hook-action", "x"];
        let mut serving = Serving::start(&[&flags[..], &["--hook-cafile", cafile.path()]].concat());
        let mut page = Page::open(serving.listening_ip(), "/actions");
        assert_eq!(page.ask(r#"{"action":"x","id":1}"#), message);
    }
}

#[test]
fn at_the_end_what_was_to_be_asked_is_asked() {
    let (application, asked) = answering(|_| {
        thread::sleep(Duration::from_millis(50));
        "{}".to_owned()
    });
    let mut serving = serve(application, &["--hook-action", "x", "--hook-threads", "1"]);
    let address = serving.listening_ip();
    let mut page = Page::open(address, "/actions");
    page.send(&Value::from(vec![json!({"action": "x"}); 8]).to_string());
    assert_eq!(page.ask(r#"{"action":"list_channels"}"#), "");
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
    assert_eq!(asked.try_iter().count(), 8);
}

#[test]
fn flags_that_make_no_sense_are_refused_with_2() {
    let with = |flags: &[&str], words: &[&str]| expect_usage(&[&["serve"], flags].concat(), words);
    with(&["--hook-action", "x"], &["--hook-url"]);
    with(&["--hook-url", "http://a/"], &["nothing is asked there", "--hook-action"]);
    with(&["--hook-url", "ftp://a/", "--hook-join"], &["'ftp'", "http://"]);
    with(&["--hook-url", "http://a/", "--hook-join", "--hook-threads", "65"], &["65", "1..=64"]);
    with(
        &["--hook-url", "https://a/", "--hook-join", "--hook-cafile", "/nonexistent/ca"],
        &["--hook-cafile", "/nonexistent/ca"],
    );
    let empty = File::new("hook-empty", "\n");
    with(
        &["--hook-url", "http://a/", "--hook-join", "--hook-secret-file", empty.path()],
        &["--hook-secret-file", "empty"],
    );
}

// ---------------------------------------------------------------------- examples

#[test]
fn the_application_in_python_of_the_documentation_answers() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hook.py");
    let mut child = Command::new("python3")
        .args(["-u", &script.to_string_lossy(), "0"])
        .env("HOOK_SECRET", "s3cret")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where");
    let outcome = std::panic::catch_unwind(|| {
        let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let application: SocketAddr = address.unwrap_or_else(|| panic!("an address: {line}"));
        let flags = [
            "--hook-action",
            "*",
            "--hook-authenticate",
            "--hook-join",
            "--hook-envelope",
            "--hook-secret",
            "s3cret",
        ];
        let mut serving = serve(application, &flags);
        let mut page = Page::open(serving.listening_ip(), "/actions");
        let answer = page.send(r#"{"action":"roll","sides":6,"id":1}"#).json();
        assert!((1..=6).contains(&answer["data"][0]["pips"].as_u64().expect("a number")), "{answer}");
        assert_eq!(page.ask(r#"{"action":"roll","sides":0}"#), "A die has 1 to 100 sides");
        assert_eq!(page.ask(r#"{"action":"join_channel","channel_name":"staff"}"#), "Staff only");
        assert_eq!(page.ask(r#"{"action":"authenticate","token":"token-of-alice"}"#), "");
        assert_eq!(page.ask(r#"{"action":"join_channel","channel_name":"staff"}"#), "");
        page.send(r#"{"action":"announce","channel":"staff","text":"hello","id":2}"#);
        assert_eq!(page.json()["id"], 2);
        assert_eq!(page.json()["data"][0]["text"], "hello");
        // With another secret it does not listen.
        let mut serving = serve(application, &["--hook-action", "*", "--hook-secret", "other"]);
        let mut page = Page::open(serving.listening_ip(), "/actions");
        assert_eq!(page.ask(r#"{"action":"roll","sides":6}"#), "The application failed");
    });
    let _ = child.kill();
    let _ = child.wait();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let documented = include_str!("../../docs/hook.md");
    let script = std::fs::read_to_string(script).expect("it is there");
    assert!(documented.contains(script.trim_end()), "docs/hook.md has examples/hook.py as it is");
}

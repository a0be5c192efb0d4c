//! `sockeye bench`: the real binary against servers of this process. What it measures is not judged here, only that it
//! measures, and says so: times are for benches.

mod tool;

use serde_json::Value;
use sockeye::{Config, ConnId, Context, Handler, Message, Server};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Sender},
    thread,
};
use tool::{PATIENCE, finish, signal};

// ---------------------------------------------------------------------- servers

/// What a server of these tests does with a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Echo,
    /// Every tenth reply has a bit that is wrong.
    Corrupt,
    /// `join` subscribes, all else is published, within JSON.
    Publish,
    /// As [`Way::Publish`], but every hundredth message is published twice.
    Stutter,
    /// Stops after so many messages.
    StopAfter(u64),
    /// Answers nothing.
    Mute,
    /// Answers everything twice.
    Chatty,
}

struct Peers {
    way: Way,
    messages: u64,
    /// Told of the hundredth message.
    busy: Sender<()>,
}

impl Handler for Peers {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.messages += 1;
        if self.messages == 100 {
            let _ = self.busy.send(());
        }
        match self.way {
            Way::Mute => {}
            Way::Corrupt if self.messages.is_multiple_of(10) => {
                let mut bytes = message.as_bytes().to_vec();
                *bytes.last_mut().expect("it is not empty") ^= 1;
                cx.send(id, &bytes[..]);
            }
            Way::Publish | Way::Stutter => {
                let Message::Text(text) = message else { panic!("a text was to be published") };
                if let Some(number) = text.strip_prefix("join ") {
                    number.parse::<u32>().expect("the number of the connection");
                    cx.subscribe(id, "room");
                    cx.send(id, r#"{"joined":true}"#);
                    return;
                }
                let twice = self.way == Way::Stutter && self.messages.is_multiple_of(100);
                for _ in 0..if twice { 2 } else { 1 } {
                    cx.publish("room", format!(r#"{{"type":"message","data":{text}}}"#).as_str());
                }
            }
            Way::StopAfter(last) if self.messages == last => cx.shutdown(),
            Way::Chatty => {
                cx.send(id, message);
                cx.send(id, "and another thing");
            }
            _ => {
                cx.send(id, message);
            }
        }
    }
}

/// A server on a thread of its own, which ends with the test.
struct Serving {
    url: String,
    busy: mpsc::Receiver<()>,
    remote: sockeye::Remote,
    thread: Option<thread::JoinHandle<()>>,
}

impl Serving {
    fn start(way: Way) -> Serving {
        let (tell, busy) = mpsc::channel();
        let peers = Peers { way, messages: 0, busy: tell };
        let mut server = Server::bind(Config::new("127.0.0.1:0"), peers).expect("there is a free port");
        let address = server.addresses()[0].ip().expect("it is no Unix-domain socket");
        let remote = server.remote();
        let thread = thread::spawn(move || server.run().expect("it runs"));
        Serving { url: format!("ws://{address}/"), busy, remote, thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.remote.shutdown();
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// A server that answers everyone with these bytes of HTTP, and closes.
fn http_server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("ws://{address}/nowhere")
}

// ---------------------------------------------------------------------- the binary

fn start(url: &str, options: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    command.args(["bench", url]).args(options).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

/// Runs it to its end: exit code, stdout, stderr.
#[track_caller]
fn bench(url: &str, options: &[&str]) -> (i32, String, String) {
    let output = finish(start(url, options));
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// Runs it with `--json`, as it is to end well: nothing on stderr, one object on stdout.
#[track_caller]
fn measured(url: &str, options: &[&str]) -> Value {
    let (code, stdout, stderr) = bench(url, &[options, &["--json"]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

#[track_caller]
fn number(json: &Value, path: &str) -> f64 {
    let found = json.pointer(path).unwrap_or_else(|| panic!("no {path} in {json}"));
    found.as_f64().unwrap_or_else(|| panic!("{path} is no number in {json}"))
}

/// It exits with `code`, prints nothing, and names all of `words` on stderr.
#[track_caller]
fn expect_refusal(url: &str, options: &[&str], code: i32, words: &[&str]) {
    let (got, stdout, stderr) = bench(url, options);
    assert_eq!((got, stdout.as_str()), (code, ""), "{options:?} says {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{url} {options:?} should name {word:?}, and says: {stderr}");
    }
}

fn own_pid() -> String {
    std::process::id().to_string()
}

// ---------------------------------------------------------------------- the modes

#[test]
fn echo_in_a_closed_loop_counts_compares_and_times_every_reply() {
    let server = Serving::start(Way::Echo);
    let options =
        ["--conns", "4", "--pipeline", "8", "--count", "4000", "--warmup", "0.05", "--size", "1KiB"];
    let more = ["--text", "--distinct", "3", "--verify", "--pid", &own_pid()];
    let json = measured(&server.url, &[&options[..], &more].concat());
    assert!(number(&json, "/messages") >= 4_000.0, "{json}");
    assert!(number(&json, "/verified") >= number(&json, "/messages"), "{json}");
    assert_eq!((number(&json, "/wrong"), number(&json, "/unasked")), (0.0, 0.0));
    assert_eq!((number(&json, "/opened"), number(&json, "/unanswered")), (4.0, 0.0));
    assert!(number(&json, "/rate") > 0.0 && number(&json, "/secs") > 0.0);
    assert_eq!(number(&json, "/latency_us/count"), number(&json, "/messages"));
    assert!(number(&json, "/latency_us/p50") > 0.0);
    assert!(number(&json, "/latency_us/p999") >= number(&json, "/latency_us/p99"));
    assert!(number(&json, "/latency_corrected_us/count") >= number(&json, "/latency_us/count"));
    assert!(number(&json, "/client_cpu_us") > 0.0 && number(&json, "/server_cpu_us") > 0.0, "{json}");
    assert!(number(&json, "/rss_open_bytes") > 0.0);
}

#[test]
fn echo_in_an_open_loop_sends_what_is_due_and_no_more() {
    let server = Serving::start(Way::Echo);
    let options = ["--conns", "3", "--rate", "2000", "--secs", "0.3", "--warmup", "0.05", "--verify"];
    let json = measured(&server.url, &options);
    // Due in 0.3 s, whatever the machine does meanwhile: what is late is sent then.
    assert!((598.0..=602.0).contains(&number(&json, "/latency_us/count")), "{json}");
    assert_eq!(number(&json, "/latency_us/count"), number(&json, "/latency_from_send_us/count"));
    assert!(number(&json, "/latency_us/max") >= number(&json, "/latency_from_send_us/max"), "{json}");
    assert_eq!((json["loop"].as_str(), number(&json, "/wrong")), (Some("open"), 0.0));
}

#[test]
fn in_an_open_loop_what_is_never_answered_counts_with_the_time_it_waited() {
    let server = Serving::start(Way::Mute);
    let options = ["--conns", "2", "--rate", "100", "--secs", "0.2", "--warmup", "0", "--json"];
    let (code, stdout, _) = bench(&server.url, &options);
    let json: Value = serde_json::from_str(&stdout).expect("an object");
    assert_eq!((code, number(&json, "/messages")), (1, 0.0), "{json}");
    assert!(number(&json, "/unanswered") >= 15.0, "{json}");
    assert_eq!(number(&json, "/unanswered"), number(&json, "/latency_us/count"));
    assert!(number(&json, "/latency_us/min") >= 1e6, "after the end they had another second: {json}");
}

#[test]
fn what_nobody_asked_for_does_not_count_as_a_reply() {
    let server = Serving::start(Way::Chatty);
    let json = measured(&server.url, &["--conns", "1", "--count", "100", "--warmup", "0"]);
    assert!(number(&json, "/unasked") > 0.0, "{json}");
}

#[test]
fn several_threads_share_connections_and_count() {
    let server = Serving::start(Way::Echo);
    let options = ["--conns", "5", "--threads", "2", "--count", "2000", "--warmup", "0", "--verify"];
    let json = measured(&server.url, &options);
    assert!(number(&json, "/messages") >= 2_000.0, "{json}");
    assert_eq!((number(&json, "/opened"), number(&json, "/wrong")), (5.0, 0.0));
}

#[test]
fn compression_is_offered_where_it_is_asked_for_and_the_replies_are_inflated() {
    let server = Serving::start(Way::Echo);
    let options =
        ["--conns", "3", "--pipeline", "4", "--count", "500", "--warmup", "0", "--size", "2KiB", "--verify"];
    let json = measured(&server.url, &[&options[..], &["--deflate"]].concat());
    assert!(json["extensions"].as_str().is_some_and(|text| text.starts_with("permessage-deflate")), "{json}");
    assert!(number(&json, "/verified") >= 500.0 && number(&json, "/wrong") == 0.0, "{json}");
    let json = measured(&server.url, &options);
    assert_eq!(json["extensions"].as_str(), Some(""));
}

#[test]
fn messages_that_are_larger_than_any_buffer_come_back_whole() {
    let server = Serving::start(Way::Echo);
    let options =
        ["--conns", "2", "--pipeline", "2", "--size", "3MiB", "--count", "8", "--warmup", "0", "--verify"];
    let json = measured(&server.url, &options);
    assert!(number(&json, "/verified") >= 8.0 && number(&json, "/wrong") == 0.0, "{json}");
}

#[test]
fn fanout_times_each_delivery_by_the_stamp_within_what_the_server_made_of_it() {
    let server = Serving::start(Way::Publish);
    let options = ["--mode", "fanout", "--subs", "10", "--pubs", "2", "--pipeline", "2", "--settle-ms", "50"];
    let texts = ["--join", "join {id}", "--publish", r#"{"say":"{stamp}{pad}","by":{id}}"#, "--size", "200"];
    let more = ["--count", "1000", "--warmup", "0", "--verify"];
    let json = measured(&server.url, &[&options[..], &texts, &more].concat());
    assert!(number(&json, "/deliveries") >= 1_000.0, "{json}");
    assert!(number(&json, "/published") >= 99.0, "{json}");
    assert!(number(&json, "/latency_us/count") >= number(&json, "/deliveries"), "{json}");
    assert!(number(&json, "/verified") >= 1_000.0);
    assert_eq!((number(&json, "/wrong"), number(&json, "/unasked")), (0.0, 0.0), "{json}");
}

#[test]
fn fanout_in_an_open_loop_publishes_at_the_rate() {
    let server = Serving::start(Way::Publish);
    let options =
        ["--mode", "fanout", "--subs", "5", "--rate", "500", "--settle-ms", "50", "--join", "join {id}"];
    let more = ["--publish", "\"{stamp}\"", "--secs", "0.2", "--warmup", "0.05", "--verify"];
    let json = measured(&server.url, &[&options[..], &more].concat());
    assert!((98.0..=102.0).contains(&number(&json, "/published")), "{json}");
    assert_eq!(number(&json, "/wrong"), 0.0);
}

#[test]
fn fanout_without_a_stamp_counts_and_does_not_time() {
    let server = Serving::start(Way::Publish);
    let options =
        ["--mode", "fanout", "--subs", "3", "--join", "join {id}", "--publish", "1", "--settle-ms", "50"];
    let json = measured(&server.url, &[&options[..], &["--count", "100", "--warmup", "0"]].concat());
    assert!(number(&json, "/deliveries") >= 100.0, "{json}");
    assert_eq!(json.get("latency_us"), None);
}

#[test]
fn verify_sees_what_is_delivered_twice() {
    let server = Serving::start(Way::Stutter);
    let options =
        ["--mode", "fanout", "--subs", "3", "--join", "join {id}", "--publish", "\"{stamp}\"", "--verify"];
    let (code, stdout, _) =
        bench(&server.url, &[&options[..], &["--count", "1000", "--warmup", "0"]].concat());
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("NOT as sent"), "{stdout}");
}

#[test]
fn connect_opens_and_closes_and_times_each_handshake() {
    let server = Serving::start(Way::Echo);
    let json =
        measured(&server.url, &["--mode", "connect", "--conns", "4", "--count", "200", "--warmup", "0"]);
    assert!(number(&json, "/handshakes") >= 200.0, "{json}");
    assert!(number(&json, "/latency_us/count") >= 200.0 && number(&json, "/latency_us/p50") > 0.0, "{json}");
    let open = ["--mode", "connect", "--rate", "200", "--secs", "0.2", "--warmup", "0"];
    let json = measured(&server.url, &open);
    assert!((38.0..=42.0).contains(&number(&json, "/latency_us/count")), "{json}");
}

#[test]
fn idle_holds_connections_and_looks_at_the_servers_memory() {
    let server = Serving::start(Way::Echo);
    let options = ["--mode", "idle", "--conns", "50", "--secs", "0.1", "--touch", "--pid", &own_pid()];
    let json = measured(&server.url, &options);
    assert_eq!((number(&json, "/opened"), number(&json, "/lost")), (50.0, 0.0), "{json}");
    assert!(number(&json, "/rss_before_bytes") > 0.0 && number(&json, "/rss_after_bytes") > 0.0);
    assert!(json.pointer("/bytes_per_connection").is_some() && json.pointer("/server_cpu_share").is_some());
}

#[test]
fn several_source_addresses_are_used() {
    let server = Serving::start(Way::Echo);
    let options = ["--conns", "6", "--sources", "3", "--count", "100", "--warmup", "0"];
    assert_eq!(number(&measured(&server.url, &options), "/opened"), 6.0);
}

// ---------------------------------------------------------------------- reports

#[test]
fn the_summary_is_for_people_and_stderr_is_empty_where_it_is_no_terminal() {
    let server = Serving::start(Way::Echo);
    let (code, stdout, stderr) =
        bench(&server.url, &["--conns", "2", "--secs", "0.2", "--warmup", "0", "--verify"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    for part in
        ["echo ws://127.0.0.1", "2 connections, closed loop, 1 in flight, 125 B binary", "messages ", "p99 "]
    {
        assert!(stdout.contains(part), "{part:?} should be in\n{stdout}");
    }
    assert!(
        stdout.contains("corrected for coordinated omission") && stdout.contains("all as sent"),
        "{stdout}"
    );
}

#[test]
fn the_page_is_one_file_that_refers_to_nothing_else() {
    let server = Serving::start(Way::Echo);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}.html", std::process::id()));
    let file = path.to_str().expect("a path of ASCII");
    let (code, ..) = bench(&server.url, &["--conns", "2", "--secs", "0.3", "--warmup", "0", "--html", file]);
    let page = std::fs::read_to_string(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it is ours");
    assert_eq!((code, page.matches("<svg viewBox=\"0 0 360 220\"").count()), (0, 2), "{page}");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for outside in ["src=", "href=", "url(", "@import", "<script", "<link", "http:", "https:"] {
        assert!(!page.contains(outside), "{outside} in\n{page}");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_told_and_the_numbers_are_not_lost() {
    let server = Serving::start(Way::Echo);
    let options = ["--conns", "1", "--count", "10", "--warmup", "0", "--html", "/nowhere/at/all.html"];
    let (code, stdout, stderr) = bench(&server.url, &options);
    assert!(
        stdout.contains("messages ") && stderr.contains("--html is /nowhere/at/all.html: cannot write"),
        "{stderr}"
    );
    assert_eq!(code, 1);
}

#[test]
fn thresholds_that_are_met_say_nothing_and_one_that_is_missed_fails() {
    let server = Serving::start(Way::Echo);
    let options = ["--conns", "2", "--count", "200", "--warmup", "0", "--pid", &own_pid()];
    let met = ["--max-p50-us", "1e9", "--max-p99-us", "1e9", "--max-us", "1e9", "--min-rate", "0.001"];
    let (code, stdout, stderr) = bench(&server.url, &[&options[..], &met, &["--max-cpu-us", "1e9"]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let missed =
        ["--max-p50-us", "1e9", "--max-p99-us", "0.001", "--min-rate", "1e12", "--max-cpu-us", "0.0001"];
    let (code, stdout, stderr) = bench(&server.url, &[&options[..], &missed].concat());
    assert_eq!(code, 1, "{stdout}");
    for option in
        ["--max-p99-us 0.001: MISSED", "--min-rate 1000000000000: MISSED", "--max-cpu-us 0.0001: MISSED"]
    {
        assert!(stderr.contains(option) && stdout.contains(option), "{option}: {stderr}{stdout}");
    }
    assert!(!stderr.contains("p50"), "{stderr}");
}

// ---------------------------------------------------------------------- what goes wrong

#[test]
fn a_server_that_corrupts_is_caught() {
    let server = Serving::start(Way::Corrupt);
    let options = ["--conns", "2", "--count", "200", "--warmup", "0"];
    let (code, stdout, _) = bench(&server.url, &[&options[..], &["--verify"]].concat());
    assert!(code == 1 && stdout.contains("NOT as sent"), "{stdout}");
    let (code, stdout, _) = bench(&server.url, &options);
    assert!(code == 0 && !stdout.contains("as sent"), "nobody looked: {stdout}");
}

#[test]
fn ctrl_c_ends_it_and_prints_what_was_measured() {
    let server = Serving::start(Way::Echo);
    let child = start(&server.url, &["--conns", "2", "--secs", "3600", "--warmup", "0"]);
    server.busy.recv_timeout(PATIENCE).expect("messages flow");
    signal("INT", child.id());
    let output = finish(child);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains("early, by Ctrl-C") && stdout.contains("messages "), "{stdout}");
}

#[test]
fn a_server_that_goes_away_ends_it_with_what_was_measured() {
    let server = Serving::start(Way::StopAfter(500));
    let (code, stdout, _) = bench(&server.url, &["--conns", "3", "--secs", "3600", "--warmup", "0"]);
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("early: no connection is left"), "{stdout}");
    assert!(stdout.contains("3 connections ended before their time"), "{stdout}");
    assert!(stdout.contains("3 × the server closed with 1001"), "{stdout}");
}

#[test]
fn where_nobody_listens_it_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address: SocketAddr = free.local_addr().expect("it is bound");
    drop(free);
    let url = format!("ws://{address}/");
    for mode in ["echo", "fanout", "connect", "idle"] {
        expect_refusal(&url, &["--mode", mode, "--secs", "1"], 69, &[&url, "refused"]);
    }
}

#[test]
fn more_connections_than_descriptors_are_refused_before_the_first_is_dialled() {
    let server = Serving::start(Way::Echo);
    let options = ["--conns", "100000000", "--secs", "1"];
    expect_refusal(&server.url, &options, 1, &["--conns asks for 100000000", "ulimit -n"]);
}

#[test]
fn an_answer_that_is_no_upgrade_is_told_with_its_status() {
    let url = http_server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    expect_refusal(&url, &["--secs", "1"], 69, &["404"]);
    let url = http_server("nonsense\r\n\r\n");
    expect_refusal(&url, &["--secs", "1"], 69, &[&url]);
}

#[test]
fn arguments_that_make_no_sense_are_told_before_anything_is_dialled() {
    for (url, options, words) in [
        ("ws://127.0.0.1:1/", &["--pipeline", "0"][..], &["--pipeline is 0", "at least 1"][..]),
        ("ws://127.0.0.1:1/", &["--mode", "walk"], &["walk", "echo", "fanout", "connect", "idle"]),
        ("ws://example.com/", &["--sources", "3"], &["--sources is 3", "example.com", "127.0.0.0/8"]),
        ("ws://127.0.0.1:1/", &["--pid", "4294967295"], &["--pid is 4294967295", "runs on this machine"]),
        ("ws://127.0.0.1:1/", &["--max-cpu-us", "1"], &["--pid"]),
        ("no url", &[], &["no url"]),
        ("ws://127.0.0.1:1/#part", &[], &["ws://127.0.0.1:1/#part"]),
    ] {
        expect_refusal(url, options, 2, words);
    }
}

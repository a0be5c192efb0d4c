//! The examples, as their readers run them: each is started on a free port, and does what it says.
//!
//! Nothing is built here: `cargo test` builds the examples before it runs this.

#[path = "hostile/peer.rs"]
#[allow(dead_code, reason = "the hostile client's peer can do more than is wanted here")]
mod peer;

use peer::{PATIENCE, Peer, frame, masked, unmasked};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

/// A running example. Dropping it kills the process.
struct Example {
    child: Child,
    address: SocketAddr,
}

impl Example {
    #[track_caller]
    fn start(name: &str) -> Example {
        let mut command = Command::new(built(name));
        command.arg("127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (found, line) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|l| found.send(l))
        });
        let line = line.recv_timeout(PATIENCE).unwrap_or_else(|error| format!("nothing: {error}"));
        let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
        match address {
            Some(address) => Example { child, address },
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{name} should have said where it listens, and said {line:?}");
            }
        }
    }

    fn open(&self) -> Peer {
        Peer::open(self.address)
    }
}

/// Where the example is, built of the sources as they are.
#[track_caller]
fn built(name: &str) -> PathBuf {
    // Tests are in `deps`, and examples in `examples` beside it.
    let tests = env::current_exe().expect("the test has a path");
    let target = tests.ancestors().nth(2).expect("it is two folders deep");
    let path = target.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    let stale = newer_source(&path);
    assert_eq!(
        stale, None,
        "{name} is not built of this: run all of `cargo test`, or `cargo build --examples`"
    );
    path
}

/// A source that was changed after the example was built, by the list that cargo leaves beside it.
fn newer_source(example: &Path) -> Option<PathBuf> {
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let Some(built) = changed(example) else { return Some(example.to_owned()) };
    let list = fs::read_to_string(example.with_extension("d")).expect("cargo leaves a list");
    let (_, sources) = list.trim_end().split_once(": ").expect("a target and its sources");
    let sources = sources.replace("\\ ", "\0"); // a space inside a path
    let paths =
        sources.split(' ').map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path.replace('\0', " ")));
    paths.into_iter().find(|path| changed(path).is_none_or(|at| at > built))
}

impl Drop for Example {
    fn drop(&mut self) {
        let died = self.child.try_wait().ok().flatten();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            assert!(died.is_none(), "the example died: {died:?}");
        }
    }
}

/// What any echo does, whichever layer it is built on.
fn expect_an_echo(example: &Example) {
    let mut peer = example.open();
    peer.send(&masked(0x81, *b"\x01\x02\x03\x04", "héllo".as_bytes())).expect(b"\x81\x06h\xc3\xa9llo");
    peer.expect_echo(b"").expect_echo(&[0; 126]).expect_echo(&[0xff; 70_000]);
    peer.send(b"\x01\x81\0\0\0\0a\x89\x81\0\0\0\0!\x80\x81\0\0\0\0b").expect(b"\x8a\x01!\x81\x02ab");
    let mut other = example.open();
    other.expect_echo(b"two at a time");
    peer.expect_echo(b"and the first still there");
    peer.send(b"\x88\x82\0\0\0\0\x03\xe8").expect(b"\x88\x02\x03\xe8").expect_end();
    other.expect_echo(b"one left");
    assert!(example.open().send(&frame(0x81, b"\xff")).expect_fault(1007).contains("UTF-8"));
    assert!(example.open().send(b"\x81\x00").expect_fault(1002).contains("masked"));
    Peer::dial(example.address).send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect_refusal(&[426]);
    let endless = [b"GET /", &[b'a'; 20_000][..]].concat();
    Peer::dial(example.address).send(&endless).expect_refusal(&[431]);
}

#[test]
fn echo_sends_back_what_comes() {
    expect_an_echo(&Example::start("echo"));
}

#[test]
fn own_loop_is_as_good_an_echo() {
    let example = Example::start("own_loop");
    expect_an_echo(&example);
    // It is its own loop that takes the head in pieces and the end of TCP in the middle of a message.
    let mut slow = Peer::dial(example.address);
    slow.drip(peer::UPGRADE).expect_upgrade();
    slow.expect_echo(b"awake").send(b"\x82\x85\0\0\0\0he").finish().expect_end();
}

#[test]
fn broadcast_tells_everyone_in_the_room() {
    let example = Example::start("broadcast");
    let mut ann = example.open();
    ann.expect(&unmasked(0x81, b"0.0 came; 1 here"));
    let mut bob = example.open();
    for peer in [&mut ann, &mut bob] {
        peer.expect(&unmasked(0x81, b"1.1 came; 2 here"));
    }
    ann.send(&frame(0x81, b"hello, room")).send(&frame(0x82, b"\0"));
    for peer in [&mut ann, &mut bob] {
        peer.expect(b"\x81\x0bhello, room\x82\x01\0");
    }
    bob.send(b"\x88\x82\0\0\0\0\x03\xe8").expect(b"\x88\x02\x03\xe8").expect_end();
    ann.expect(&unmasked(0x81, b"1.1 left (1000); 1 here"));
    let mut eve = example.open();
    eve.finish().expect(b"\x81");
    ann.expect_frame(); // she came
    let left = ann.expect_frame().payload;
    assert!(left.ends_with(b" left (1006); 1 here"), "{}", left.escape_ascii());
}

#[cfg(feature = "hub")]
#[test]
fn later_counts_on_another_thread_and_what_is_said_as_a_user_waits_for_who_that_is() {
    let example = Example::start("later");
    let mut peer = Peer::dial(example.address).opened_at("/actions");
    let mut ask = |text: &str| {
        peer.send(&frame(0x81, text.as_bytes()));
        String::from_utf8(peer.expect_frame().payload).expect("it is text")
    };
    let counted = ask(r#"[{"action":"count","below":100,"id":1}]"#);
    assert!(counted.ends_with(r#""data":[{"action":"counted","primes":25}],"id":1}"#), "{counted}");
    let refused = ask(r#"{"action":"authenticate","token":"x"}"#);
    assert!(refused.contains("Invalid auth token"), "{refused}");
    let all = [
        r#"{"action":"authenticate","token":"token-of-alice"}"#,
        r#"{"action":"message_user","uuid":"alice","message":"note"}"#,
    ];
    assert!(ask(&format!("[{}]", all.join(","))).contains(r#""status":"ok""#));
    let note = String::from_utf8(peer.expect_frame().payload).expect("it is text");
    assert!(note.contains(r#""uuid":"alice""#), "{note}");
}

#[cfg(feature = "hub")]
#[test]
fn hub_rolls_a_die_and_announces_in_three_dialects_at_once() {
    let example = Example::start("hub");
    let at = |path: &str| Peer::dial(example.address).opened_at(path);
    let say = |peer: &mut Peer, text: &str| {
        peer.send(&frame(0x81, text.as_bytes()));
    };
    let hear = |peer: &mut Peer| String::from_utf8(peer.expect_frame().payload).expect("it is text");
    let (mut member, mut tenant) = (at("/actions"), at("/room/news"));
    let mut reader = at("/envelope?groupid=news");
    say(&mut member, r#"{"action":"Join Channel","channel_name":"news"}"#);
    hear(&mut member);
    say(&mut member, r#"{"action":"roll","sides":1,"id":"a"}"#);
    let rolled = r#"[{"action":"rolled","pips":1,"rolls":1}],"id":"a"}"#;
    assert_eq!(hear(&mut member), format!(r#"{{"status":"ok","version":"1.0","message":"","data":{rolled}"#));
    say(&mut member, r#"[{"action":"roll","sides":0}]"#);
    assert!(
        hear(&mut member)
            .contains(r#""status":"error","version":"1.0","message":"A die has 1 to 100 sides""#)
    );
    say(&mut member, r#"[{"action":"announce","text":"<it rains>"}]"#);
    assert!(hear(&mut member).contains(r#"&lt;house&gt;: &lt;it rains&gt;","uuid":"","username":"house","#));
    assert!(hear(&mut member).contains(r#""status":"ok","version":"1.0","message":"","data":[]"#));
    assert_eq!(hear(&mut tenant), "<it rains>");
    let post = r#"{"action":"announcement","message":"<it rains>","groupId":"news","userId":"house","recipients":[]}"#;
    assert_eq!(hear(&mut reader), post);
    say(&mut member, r#"[{"action":"join_channel","channel_name":"staff"}]"#);
    assert!(hear(&mut member).contains("Unable to create channel, staff.  Permission denied"));
}

#[cfg(feature = "client")]
#[test]
fn client_says_hello_with_each_connection_and_ends_when_all_have_left() {
    let echo = Example::start("echo");
    let mut command = Command::new(built("client"));
    command.arg(format!("ws://{}/", echo.address)).arg("40").stdin(Stdio::null());
    let output = command.output().expect("the example starts");
    let said = String::from_utf8(output.stdout).expect("it is UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().filter(|line| line.contains("heard: hello from ")).count(), 40, "{said}");
    assert!(said.ends_with("40 of 40 were answered\n"), "{said}");
}

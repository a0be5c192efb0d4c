//! A new process takes over, and nobody who connects meanwhile notices; and what a supervisor passes and is told.

use crate::{
    page::Page,
    serving::{Serving, expect_usage, sockeye},
    tool::{PATIENCE, finish, signal},
};
use sockeye::{
    OwnedMessage, TlsClient,
    client::{Event, Options, WebSocket},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    process::{Command, Stdio, id},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Clients that connect, say something, hear it and leave, again and again.
struct Crowd {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Crowd {
    fn at(address: SocketAddr) -> Crowd {
        Crowd::of(move || visit(address))
    }

    /// Who does this.
    fn of(visit: impl Fn() -> Result<(), String> + Clone + Send + 'static) -> Crowd {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..4).map(|_| {
            let (stop, served, visit) = (stop.clone(), served.clone(), visit.clone());
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Acquire) {
                    match visit() {
                        Ok(()) => _ = served.fetch_add(1, Ordering::AcqRel),
                        Err(error) => failures.push(error),
                    }
                }
                failures
            })
        });
        Crowd { threads: threads.collect(), stop, served }
    }

    /// Waits until so many more were served.
    fn go_on(&self, visits: usize) {
        let until = self.served.load(Ordering::Acquire) + visits;
        while self.served.load(Ordering::Acquire) < until {
            assert!(self.threads.iter().all(|thread| !thread.is_finished()));
            thread::yield_now();
        }
    }

    /// Nobody was refused, cut off or not heard.
    #[track_caller]
    fn expect_no_failure(self) {
        self.stop.store(true, Ordering::Release);
        let failures: Vec<_> =
            self.threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect();
        let served = self.served.load(Ordering::Acquire);
        assert!(failures.is_empty(), "{} of {served}: {failures:?}", failures.len());
    }
}

fn visit(address: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    exchange(stream)
}

fn exchange(mut stream: impl Read + Write) -> Result<(), String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request).map_err(failed("request"))?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(failed("answer"))?;
        answer.push(byte[0]);
    }
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        return Err(String::from_utf8_lossy(&answer).into_owned());
    }
    stream.write_all(b"\x81\x82\0\0\0\0hi").map_err(failed("message"))?;
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).map_err(failed("echo"))?;
    if &echo == b"\x81\x02hi" { Ok(()) } else { Err(format!("instead of the echo: {}", echo.escape_ascii())) }
}

/// A process that is passed a listening socket, as systemd does it; `listen` is what it is asked to serve.
fn passed(socket: impl Into<OwnedFd>, listen: &[&str]) -> Serving {
    // A shell has the pid that it becomes, and can move a descriptor.
    let script =
        r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec "$0" serve "$@""#;
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_sockeye")])
        .args(listen)
        .stdin(Stdio::from(socket.into()));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).env_remove("SOCKEYE_ADMIN_PASSWORD");
    Serving::spawn(command)
}

/// Those who stay are told this code, each with a wish of its own.
#[track_caller]
fn expect_closes(guests: Vec<Page>, code: u16) {
    let reasons = guests.into_iter().map(|mut guest| guest.expect_close(code));
    let wishes: Vec<u32> = reasons
        .map(|reason| {
            let wish = reason.split_once("retry_ms=").and_then(|(_, wish)| wish.parse().ok());
            wish.unwrap_or_else(|| panic!("a wish: {reason}"))
        })
        .collect();
    assert!(wishes.iter().all(|wish| (1_000..2_000).contains(wish)), "{wishes:?}");
    assert!(wishes.iter().any(|wish| *wish != wishes[0]), "they do not come back together: {wishes:?}");
}

fn guests(address: SocketAddr) -> Vec<Page> {
    (0..20).map(|_| Page::open(address, "/")).collect()
}

#[test]
fn a_process_that_shares_the_port_takes_over_and_nobody_is_refused() {
    let start = |address: &str| {
        Serving::start(&["--listen", &format!("{address}=echo"), "--reuse-port", "--drain-ms", "400"])
    };
    let mut old = start("127.0.0.1:0");
    let address = old.listening_ip();
    let crowd = Crowd::at(address);
    for _ in 0..3 {
        let mut guests = guests(address);
        crowd.go_on(200);
        let mut new = start(&address.to_string());
        assert_eq!(new.listening_ip(), address);
        signal("TERM", old.child.id());
        // Who stays is still served, and told at the end.
        assert_eq!(guests[0].send("hello").next(), "hello");
        expect_closes(guests, 1012);
        assert_eq!(old.exit_code(), Some(0));
        old = new;
    }
    crowd.go_on(200);
    crowd.expect_no_failure();
}

#[test]
fn a_socket_that_is_passed_outlives_the_process_and_nobody_is_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    let start = || passed(socket.try_clone().expect("there are descriptors"), &["--listen", "fd:web=echo"]);
    let mut old = start();
    assert_eq!(old.listening_ip(), address);
    let crowd = Crowd::at(address);
    for _ in 0..3 {
        let guests = guests(address);
        crowd.go_on(200);
        signal("TERM", old.child.id());
        expect_closes(guests, 1012);
        assert_eq!(old.exit_code(), Some(0));
        old = start();
    }
    crowd.go_on(200);
    crowd.expect_no_failure();
}

/// Says something over TLS, and hears it.
fn visit_tls(address: SocketAddr) -> Result<(), String> {
    let mut page =
        WebSocket::connect_with(&format!("wss://{address}/"), &[], insecure()).expect("it is a URL");
    loop {
        match page.next_event_within(PATIENCE) {
            Some(Event::Open) => page.send("hi").expect("it is open"),
            Some(Event::Message(OwnedMessage::Text(text))) if text == "hi" => break,
            event => return Err(format!("{event:?}")),
        }
    }
    page.close(None, "").expect("it is open");
    while !matches!(page.next_event_within(PATIENCE), Some(Event::Close { .. }) | None) {}
    Ok(())
}

fn insecure() -> Options {
    Options { tls: Some(TlsClient::insecure().expect("it can be made")), ..Options::default() }
}

#[test]
fn over_tls_nobody_is_refused_either() {
    let start = |address: &str| {
        let listen = format!("tls:{address}=echo");
        Serving::start(&["--listen", &listen, "--tls-self-signed", "--reuse-port", "--drain-ms", "400"])
    };
    let listening = |serving: &mut Serving| -> SocketAddr {
        serving.listening().strip_prefix("tls:").and_then(|address| address.parse().ok()).expect("an address")
    };
    let mut old = start("127.0.0.1:0");
    let address = listening(&mut old);
    let crowd = Crowd::of(move || visit_tls(address));
    for _ in 0..2 {
        let mut guest =
            WebSocket::connect_with(&format!("wss://{address}/"), &[], insecure()).expect("it is a URL");
        assert!(matches!(guest.next_event_within(PATIENCE), Some(Event::Open)));
        crowd.go_on(20);
        let mut new = start(&address.to_string());
        assert_eq!(listening(&mut new), address);
        signal("TERM", old.child.id());
        match guest.next_event_within(PATIENCE) {
            Some(Event::Close { code: 1012, reason, was_clean: true }) if reason.contains("retry_ms=") => {}
            event => panic!("it is told where to go, and not {event:?}"),
        }
        assert_eq!(old.exit_code(), Some(0));
        old = new;
    }
    crowd.go_on(20);
    crowd.expect_no_failure();
}

#[test]
fn where_nobody_takes_over_the_code_is_1001_and_within_0_ms_all_are_told_at_once() {
    for drain_ms in ["200", "0"] {
        let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--drain-ms", drain_ms]);
        let guests = guests(serving.listening_ip());
        signal("TERM", serving.child.id());
        expect_closes(guests, 1001);
        assert_eq!(serving.exit_code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--drain-ms", "600000"]);
    let _guests = guests(serving.listening_ip());
    signal("TERM", serving.child.id());
    serving.line_with("once more to exit at once");
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(1));
}

#[test]
fn tls_is_spoken_on_a_socket_that_is_passed_and_outlives_the_process() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    for listen in ["tls:fd:web=echo", "tls:systemd=echo"] {
        let socket = socket.try_clone().expect("there are descriptors");
        let mut serving = passed(socket, &["--listen", listen, "--tls-self-signed"]);
        assert_eq!(serving.listening(), format!("tls:{address}"));
        let url = format!("wss://{address}/");
        let mut connect = sockeye(&["connect", &url, "--insecure", "--wait", "0.2"]);
        let mut child = connect.stdin(Stdio::piped()).spawn().expect("the binary starts");
        child.stdin.take().expect("it is piped").write_all(b"hello\n").expect("it is read");
        let output = finish(child);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n", "{output:?}");
        signal("TERM", serving.child.id());
        assert_eq!(serving.exit_code(), Some(0));
    }
    expect_usage(&["serve", "--listen", "tls:fd:web"], &["tls:fd:web", "--tls-cert"]);
}

#[test]
fn proxies_come_by_a_socket_that_is_passed() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    for listen in ["proxy:fd:web=echo", "proxy:systemd=echo"] {
        let socket = socket.try_clone().expect("there are descriptors");
        let trust = ["--trusted-proxies", "127.0.0.1", "--log", "text"];
        let mut serving = passed(socket, &[&["--listen", listen], &trust[..]].concat());
        assert_eq!(serving.listening(), format!("proxy:{address}"));
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n").expect("it is taken");
        exchange(stream).expect("it is served");
        serving.line_with("192.0.2.1:4660");
        signal("TERM", serving.child.id());
        assert_eq!(serving.exit_code(), Some(0));
    }
    let mut serving = passed(socket, &["--listen", "proxy:fd:web"]);
    serving.line_with("--trusted-proxies");
    assert_eq!(serving.exit_code(), Some(2));
    expect_usage(&["serve", "--listen", "proxy:tls:fd:web"], &["tls:fd:web", "--tls-cert"]);
    expect_usage(&["serve", "--listen", "proxy:proxy:fd:web"], &["--listen"]);
}

#[test]
fn the_file_of_a_unix_socket_that_is_passed_stays() {
    let path = std::env::temp_dir().join(format!("sockeye-passed-{}.sock", id()));
    let _ = std::fs::remove_file(&path);
    let socket = UnixListener::bind(&path).expect("it can be bound");
    for _ in 0..2 {
        let socket = socket.try_clone().expect("there are descriptors");
        let mut serving = passed(socket, &["--listen", "systemd=echo"]);
        assert_eq!(serving.listening(), format!("unix:{}", path.display()));
        exchange(UnixStream::connect(&path).expect("it listens")).expect("it is served");
        signal("TERM", serving.child.id());
        assert_eq!(serving.exit_code(), Some(0));
    }
    std::fs::remove_file(&path).expect("it is there");
}

#[test]
fn a_socket_that_was_not_passed_is_refused_with_2_and_named() {
    expect_usage(&["serve", "--listen", "systemd"], &["LISTEN_FDS", ".socket"]);
    expect_usage(&["serve", "--listen", "fd:web"], &["web", "LISTEN_FDNAMES"]);
    expect_usage(&["serve", "--listen", "fd:"], &["--listen", "name"]);
}

#[test]
fn the_supervisor_is_told_of_the_start_the_turns_of_the_loop_and_the_end() {
    let path = std::env::temp_dir().join(format!("sockeye-notify-{}.sock", id()));
    let _ = std::fs::remove_file(&path);
    let supervisor = UnixDatagram::bind(&path).expect("it can be bound");
    supervisor.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    let told = || {
        let mut text = [0; 1_024];
        let n = supervisor.recv(&mut text).expect("it is told");
        String::from_utf8(text[..n].to_vec()).expect("it is text").trim_end().to_owned()
    };
    let users = std::env::temp_dir().join(format!("sockeye-notify-{}.toml", id()));
    std::fs::write(&users, "").expect("it can be written");
    let users_path = users.display().to_string();
    let mut command = sockeye(&["serve", "--listen", "127.0.0.1:0", "--users", &users_path]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut serving = Serving::spawn(command);
    assert_eq!(told(), "READY=1");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1", "though nobody connects");
    }
    let told_of = |what: &str| while !told().starts_with(what) {};
    signal("HUP", serving.child.id());
    told_of("RELOADING=1\nMONOTONIC_USEC=");
    told_of("READY=1");
    let guests = guests(serving.listening_ip());
    signal("TERM", serving.child.id());
    told_of("STOPPING=1");
    told_of("EXTEND_TIMEOUT_USEC=11000000"); // --drain-ms, and ten seconds
    told_of("STATUS=draining, 20 connections");
    told_of("STATUS=draining, ");
    expect_closes(guests, 1001);
    assert_eq!(serving.exit_code(), Some(0));
    let _ = (std::fs::remove_file(&path), std::fs::remove_file(&users));
}

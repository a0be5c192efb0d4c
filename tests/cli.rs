//! The binary `sockeye`: arguments, what it says and where, exit codes, signals.

#[path = "hostile/peer.rs"]
#[allow(dead_code, reason = "the hostile client's peer can do more than is wanted here")]
mod peer;
mod serving;
mod tool;

use peer::{PATIENCE, Peer};
use serving::{Serving, expect_usage, output, sockeye};
use sockeye::{ActionLimits, Keepalive, Limits};
use std::{
    fmt::Debug,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::PathBuf,
    time::{Duration, Instant},
};
use tool::signal;

fn help(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("a text")
}

// ---------------------------------------------------------------------- help

/// The fields of a struct, by its `Debug`.
fn fields(of: impl Debug) -> Vec<String> {
    let text = format!("{of:#?}");
    let lines =
        text.lines().filter_map(|line| line.strip_prefix("    ").filter(|line| !line.starts_with(' ')));
    lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[test]
fn help_and_version_suffice_to_begin() {
    for arguments in [&["--help"][..], &["-h"]] {
        let text = help(arguments);
        for word in ["serve", "--help", "--version", "127.0.0.1:4863", "Exit codes", "69"] {
            assert!(text.contains(word), "{arguments:?} should name {word:?}: {text}");
        }
    }
    assert_eq!(help(&["--version"]), concat!("sockeye ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn serve_help_lists_every_limit_as_a_flag_with_unit_default_and_consequence() {
    let text = help(&["serve", "--help"]);
    let mut names = [fields(Limits::default()), fields(Keepalive::default())].concat();
    names.retain(|name| name != "actions");
    names.extend(fields(ActionLimits::default()));
    assert!(names.len() >= 36, "{names:?}");
    let missing: Vec<_> = names
        .iter()
        .map(|name| format!("--{} <", name.replace('_', "-")))
        .filter(|flag| !text.contains(flag.as_str()))
        .collect();
    assert!(missing.is_empty(), "limits without a flag: {missing:?}, in {text}");
    for word in ["--listen", "[=DIALECT]", "unix:PATH", "echo", "--origin", "SIGTERM", "1009", "503"] {
        assert!(text.contains(word), "serve --help should name {word:?}: {text}");
    }
    assert!(text.matches("[default: ").count() >= 34, "each flag says its default: {text}");
}

// ---------------------------------------------------------------------- exit code 2

#[test]
fn what_makes_no_sense_is_refused_with_2_and_named() {
    expect_usage(&["--nonsense"], &["--nonsense"]);
    expect_usage(&["serve", "--nonsense"], &["--nonsense", "--help"]);
    expect_usage(&["nonsense"], &["nonsense"]);
    expect_usage(&["serve", "left over"], &["left over"]);
    expect_usage(&["serve", "--message-bytes-max"], &["--message-bytes-max"]);
}

#[test]
fn an_address_that_is_none_is_refused_with_2_and_what_one_looks_like() {
    for address in ["127.0.0.1", "nonsense", ":80", "::1:80", "127.0.0.1:99999", "unix:", ""] {
        expect_usage(&["serve", "--listen", address], &[address, "--listen"]);
    }
    expect_usage(&["serve", "--listen", "127.0.0.1"], &["HOST:PORT", "unix:PATH"]);
    // The good one beside it does not help.
    expect_usage(&["serve", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1"], &["127.0.0.1"]);
}

#[test]
fn an_unknown_dialect_is_refused_with_2_and_the_known_one_named() {
    expect_usage(&["serve", "--listen", "127.0.0.1:0=morse"], &["morse", "echo"]);
    expect_usage(&["serve", "--listen", "127.0.0.1:0="], &["dialect", "echo"]);
}

#[test]
fn a_limit_out_of_bounds_is_refused_with_2_and_field_value_and_bound_named() {
    let serve = |flag, value| ["serve", "--listen", "127.0.0.1:0", flag, value];
    expect_usage(&serve("--message-bytes-max", "0"), &["message_bytes_max", " 0", "at least 1"]);
    expect_usage(&serve("--message-bytes-max", "2GiB"), &["message_bytes_max", "2147483648", "1073741824"]);
    expect_usage(&serve("--fragments-max", "0"), &["fragments_max", " 0", "at least 1"]);
    expect_usage(&serve("--head-bytes-max", "255"), &["head_bytes_max", "255", "at least 256"]);
    expect_usage(&serve("--headers-max", "4"), &["headers_max", " 4", "at least 5"]);
    expect_usage(&serve("--handshake-ms-max", "0"), &["handshake_ms_max", " 0", "at least 1"]);
    expect_usage(&serve("--read-bytes-max", "1KiB"), &["read_bytes_max", "1024", "at least 4096"]);
    expect_usage(
        &serve("--outbox-bytes-max", "1"),
        &["outbox_bytes_max", " 1", "262144", "outbox_bytes_soft"],
    );
    expect_usage(&serve("--connections-max", "-1"), &["-1"]);
    expect_usage(&serve("--connections-max", "many"), &["--connections-max", "many"]);
    expect_usage(&serve("--message-bytes-max", "1KB"), &["--message-bytes-max", "1KB", "KiB"]);
}

#[test]
fn a_size_past_32_bits_is_refused_as_what_it_is() {
    let serve = |flag, value| ["serve", "--listen", "127.0.0.1:0", flag, value];
    expect_usage(&serve("--message-bytes-max", "5GiB"), &["message", "5368709120"]);
    for flag in ["--pool-bytes-max", "--control-bytes-reserve", "--outbox-bytes-max"] {
        expect_usage(&serve(flag, "5GiB"), &["5368709120"]);
    }
}

// ---------------------------------------------------------------------- listening

#[test]
fn what_it_says_it_listens_on_it_listens_on() {
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    // The very first try must succeed: the line came after the socket.
    Peer::open(serving.listening_ip()).expect_echo(b"at once");
    let limits = serving.line();
    assert!(limits.contains("connections") && limits.contains("descriptors"), "{limits}");
    assert!(limits.contains("Ctrl-C"), "how to stop it: {limits}");
}

#[test]
fn without_a_command_it_serves_on_port_4863() {
    let mut child = sockeye(&[]).spawn().expect("the binary starts");
    let mut line = String::new();
    let stderr = child.stderr.take().expect("it is piped");
    let read = BufReader::new(stderr).read_line(&mut line);
    // Somebody else may have the port: then it says so.
    assert!(read.is_ok() && line.contains("127.0.0.1:4863"), "{line}");
    let _ = child.kill();
    let status = child.wait().expect("it is our child");
    assert!(line.contains("listening on ") || status.code() == Some(69), "{line}: {status}");
}

#[test]
fn a_port_that_is_taken_is_69() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let output = output(&["serve", "--listen", "127.0.0.1:0", "--listen", &address]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
    assert!(!stderr.contains("listening on"), "it listened nowhere: {stderr}");
}

#[test]
fn a_path_that_cannot_be_bound_is_69() {
    let output = output(&["serve", "--listen", "unix:/nonexistent/sockeye.sock"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("/nonexistent/sockeye.sock"), "{stderr}");
}

/// A path for a socket that no other test has, and that is short enough for one.
fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sockeye-cli-{}-{name}.sock", std::process::id()))
}

#[test]
fn several_listeners_serve_side_by_side() {
    let path = socket_path("several");
    let unix = format!("unix:{}", path.display());
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--listen", &unix, "--listen", "localhost:0=echo"];
    let has_v6 = TcpListener::bind("[::1]:0").is_ok();
    if has_v6 {
        arguments.extend(["--listen", "[::1]:0=echo"]);
    }
    let mut serving = Serving::start(&arguments);
    let first = serving.listening_ip();
    assert_eq!(serving.listening(), unix);
    let name = serving.listening_ip();
    assert!(name.ip().is_loopback() && name.port() != first.port());
    Peer::open(first).expect_echo(b"v4");
    Peer::open(name).expect_echo(b"by name");
    if has_v6 {
        let v6 = serving.listening_ip();
        assert!(v6.is_ipv6(), "{v6}");
        Peer::open(v6).expect_echo(b"v6");
    }
    let mut stream = UnixStream::connect(&path).expect("the line was said");
    stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
    stream.write_all(&[peer::UPGRADE, b"\x81\x82\0\0\0\0hi"].concat()).expect("it is taken");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n\x81\x02hi") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the answer goes on");
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(std::fs::metadata(&path).is_ok_and(|file| file.file_type().is_socket()));
    drop(stream);
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
    assert!(!path.exists(), "the socket file is removed at the end");
}

#[test]
fn a_limit_given_as_a_flag_is_the_limit() {
    let mut serving =
        Serving::start(&["--listen", "127.0.0.1:0", "--message-bytes-max", "1KiB", "--origin", "http://a"]);
    let address = serving.listening_ip();
    let reason =
        Peer::open(address).expect_echo(&[7; 1024]).send(&peer::announced(0x82, 1025)).expect_fault(1009);
    assert!(reason.contains("1025") && reason.contains("1024"), "{reason}");
    let stranger = [&peer::UPGRADE[..peer::UPGRADE.len() - 2], b"Origin: http://b\r\n\r\n"].concat();
    Peer::dial(address).send(&stranger).expect_refusal(&[403]);
}

// ---------------------------------------------------------------------- signals

/// Two clients are told 1001, answer it, and the process exits with 0 at once.
#[track_caller]
fn expect_a_graceful_stop(name: &str) {
    // Longer than the test waits: it is the answers that end it.
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--closing-ms-max", "600000"]);
    let address = serving.listening_ip();
    let mut peers = [Peer::open(address), Peer::open(address)];
    signal(name, serving.child.id());
    for peer in &mut peers {
        let close = peer.expect_frame();
        assert!(close.is_close(1001), "{close:?}");
    }
    assert!(std::net::TcpStream::connect(address).is_err(), "it accepts no more");
    for peer in &mut peers {
        peer.send(b"\x88\x82\0\0\0\0\x03\xe9").expect_end();
    }
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
    assert!(serving.said.contains("stopping"), "{}", serving.said);
}

#[test]
fn sigint_closes_everyone_with_1001_and_exits_with_0() {
    expect_a_graceful_stop("INT");
}

#[test]
fn sigterm_closes_everyone_with_1001_and_exits_with_0() {
    expect_a_graceful_stop("TERM");
}

#[test]
fn a_client_that_does_not_answer_is_given_closing_ms_max_and_no_more() {
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--closing-ms-max", "300"]);
    let mut silent = Peer::open(serving.listening_ip());
    let begun = Instant::now();
    signal("TERM", serving.child.id());
    assert!(silent.expect_frame().is_close(1001));
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    silent.expect_cut();
}

#[test]
fn a_second_signal_exits_at_once() {
    for (first, second) in [("INT", "INT"), ("TERM", "INT")] {
        let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--closing-ms-max", "600000"]);
        let mut silent = Peer::open(serving.listening_ip());
        signal(first, serving.child.id());
        assert!(silent.expect_frame().is_close(1001));
        signal(second, serving.child.id());
        assert_eq!(serving.exit_code(), Some(1), "{}", serving.said);
        silent.expect_cut();
    }
}

#[test]
fn a_signal_while_nobody_is_there_exits_with_0() {
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    serving.listening_ip();
    signal("INT", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
}

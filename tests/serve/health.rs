//! `sockeye health`: what it says of a server, and how it exits.

use crate::{
    admin::Administered,
    page::Page,
    serving::{Serving, expect_usage, output, sockeye},
    tool::finish,
};
use std::{net::TcpListener, process::Output};

/// It exits with this code, and names these words on stdout if that is 0, else on stderr.
#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    let (said, other) = if code == 0 { (stdout, stderr) } else { (stderr, stdout) };
    assert!(other.is_empty() && said.lines().count() == 1, "{said}{other}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
}

#[test]
fn a_server_that_is_well_is_so_by_every_way_to_ask_for_it() {
    let server = Administered::start(&[]);
    let admin = server.admin.to_string();
    let url = format!("http://{admin}");
    for arguments in [
        &["health", "--admin", &admin][..],
        &["health", "--admin", &admin, "--ready", "--timeout-ms", "10000"],
        &["health", &url],
        &["health", &format!("{url}/readyz")],
    ] {
        expect(
            &output(arguments),
            0,
            &[&admin, if arguments.concat().contains("ready") { "ready" } else { "ok" }],
        );
    }
    let mut command = sockeye(&["health"]);
    command.env("SOCKEYE_SERVER__ADMIN", &admin);
    expect(&finish(command.spawn().expect("the binary starts")), 0, &[&admin]);
    expect(&output(&["health", &format!("http://{}/", server.public)]), 1, &["404"]);
    expect(&output(&["health", &format!("{url}/api/v1/channels")]), 1, &["401", "Bearer"]);
}

#[test]
fn a_server_that_takes_nobody_more_lives_and_is_not_ready() {
    let server = Administered::start(&["--connections-max", "1"]);
    let _page = Page::open(server.public, "/echo");
    let admin = server.admin.to_string();
    expect(&output(&["health", "--admin", &admin]), 0, &["ok"]);
    expect(&output(&["health", "--admin", &admin, "--ready"]), 1, &["503", "not ready", "connections_max"]);
}

#[test]
fn a_unix_socket_may_be_asked() {
    let path = std::env::temp_dir().join(format!("sockeye-health-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let address = format!("unix:{}", path.display());
    expect(&output(&["health", "--admin", &address]), 1, &[&address, "cannot connect"]);
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--admin", &address]);
    serving.line_with("administration on ");
    expect(&output(&["health", "--admin", &address, "--ready"]), 0, &[&address, "ready"]);
}

#[test]
fn who_does_not_answer_or_not_in_http_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent = listener.local_addr().expect("it is bound").to_string();
    expect(&output(&["health", "--admin", &silent, "--timeout-ms", "50"]), 1, &["--timeout-ms"]);
    drop(listener);
    expect(&output(&["health", "--admin", &silent]), 1, &["cannot connect", "refused"]);
    let babbler = crate::tool::raw_server(|mut stream, _| {
        std::io::Write::write_all(&mut stream, b"\x1b[31mhello\r\n\r\n").expect("it is taken");
    });
    expect(&output(&["health", &babbler.replace("ws:", "http:")]), 1, &["not in HTTP"]);
}

#[test]
fn what_cannot_be_asked_is_refused_with_2() {
    expect_usage(&["health", "--admin", "nowhere"], &["--admin", "nowhere"]);
    expect_usage(&["health", "--admin", "tls:127.0.0.1:1"], &["TLS"]);
    expect_usage(&["health", "https://127.0.0.1:1"], &["TLS"]);
    expect_usage(&["health", "ws://127.0.0.1:1"], &["http://HOST:PORT"]);
    expect_usage(&["health", "http://127.0.0.1:1", "--admin", "127.0.0.1:1"], &["--admin"]);
    expect_usage(&["health", "--timeout-ms", "0"], &["--timeout-ms"]);
}

//! The architecture, held by a test: which layer may import which, what only `net` and `cli` may touch, and what
//! has no place in `src/` at all.
//!
//! The sources are read as text and cut into tokens; comments, strings and `#[cfg(test)]` items are left out. The
//! checks are themselves checked on snippets that break them, so that they cannot pass by seeing nothing.

use std::{fs, path::Path};

/// What a layer may import of the others, its own modules aside. An arrow points down.
const ARROWS: [(&str, &[&str]); 11] = [
    ("config", &[]),
    ("time", &[]),
    ("bits", &[]),
    ("error", &["config"]),
    ("wire", LEAVES),
    ("conn", &["wire", "config", "time", "bits", "error"]),
    ("engine", &["conn", "wire", "config", "time", "bits", "error"]),
    ("dialect", LEAVES),
    ("hub", &["dialect", "engine", "conn", "wire", "config", "time", "bits", "error"]),
    ("net", &["engine", "conn", "wire", "config", "time", "bits", "error"]),
    ("client", &["net", "engine", "conn", "wire", "config", "time", "bits", "error"]),
];

/// Importable by all.
const LEAVES: &[&str] = &["config", "time", "bits", "error"];

/// The binary: it sees the library from outside, through the `sockeye` crate.
const BINARY: [&str; 2] = ["main", "cli"];

/// Paths that only `net` and the binary may use: these, and all below them.
const OS_PATHS: [&str; 16] = [
    "std::env",
    "std::fs",
    "std::os",
    "std::process",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::thread",
    "getrandom",
    "libc",
    "mio",
    "rlimit",
    "rustls",
    "rustls_native_certs",
    "signal_hook",
    "socket2",
    "webpki",
];

/// Names that only `net` and the binary may use, wherever they come from.
const OS_NAMES: [&str; 15] = [
    "Barrier",
    "Condvar",
    "Instant",
    "LazyLock",
    "Mutex",
    "OnceLock",
    "RwLock",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
];

/// Globs that would hide such a name.
const OS_GLOBS: [&str; 4] = ["std", "std::net", "std::sync", "std::time"];

/// Lines a source file may have.
const LINES_MAX: usize = 700;

#[test]
fn src_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.len() >= 20, "only {} files found in src", files.len());
    for layer in ["wire", "conn", "engine", "net", "dialect", "hub", "client", "cli"] {
        let found = files.iter().any(|(path, _)| path.starts_with(&format!("{layer}/")));
        assert!(found, "layer {layer} is not in src");
    }
    let faults: Vec<_> = files.iter().flat_map(|(path, text)| check(path, text)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A call that has a default is forgotten in silence.
#[test]
fn the_operator_passes_every_call_of_a_handler_on() {
    let read = |path: &str| std::fs::read_to_string(path).expect("it is there");
    let (handler, operator) = (read("src/engine/handler.rs"), read("src/cli/serve/operator/mod.rs"));
    let calls: Vec<_> = handler
        .match_indices("\n    fn on_")
        .filter_map(|(at, _)| handler[at + 8..].split('(').next())
        .collect();
    assert!(calls.len() > 15, "{calls:?}");
    for call in calls {
        assert!(operator.contains(&format!("self.hub.{call}(")), "{call} does not reach the hub");
    }
}

/// All sources below `folder`, with their path below `root`.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below =
                path.strip_prefix(root).expect("it was found there").to_string_lossy().replace('\\', "/");
            files.push((below, fs::read_to_string(&path).expect("a source is UTF-8")));
        }
    }
}

// ---------------------------------------------------------------------- checks

/// What is wrong with a file, of which `path` is the place below `src/`.
fn check(path: &str, text: &str) -> Vec<String> {
    let tokens = without_visibility(without_tests(tokens(text)));
    let (layer, paths) = (layer_of(path), paths(&tokens));
    let mut faults = check_tokens(&tokens);
    if let Some(known) = layer_named(layer) {
        faults.extend(check_arrows(path, layer, known, &paths));
    } else if !BINARY.contains(&layer) && layer != "lib" {
        faults.push(format!("{layer} is no known layer: put it on the map in this test"));
    }
    if BINARY.contains(&layer) {
        faults.extend(paths.iter().filter_map(|path| {
            let inside = path.strip_prefix("crate::").is_some_and(|rest| !rest.starts_with("cli"));
            inside.then(|| format!("{path}: the binary uses the library through the sockeye crate"))
        }));
    } else if layer != "net" {
        faults.extend(check_os(&tokens, &paths));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        faults.push(format!("{lines} lines, at most {LINES_MAX}"));
    }
    faults.into_iter().map(|fault| format!("src/{path}: {fault}")).collect()
}

/// What has no place anywhere in `src/`.
fn check_tokens(tokens: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for (i, &token) in tokens.iter().enumerate() {
        let (before, after) = (i.checked_sub(1).map_or("", |i| tokens[i]), tokens.get(i + 1).unwrap_or(&""));
        match token {
            "unsafe" => faults.push("unsafe".to_owned()),
            "todo" | "unimplemented" | "dbg" if *after == "!" => faults.push(format!("{token}!")),
            "unwrap" if before == "." && *after == "(" => {
                faults.push(".unwrap(): say with expect why it cannot happen".to_owned());
            }
            "unwrap" if before == "::" => faults.push("unwrap, as a function".to_owned()),
            _ => {}
        }
    }
    faults
}

/// No import but along an arrow.
fn check_arrows(file: &str, layer: &str, allowed: &[&str], paths: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    // How many `super` lead from this file's module to the crate's root.
    let depth = file.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    for path in paths {
        let segments: Vec<_> = path.split("::").collect();
        let supers = segments.iter().skip_while(|&&s| s == "self").take_while(|&&s| s == "super").count();
        let target = match segments[0] {
            "sockeye" => {
                faults.push(format!("{path}: the library has no need of its own name"));
                continue;
            }
            "crate" => segments.get(1),
            _ if supers >= depth => segments.iter().find(|&&segment| segment != "self" && segment != "super"),
            _ => continue,
        };
        let target = target.copied().unwrap_or("the whole crate");
        if target != layer && !allowed.contains(&target) {
            faults.push(format!("{path}: {layer} may import {allowed:?}, not {target}"));
        }
    }
    faults
}

/// No clock, socket, thread, lock, entropy, file or environment.
fn check_os(tokens: &[&str], paths: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for path in paths {
        let path = path.trim_start_matches("::");
        let below =
            |parent: &str| path.strip_prefix(parent).is_some_and(|r| r.is_empty() || r.starts_with("::"));
        if OS_PATHS.iter().any(|parent| below(parent)) {
            faults.push(format!("{path} outside net and cli"));
        }
        if path.strip_suffix("::*").is_some_and(|parent| OS_GLOBS.contains(&parent)) {
            faults.push(format!("{path} hides what is imported"));
        }
    }
    let is_os = |token: &&&str| OS_NAMES.contains(token) || token.starts_with("Atomic");
    faults.extend(tokens.iter().filter(is_os).map(|name| format!("{name} outside net and cli")));
    faults
}

/// `wire` of `wire/frame.rs`, `time` of `time.rs`.
fn layer_of(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

fn layer_named(name: &str) -> Option<&'static [&'static str]> {
    ARROWS.iter().find(|(layer, _)| *layer == name).map(|(_, allowed)| *allowed)
}

// ---------------------------------------------------------------------- reading Rust, as far as needed

/// Words, `::`, and single other characters. Comments, strings and characters are left out.
fn tokens(text: &str) -> Vec<&str> {
    let (bytes, mut found, mut at) = (text.as_bytes(), Vec::new(), 0);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if bytes[at].is_ascii_whitespace() {
            at + 1
        } else if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            at + comment_bytes(rest)
        } else if let Some(len) = string_bytes(rest) {
            at + len
        } else if is_word(bytes[at]) {
            let len = bytes[at..].iter().take_while(|&&byte| is_word(byte)).count();
            found.push(&rest[..len]);
            at + len
        } else {
            let len = if rest.starts_with("::") { 2 } else { 1 };
            found.push(&rest[..len]);
            at + len
        };
        at = end;
    }
    found
}

/// Bytes of the block comment that `text` starts with; they nest.
fn comment_bytes(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Bytes of the string, byte string, raw string, character or lifetime that `text` starts with, if it does.
fn string_bytes(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '\'']) || rest.starts_with('#'))
    });
    let start = prefix.map_or(0, str::len);
    let body = &text[start..];
    if prefix.is_some_and(|prefix| prefix.ends_with('r')) {
        let hashes = body.bytes().take_while(|&byte| byte == b'#').count();
        if !body[hashes..].starts_with('"') {
            return None; // r#word
        }
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(start + hashes + 1 + body[hashes + 1..].find(&end)? + end.len());
    }
    let quote = body.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    if quote == '\'' && !body[1..].starts_with('\\') {
        let character = body[1..].chars().next()?;
        if !body[1 + character.len_utf8()..].starts_with('\'') {
            // A lifetime: a quote and a word.
            return Some(
                1 + body[1..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count(),
            );
        }
    }
    let (mut escaped, mut ends) = (false, body.char_indices().skip(1));
    let end = ends.find(|&(_, character)| {
        let ends = !escaped && character == quote;
        escaped = !escaped && character == '\\';
        ends
    });
    Some(start + end?.0 + 1)
}

/// Leaves out every item that is behind `#[cfg(test)]`.
fn without_tests(tokens: Vec<&str>) -> Vec<&str> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut rest) = (Vec::new(), &tokens[..]);
    while let [first, after @ ..] = rest {
        if rest.starts_with(&TEST) {
            rest = after_item(&rest[TEST.len()..]);
        } else {
            kept.push(*first);
            rest = after;
        }
    }
    kept
}

/// What follows an item: its first `;`, or the end of its first block, ends it.
fn after_item<'t, 's>(mut rest: &'t [&'s str]) -> &'t [&'s str] {
    let mut depth = 0;
    while let [first, after @ ..] = rest {
        rest = after;
        match *first {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && ["}", ";"].contains(first) {
            break;
        }
    }
    rest
}

/// Leaves out who may see an item: it imports nothing.
fn without_visibility(tokens: Vec<&str>) -> Vec<&str> {
    let (mut kept, mut rest) = (Vec::new(), &tokens[..]);
    while let [first, after @ ..] = rest {
        kept.push(*first);
        rest = match (*first, after) {
            ("pub", ["(", "crate" | "super" | "self" | "in", ..]) => {
                let end = after.iter().position(|&token| token == ")").map_or(after.len(), |at| at + 1);
                &after[end..]
            }
            _ => after,
        };
    }
    kept
}

/// All paths, those of `use` trees and those in expressions: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tokens: &[&str]) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), tokens);
    while !rest.is_empty() {
        rest = path_tree(rest, "", &mut found);
    }
    found
}

/// Takes one path, or tree of paths, or else one token.
fn path_tree<'t, 's>(mut rest: &'t [&'s str], parent: &str, found: &mut Vec<String>) -> &'t [&'s str] {
    let mut path = parent.to_owned();
    let is_word = |token: &str| token.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if let ["::", after @ ..] = rest {
        rest = after; // ::std
    }
    loop {
        match rest {
            ["{", after @ ..] if !path.is_empty() => {
                rest = after;
                while let [first, after @ ..] = rest {
                    match *first {
                        "}" => return after,
                        "," => rest = after,
                        _ => rest = path_tree(rest, &path, found),
                    }
                }
                return rest;
            }
            [word, after @ ..] if is_word(word) || (*word == "*" && !path.is_empty()) => {
                if !path.is_empty() {
                    path.push_str("::");
                }
                path.push_str(word);
                rest = after;
            }
            [_, after @ ..] if path == parent => return after,
            _ => break,
        }
        match rest {
            ["::", after @ ..] => rest = after,
            _ => break,
        }
    }
    found.push(path);
    rest
}

// ---------------------------------------------------------------------- the checks, checked

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect_fault(path: &str, text: &str, word: &str) {
        let faults = check(path, text);
        let [fault] = &faults[..] else { panic!("one fault in {path}: {text:?}, and found {faults:?}") };
        assert!(fault.contains(word) && fault.contains(path), "{fault} names {word}");
    }

    #[track_caller]
    fn expect_tidy(path: &str, text: &str) {
        assert_eq!(check(path, text), [""; 0], "{path}: {text}");
    }

    #[test]
    fn an_arrow_that_points_up_is_seen_in_whichever_way_it_is_drawn() {
        expect_fault("wire/frame.rs", "use crate::conn::Input;", "crate::conn::Input");
        expect_fault("conn/mod.rs", "use crate::{config::Config, engine::ConnId};", "crate::engine::ConnId");
        expect_fault("conn/mod.rs", "use crate::{wire::{close, frame::{self, Opcode}}, net};", "crate::net");
        expect_fault("engine/mod.rs", "pub(crate) use crate::net::Server as S;", "crate::net::Server");
        expect_fault("wire/mod.rs", "fn f() { let x = crate::engine::f(); }", "crate::engine::f");
        expect_fault("wire/mod.rs", "use super::conn;", "super::conn");
        expect_fault("wire/frame.rs", "use super::super::{conn::Role};", "super::super::conn::Role");
        expect_fault("wire/frame.rs", "use self::super::super::conn;", "conn");
        expect_fault("time.rs", "use super::wire;", "super::wire");
        expect_fault("config.rs", "use crate::error::Error;", "crate::error");
        expect_fault("time.rs", "use crate::config::Config;", "crate::config");
        // What `lib.rs` exports again is no way round.
        expect_fault("wire/mod.rs", "use crate::Connection;", "crate::Connection");
        expect_fault("wire/mod.rs", "use crate::*;", "crate::*");
        expect_fault("wire/mod.rs", "use sockeye::Connection;", "sockeye::Connection");
        expect_fault("net/mod.rs", "use crate::cli;", "crate::cli");
        expect_fault("net/mod.rs", "use crate::client;", "crate::client");
        expect_fault("cli/serve.rs", "use crate::net::Server;", "sockeye crate");
        expect_fault("main.rs", "use crate::engine;", "sockeye crate");
        expect_fault("attic/mod.rs", "fn f() {}", "no known layer");
    }

    #[test]
    fn an_arrow_that_points_down_is_allowed() {
        expect_tidy(
            "wire/handshake.rs",
            "use super::http; use std::fmt; use self::x; use crate::wire::mask;",
        );
        expect_tidy(
            "conn/receive.rs",
            "use super::{Fault, Input}; use crate::{time::Now, wire::{close, mask}};",
        );
        expect_tidy("engine/peers.rs", "use crate::{config::Limits, conn::Connection, error::Error};");
        expect_tidy("client/mod.rs", "use crate::{net::Server, engine::ConnId, wire::close::CloseCode};");
        expect_tidy("net/turn.rs", "use crate::{engine::{Command, ConnId}, time::Tick}; use super::Server;");
        expect_tidy("error.rs", "use crate::config::InvalidLimit;");
        expect_tidy("cli/mod.rs", "use sockeye::{Config, net::Server}; use crate::cli::serve; mod serve;");
        expect_tidy(
            "engine/peers.rs",
            "pub(crate) struct A { pub(super) b: u8, pub(in super::super) c: (u8) }",
        );
        expect_tidy("lib.rs", "pub mod net; pub use net::Server; pub use crate::engine::Engine;");
    }

    #[test]
    fn the_operating_system_is_seen_outside_net_and_cli() {
        for (text, word) in [
            ("use std::time::Instant;", "Instant"),
            ("use std::time::{Duration, SystemTime};", "SystemTime"),
            ("use std::net::{IpAddr, TcpStream};", "TcpStream"),
            ("fn f() { ::std::net::UdpSocket::bind(a); }", "UdpSocket"),
            ("use std::{fmt, thread};", "std::thread"),
            ("fn f() { std::thread::spawn(g); }", "std::thread::spawn"),
            ("use std::{collections::HashMap, sync::{Arc, Mutex}};", "Mutex"),
            ("static A: sync::RwLock<u8> = x;", "RwLock"),
            ("fn f(a: &AtomicU64) {}", "AtomicU64"),
            ("use std::sync::atomic::{self};", "std::sync::atomic"),
            ("use std::{env as e, fmt};", "std::env"),
            ("fn f() { std::fs::read(a); }", "std::fs::read"),
            ("use std::time::*;", "std::time::*"),
            ("use std::{net::*, fmt};", "std::net::*"),
            ("fn f() { getrandom::fill(b); }", "getrandom::fill"),
            ("use mio::Poll;", "mio::Poll"),
            ("use mio;", "mio"),
        ] {
            for path in
                ["wire/frame.rs", "conn/mod.rs", "engine/core.rs", "client/mod.rs", "time.rs", "config.rs"]
            {
                expect_fault(path, text, word);
            }
            expect_tidy("net/os.rs", text);
            expect_tidy("cli/serve.rs", text);
        }
    }

    #[test]
    fn addresses_durations_and_words_that_only_look_alike_are_allowed() {
        expect_tidy(
            "engine/mod.rs",
            "use std::{fmt, net::{IpAddr, Ipv6Addr, SocketAddr}, sync::Arc, time::Duration, fs_like};
             use std::error::Error; use self::env; fn thread(mio_like: u8) -> Option<instant> { env::x() }",
        );
    }

    #[test]
    fn what_has_no_place_anywhere_is_seen_even_in_net_and_cli() {
        for path in ["wire/frame.rs", "net/socket.rs", "cli/serve.rs", "lib.rs", "main.rs"] {
            expect_fault(path, "fn f() { unsafe { g() } }", "unsafe");
            expect_fault(path, "unsafe impl Send for X {}", "unsafe");
            expect_fault(path, "fn f() { todo!() }", "todo!");
            expect_fault(path, "fn f() { unimplemented!(\"later\") }", "unimplemented!");
            expect_fault(path, "fn f() { dbg!(x); }", "dbg!");
            expect_fault(path, "fn f() { x.y().unwrap().z() }", "unwrap");
            expect_fault(path, "fn f() { x\n    .unwrap() }", "unwrap");
            expect_fault(path, "fn f() { x.map(Option::unwrap) }", "unwrap");
        }
        expect_tidy(
            "lib.rs",
            "#![forbid(unsafe_code)] fn f() { x.unwrap_or(y).unwrap_or_default().expect(why) }",
        );
    }

    #[test]
    fn comments_strings_and_tests_are_left_out() {
        expect_tidy(
            "wire/a.rs",
            "//! std::thread::spawn, unsafe\n/// `use mio;` x.unwrap()\nfn f() {} // dbg!()",
        );
        expect_tidy("wire/a.rs", "/* use mio; /* unsafe */ todo!() */ fn f() {}");
        expect_tidy(
            "wire/a.rs",
            r###"const A: &str = "unsafe \" use mio; \\"; const B: &str = r#"dbg!() " "#;"###,
        );
        expect_tidy(
            "wire/a.rs",
            r#"const A: &[u8] = b"unsafe"; const B: char = '"'; const C: u8 = b'\''; // '"#,
        );
        expect_tidy("wire/a.rs", "fn f<'a>(x: &'a str) -> Cow<'static, str> { '\"'; '\\u{7}' }");
        expect_tidy("wire/a.rs", "#[cfg(test)]\nmod tests { use crate::net::Server; fn f() { x.unwrap() } }");
        expect_tidy(
            "wire/a.rs",
            "#[cfg(test)] use std::{thread, env}; #[cfg(test)] #[allow(x)] fn f() { unsafe {} }",
        );
    }

    #[test]
    fn what_stands_around_comments_strings_and_tests_is_not() {
        expect_fault("wire/a.rs", "/* */ use mio; /* */", "mio");
        expect_fault("wire/a.rs", "const A: &str = \"\\\\\"; use mio; const B: &str = \"\";", "mio");
        expect_fault("wire/a.rs", "const A: &str = r\"\\\"; use mio; const B: &str = r\"\";", "mio");
        expect_fault("wire/a.rs", "const A: char = '\"'; use mio; const B: char = '\"';", "mio");
        expect_fault("wire/a.rs", "fn f<'a>(x: &'a str) { x.unwrap() } fn g<'b>() {}", "unwrap");
        expect_fault("wire/a.rs", "#[cfg(test)] mod tests { fn f() {} } fn g() { x.unwrap() }", "unwrap");
        expect_fault("wire/a.rs", "#[cfg(test)] use x::{y, z}; use mio;", "mio");
        expect_fault("wire/a.rs", "#[cfg(not(test))] fn g() { x.unwrap() }", "unwrap");
    }

    #[test]
    fn a_file_that_is_too_long_is_seen() {
        expect_tidy("wire/a.rs", &"\n".repeat(LINES_MAX));
        expect_fault("wire/a.rs", &"\n".repeat(LINES_MAX + 1), "701 lines");
    }
}

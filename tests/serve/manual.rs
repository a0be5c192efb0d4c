//! What shells and `man` get.

use crate::{serving::sockeye, tool::finish};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// What a run that ends by itself says on stdout and on stderr, and its exit code.
#[track_caller]
fn run(arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = finish(sockeye(arguments).spawn().expect("the binary starts"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is a text");
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn shells_get_completions_of_every_command_and_flag() {
    for shell in ["bash", "zsh", "fish"] {
        let (script, stderr, code) = run(&["completions", shell]);
        assert_eq!((stderr.as_str(), code), ("", Some(0)), "{shell}");
        for word in ["autobahn", "check-config", "message-bytes-max", "print-config"] {
            assert!(script.contains(word), "{shell} completes {word}");
        }
        // Others than bash may not be installed.
        let reader = Command::new(shell).arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut reader) = reader else {
            assert_ne!(shell, "bash");
            continue;
        };
        reader.stdin.take().expect("it is piped").write_all(script.as_bytes()).expect("it reads");
        let output = finish(reader);
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
    }
    assert_eq!(run(&["completions", "tcsh"]).2, Some(2));
}

#[test]
fn manual_pages_have_the_sections_of_the_help() {
    let (page, _, code) = run(&["man"]);
    assert_eq!(code, Some(0));
    for text in [".TH sockeye 1", ".SH NAME", ".SH SYNOPSIS"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let (page, _, code) = run(&["man", "serve"]);
    assert_eq!(code, Some(0));
    for text in [
        ".TH sockeye-serve 1",
        ".SH LIMITS",
        ".SH TIMERS",
        ".SH CONFIGURATION",
        "\\-\\-message\\-bytes\\-max",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let (_, stderr, code) = run(&["man", "nonsense"]);
    assert!(stderr.contains("give serve, connect") && code == Some(2), "{stderr}");
}

//! `sockeye connect` on a terminal: line editing, history, messages that come while one types, keys that end it, and
//! what of a peer's reaches the terminal. `script` of util-linux lends the terminal.
#![cfg(target_os = "linux")]

mod tool;

use sockeye::{CloseCode, Message};
use std::{io::Read, process::Command};
use tool::{Ended, Seen, Serving, Tool, echo, raw_websocket, signal};

/// The shell command `line` on a terminal; keys are its stdin, and what is shown its stdout.
fn on_terminal(line: &str, variables: &[(&str, &str)]) -> Tool {
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    Tool::start(command)
}

/// `sockeye connect` on a terminal, connected.
fn connect(url: &str, flags: &str) -> Tool {
    let mut tool = on_terminal(&line(url, flags), &[]);
    tool.expect("connected to ");
    tool.expect(PROMPT);
    tool
}

/// What is written when the line discipline is off (pastes are asked for in brackets): from here on keys are edited.
const PROMPT: &str = "\x1b[?2004h";

/// Types keys and Enter, and waits for the next line.
#[track_caller]
fn enter(tool: &mut Tool, keys: &[u8]) {
    let from = tool.said[0].len();
    tool.input(&[keys, b"\r"].concat()).expect_after(from, PROMPT);
}

fn line(url: &str, flags: &str) -> String {
    format!("'{}' connect '{url}' {flags}", env!("CARGO_BIN_EXE_sockeye"))
}

const CTRL_C: &[u8] = b"\x03";
const CTRL_D: &[u8] = b"\x04";
const UP: &[u8] = b"\x1b[A";
const LEFT: &[u8] = b"\x1b[D";

#[track_caller]
fn close_by_ctrl_d(mut tool: Tool) -> Ended {
    tool.input(CTRL_D);
    let ended = tool.end();
    ended.expect_code(0);
    ended
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

#[test]
fn a_line_is_edited_before_it_is_sent() {
    let server = Serving::start(echo);
    let mut tool = connect(&server.url(), "");
    enter(&mut tool, &[b"helo", LEFT, b"l"].concat());
    assert_eq!(server.next_of_interest(), text("hello"));
    tool.expect("<\x1b[0m hello");
    close_by_ctrl_d(tool);
    assert_eq!(server.next_of_interest(), Seen::Close(1000, String::new()));
}

#[test]
fn lines_before_come_back_with_the_arrows() {
    let server = Serving::start(echo);
    let mut tool = connect(&server.url(), "");
    for line in ["one", "two"] {
        enter(&mut tool, line.as_bytes());
        assert_eq!(server.next_of_interest(), text(line));
    }
    enter(&mut tool, &[UP, UP, b"!"].concat());
    assert_eq!(server.next_of_interest(), text("one!"));
    close_by_ctrl_d(tool);
}

#[test]
fn lines_that_come_at_once_are_all_sent_in_order() {
    let server = Serving::start(echo);
    let mut tool = connect(&server.url(), "");
    let mut shown = tool.input(b"one\rtwo\rthree\r").said[0].len();
    for line in ["one", "two", "three"] {
        assert_eq!(server.next_of_interest(), text(line));
        shown = tool.expect_after(shown, PROMPT);
    }
    close_by_ctrl_d(tool);
}

#[test]
fn a_message_that_comes_while_one_types_stands_above_the_line_which_is_kept() {
    // Whatever is said to the first connection is told to the second one.
    let mut ids = Vec::new();
    let server = Serving::start(move |cx, id, seen| match seen {
        Seen::Open => ids.push(id),
        Seen::Text(text) if id == ids[0] => drop(cx.send(ids[1], text.as_str())),
        _ => {}
    });
    let mut other = Tool::connect(&[&server.url()]);
    assert!(matches!(server.next(), Seen::Request(_)) && server.next() == Seen::Open);
    let mut tool = connect(&server.url(), "");
    let typed = tool.input(b"half a li").expect("half a li");
    other.input(b"news\n");
    let shown = tool.expect_after(typed, "<\x1b[0m news");
    // What was typed is drawn again, below.
    tool.expect_after(shown, "> half a li");
    enter(&mut tool, b"ne");
    loop {
        match server.next_of_interest() {
            Seen::Text(said) if said == "news" => {}
            seen => break assert_eq!(seen, text("half a line")),
        }
    }
    close_by_ctrl_d(tool);
}

#[test]
fn ctrl_c_closes_with_1001() {
    let server = Serving::start(|_, _, _| {});
    let mut tool = connect(&server.url(), "");
    tool.input(b"not sent").expect("not sent");
    tool.input(CTRL_C);
    assert_eq!(server.next_of_interest(), Seen::Close(1001, String::new()));
    tool.end().expect_code(0);
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let url = raw_websocket(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let mut tool = connect(&url, "");
    tool.input(CTRL_C).expect("once more to end at once");
    tool.input(CTRL_C);
    tool.end().expect_code(130);
}

#[test]
fn the_terminal_is_left_as_it_was_when_two_signals_end_it_in_the_middle_of_a_line() {
    let url = raw_websocket(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    // The shell says who it is and becomes the tool; the one around it looks at the terminal afterwards.
    let mut tool = on_terminal(
        &format!("sh -c 'echo pid $$.; exec {}'; stty -a", line(&url, "").replace('\'', "")),
        &[],
    );
    tool.expect(".\r\n");
    tool.expect(PROMPT);
    let shown = String::from_utf8_lossy(&tool.said[0]).into_owned();
    let (_, rest) = shown.split_once("pid ").expect("it is said first");
    let pid = rest.split('.').next().and_then(|pid| pid.parse().ok()).expect("a number");
    signal("TERM", pid);
    tool.expect("once more to end at once");
    signal("TERM", pid);
    expect_usual_modes(&tool.end().stdout());
}

#[track_caller]
fn expect_usual_modes(settings: &str) {
    for mode in ["icanon", "echo ", "isig"] {
        let off = format!("-{mode}");
        assert!(settings.contains(mode) && !settings.contains(&off), "{mode} is on again: {settings}");
    }
}

#[test]
fn the_terminal_is_left_as_it_was_when_the_server_ends_it_in_the_middle_of_a_line() {
    let server = Serving::start(|cx, id, seen| {
        if *seen == text("go") {
            cx.close(id, CloseCode::new(4000), "enough");
        }
    });
    let url = server.url();
    let mut tool = on_terminal(&format!("{}; echo code $?; stty -a", line(&url, "")), &[]);
    tool.expect(PROMPT);
    tool.input(b"go\rhalf a");
    let end = tool.expect("closed with 4000 \"enough\": the server closed");
    tool.expect_after(end, "code 3");
    expect_usual_modes(&tool.end().stdout());
}

#[test]
fn nothing_a_peer_sends_is_obeyed_by_the_terminal() {
    let server = Serving::start(|cx, id, seen| {
        if *seen == Seen::Open {
            cx.send(id, "a\x1b]0;title\x07b\u{9b}2Jc\rd\n> fake");
            cx.send(id, Message::Binary(b"\x1b[2Jbytes\x00"));
        }
    });
    let mut tool = connect(&server.url(), "");
    tool.expect("a\\u{1b}]0;title\\u{7}b\\u{9b}2Jc\\rd");
    // A line of a message never begins where one of ours does.
    tool.expect("\n  > fake");
    tool.expect("binary, 10 bytes");
    tool.expect("  00000000  1b 5b 32 4a 62 79 74 65  73 00");
    tool.expect("|.[2Jbytes.|");
    let ended = close_by_ctrl_d(tool);
    for sequence in ["\x1b]0;", "\u{9b}", "\x07", "\x1b[2J"] {
        assert!(!ended.stdout().contains(sequence), "{sequence:?} in {:?}", ended.stdout());
    }
}

#[test]
fn colours_are_for_terminals_whose_owner_wants_them() {
    let server = Serving::start(|cx, id, seen| {
        if *seen == Seen::Open {
            cx.send(id, "hi");
        }
    });
    for (variables, colours) in [
        (&[][..], true),
        (&[("NO_COLOR", "")], true),
        (&[("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let mut tool = on_terminal(&line(&server.url(), ""), variables);
        tool.expect("hi");
        if !variables.contains(&("TERM", "dumb")) {
            tool.expect(PROMPT);
        }
        let shown = close_by_ctrl_d(tool).stdout();
        assert_eq!(shown.contains("\x1b[36m"), colours, "{variables:?}: {shown:?}");
    }
}

#[test]
fn what_is_typed_is_sent_as_bytes_with_binary() {
    let server = Serving::start(|_, _, _| {});
    let mut tool = connect(&server.url(), "--binary");
    enter(&mut tool, "é".as_bytes());
    assert_eq!(server.next_of_interest(), Seen::Binary("é".as_bytes().to_vec()));
    close_by_ctrl_d(tool);
}

#[test]
fn a_pipe_to_a_terminal_is_shown_as_to_a_person() {
    let server = Serving::start(echo);
    let tool = on_terminal(&format!("printf 'a\\033[31mb\\n' | {}", line(&server.url(), "")), &[]);
    let ended = tool.end();
    ended.expect_code(0);
    assert!(ended.stdout().contains("a\\u{1b}[31mb"), "{ended:?}");
}

#[test]
fn a_terminal_into_a_file_is_read_by_lines_and_written_as_to_a_program() {
    let server = Serving::start(echo);
    let mut tool = on_terminal(&format!("{} | od -c", line(&server.url(), "--wait 0.2")), &[]);
    tool.input(b"hi\r");
    assert_eq!(server.next_of_interest(), text("hi"));
    tool.input(CTRL_D);
    let ended = tool.end();
    ended.expect_code(0);
    assert!(ended.stdout().contains("0000000   h   i  \\n"), "{ended:?}");
}

//! What is shown, where and how: messages on stdout, all else on stderr; above the line being typed where one is.

use super::super::text;
use rustyline::{Config, ExternalPrinter, history::MemHistory};
use sockeye::Message;
use std::{
    env,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

/// How events are shown on stdout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shows {
    /// To a program: payloads as they came, a line end after each text.
    Payloads,
    /// To a program: each event as one JSON object on a line.
    Json,
    /// To a person: nothing that a terminal would obey, bytes as a dump.
    Terminal,
}

/// Where it all goes. Once stdout is closed nothing is shown any more.
pub(super) struct Screen {
    shows: Shows,
    /// Of stdout, and of stderr.
    palettes: [Palette; 2],
    /// Shows lines above the one being typed, and draws that one again.
    printer: Option<Box<dyn ExternalPrinter + Send>>,
    /// What came of writing to stdout, if it failed.
    failure: Option<io::Error>,
    scratch: String,
}

/// Bytes of a binary message that a terminal is shown.
const DUMP_BYTES_MAX: usize = 4096;
/// Before each line of a message but the first, so that none can pass for something else.
const INDENT: &str = "  ";

impl Screen {
    pub(super) fn new(json: bool) -> Screen {
        let is_terminal = io::stdout().is_terminal();
        let shows = match (json, is_terminal) {
            (true, _) => Shows::Json,
            (false, true) => Shows::Terminal,
            (false, false) => Shows::Payloads,
        };
        let palettes = [is_terminal, io::stderr().is_terminal()]
            .map(|is_terminal| if is_terminal { Palette::chosen() } else { Palette::NONE });
        Screen { shows, palettes, printer: None, failure: None, scratch: String::new() }
    }

    /// Line editing, where both ends are a terminal that can do it. What is shown from now on goes above the line.
    pub(super) fn edit(&mut self) -> Option<Editor> {
        if !is_for_editing() {
            return None;
        }
        let config = Config::builder().auto_add_history(true).build();
        let history = MemHistory::with_config(&config);
        let mut editor = rustyline::Editor::with_history(config, history).ok()?;
        // It fails where the terminal is a dumb one: lines are then read as from a pipe.
        self.printer = Some(Box::new(editor.create_external_printer().ok()?));
        Some(Editor { editor })
    }

    /// Waits until all that was shown is on the terminal, while lines are edited there.
    pub(super) fn settle(&mut self) {
        // There is room for one that waits to be drawn: when a second one has found room, the first one was taken, and
        // is drawn before anything else is looked at. The second one is a line up and down again, and may get lost.
        if let Some(printer) = &mut self.printer {
            let _ = printer.print("\x1b[A\n".to_owned());
        }
    }

    /// Line editing is over: what is shown from now on is written as it is.
    pub(super) fn end_editing(&mut self) {
        self.printer = None;
    }

    /// Whether lines are edited, by a person.
    pub(super) fn is_dialogue(&self) -> bool {
        self.printer.is_some()
    }

    /// Why nothing is shown any more.
    pub(super) fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    pub(super) fn opened(&mut self, url: &str, protocol: &str, extensions: &str) {
        match self.shows {
            Shows::Json => {
                let fields = [("url", url), ("protocol", protocol), ("extensions", extensions)];
                self.object("open", &fields, "");
            }
            Shows::Payloads => {}
            Shows::Terminal => {
                let mut line = format!("connected to {url}");
                for (name, value) in [("subprotocol", protocol), ("extensions", extensions)] {
                    if !value.is_empty() {
                        let _ = write!(line, "; {name}: {value}");
                    }
                }
                if is_for_editing() {
                    line.push_str("; Ctrl-D closes");
                }
                self.note(&line);
            }
        }
    }

    pub(super) fn message(&mut self, message: Message<'_>) {
        match (self.shows, message) {
            (Shows::Payloads, Message::Text(text)) => {
                let mut line = std::mem::take(&mut self.scratch);
                line.push_str(text);
                line.push('\n');
                self.show(line);
            }
            (Shows::Payloads, Message::Binary(bytes)) => self.write(bytes),
            (Shows::Terminal, message) => self.message_to_a_person(message),
            (Shows::Json, message) => {
                let mut data = String::new();
                let kind = match message {
                    Message::Text(text) => {
                        text::put_json_string(text, &mut data);
                        "text"
                    }
                    Message::Binary(bytes) => {
                        text::put_json_base64(bytes, &mut data);
                        "binary"
                    }
                };
                self.object("message", &[("type", kind)], &format!(",\"data\":{data}"));
            }
        }
    }

    fn message_to_a_person(&mut self, message: Message<'_>) {
        let mut out = std::mem::take(&mut self.scratch);
        let Palette { incoming, plain, .. } = self.palettes[0];
        let _ = write!(out, "{incoming}<{plain} ");
        match message {
            Message::Text(text) => {
                text::put_escaped(text, &format!("\n{INDENT}"), &mut out);
                out.push('\n');
            }
            Message::Binary(bytes) => {
                let shown = &bytes[..bytes.len().min(DUMP_BYTES_MAX)];
                let _ = writeln!(out, "binary, {} bytes", bytes.len());
                text::put_hex_dump(shown, INDENT, &mut out);
                if shown.len() < bytes.len() {
                    let _ = writeln!(out, "{INDENT}and {} more", bytes.len() - shown.len());
                }
            }
        }
        self.show(out);
    }

    /// A Pong came, so long after its Ping.
    pub(super) fn ponged(&mut self, ms: f64) {
        match self.shows {
            Shows::Json => self.object("pong", &[], &format!(",\"ms\":{ms:.3}")),
            _ => self.note(&format!("pong after {ms:.3} ms")),
        }
    }

    pub(super) fn closed(&mut self, code: u16, reason: &str, was_clean: bool, why: &str) {
        if self.shows == Shows::Json {
            let rest = format!(",\"code\":{code},\"wasClean\":{was_clean}");
            self.object("close", &[("reason", reason)], &rest);
        }
        // A program that reads stdout has the exit code; a person, or whoever reads stderr, is told.
        if self.shows == Shows::Terminal || !was_clean || code > 1001 && code != 1005 {
            let reason = if reason.is_empty() { String::new() } else { format!(" {reason:?}") };
            self.note(&format!("closed with {code}{reason}: {why}"));
        }
    }

    /// What went wrong. It is said on stderr too where stdout has it as JSON.
    pub(super) fn error(&mut self, text: &str) {
        if self.shows == Shows::Json {
            self.object("error", &[("message", text)], "");
        }
        self.say(|palette| palette.error, "sockeye:", text);
    }

    /// A remark.
    pub(super) fn note(&mut self, text: &str) {
        self.say(|palette| palette.remark, "sockeye:", text);
    }

    /// A head of HTTP, line by line.
    pub(super) fn head(&mut self, mark: &str, head: &str) {
        head.lines().for_each(|line| self.say(|palette| palette.remark, mark, line));
    }

    /// A line on stderr, or above the one being typed. That nobody reads it is no reason to stop.
    fn say(&mut self, colour: fn(&Palette) -> &'static str, mark: &str, text: &str) {
        let palette = self.palettes[usize::from(self.printer.is_none())];
        let line = format!("{}{mark} {}{}\n", colour(&palette), text::escaped(text), palette.plain);
        match &mut self.printer {
            Some(printer) => drop(printer.print(line)),
            None => drop(io::stderr().write_all(line.as_bytes())),
        }
    }

    /// One event as a JSON object: strings, and what else there is.
    fn object(&mut self, event: &str, strings: &[(&str, &str)], rest: &str) {
        let mut out = std::mem::take(&mut self.scratch);
        let _ = write!(out, "{{\"event\":\"{event}\"");
        for (name, value) in strings {
            let _ = write!(out, ",\"{name}\":");
            text::put_json_string(value, &mut out);
        }
        out.push_str(rest);
        out.push_str("}\n");
        self.show(out);
    }

    /// Shows whole lines, and keeps the buffer for the next ones.
    fn show(&mut self, mut lines: String) {
        match &mut self.printer {
            Some(printer) => {
                let _ = printer.print(lines);
            }
            None => {
                self.write(lines.as_bytes());
                lines.clear();
                if lines.capacity() <= SCRATCH_BYTES_MAX {
                    self.scratch = lines;
                }
            }
        }
    }

    /// Writes to stdout, at once: who reads it sees each message when it comes.
    fn write(&mut self, bytes: &[u8]) {
        if self.failure.is_none() {
            let mut stdout = io::stdout().lock();
            self.failure = stdout.write_all(bytes).and_then(|()| stdout.flush()).err();
        }
    }
}

fn is_for_editing() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A line's buffer is kept up to this size.
const SCRATCH_BYTES_MAX: usize = 1 << 20;

/// Line editing and history, on a terminal.
pub(super) struct Editor {
    editor: rustyline::Editor<(), MemHistory>,
}

impl Editor {
    /// The next line; a signal ends it too.
    pub(super) fn line(&mut self) -> rustyline::Result<String> {
        self.editor.readline("> ")
    }
}

/// What switches colours on and off; nothing where there are none.
#[derive(Clone, Copy, Debug)]
struct Palette {
    incoming: &'static str,
    remark: &'static str,
    error: &'static str,
    plain: &'static str,
}

impl Palette {
    const NONE: Palette = Palette { incoming: "", remark: "", error: "", plain: "" };
    const ANSI: Palette =
        Palette { incoming: "\x1b[36m", remark: "\x1b[2m", error: "\x1b[31m", plain: "\x1b[0m" };

    /// Of a terminal: none if it is a dumb one, or `NO_COLOR` is set to anything (no-color.org).
    fn chosen() -> Palette {
        let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        if forbidden || dumb { Palette::NONE } else { Palette::ANSI }
    }
}

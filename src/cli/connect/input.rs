//! What is typed or piped in: a thread reads it, because reading blocks, and hands it to the loop.

use super::screen::Editor;
use rustyline::error::{ReadlineError, Signal};
use signal_hook::{consts::SIGINT, low_level};
use sockeye::{OwnedMessage, Remote};
use std::{
    fmt,
    io::{self, BufRead, Read},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

/// What came in.
#[derive(Debug)]
pub(super) enum Input {
    /// To be sent.
    Message(OwnedMessage),
    /// Nothing more comes.
    End,
    /// It cannot be read, or is not what it should be, so; nothing more comes.
    Failed(String),
}

/// How a stream becomes messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// Each line is one, without its end.
    Lines,
    /// All of it is one.
    Whole,
    /// As many bytes each, and what is left.
    Bytes(usize),
}

impl FromStr for Framing {
    type Err = String;

    fn from_str(text: &str) -> Result<Framing, String> {
        match text {
            "lines" => Ok(Framing::Lines),
            "whole" => Ok(Framing::Whole),
            _ => match super::super::bytes(text)? {
                0 => Err("messages of 0 bytes would never end".to_owned()),
                bytes => Ok(Framing::Bytes(usize::try_from(bytes).unwrap_or(usize::MAX))),
            },
        }
    }
}

/// Largest message there is: the library sends none above it.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Messages that were read and wait to be sent: few, for each may be large.
const WAITING_MAX: usize = 16;
/// How often and how long the thread that edits lines is waited for at the end: it answers at once.
const LEAVE_TRIES: u32 = 25;
const LEAVE_PATIENCE: Duration = Duration::from_millis(20);

/// What comes in, from a thread that reads it.
#[derive(Debug)]
pub(super) struct Inputs {
    receiver: Receiver<Input>,
    /// Where lines are edited: tells the thread that no further one is wanted.
    over: Option<Arc<AtomicBool>>,
    /// The thread has ended.
    ended: bool,
}

impl Inputs {
    /// Reads standard input as messages. The thread waits where the loop does not take them.
    pub(super) fn of_pipe(binary: bool, framing: Framing, remote: Remote) -> io::Result<Inputs> {
        let (sender, receiver) = mpsc::sync_channel(WAITING_MAX);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut stream = Messages { source: io::stdin().lock(), binary, framing, number: 0 };
            loop {
                let input = stream.read().unwrap_or_else(Input::Failed);
                let is_last = !matches!(input, Input::Message(_));
                if sender.send(input).is_err() || is_last {
                    break;
                }
                remote.wake();
            }
            drop(sender);
            remote.wake();
        })?;
        Ok(Inputs { receiver, over: None, ended: false })
    }

    /// Edits lines on the terminal until Ctrl-D. Ctrl-C, which is a character there, is told of beside them.
    pub(super) fn of_terminal(
        mut editor: Editor,
        binary: bool,
        interrupted: Arc<AtomicBool>,
        remote: Remote,
    ) -> io::Result<Inputs> {
        // Without a bound: what is typed is little, and a thread that waits here could not show what comes.
        let (sender, receiver) = mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let inputs = Inputs { receiver, over: Some(Arc::clone(&over)), ended: false };
        thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            while !over.load(Ordering::Acquire) {
                let input = match read_line(&mut editor, binary) {
                    Typed::Input(input) => input,
                    Typed::Nothing => continue,
                    Typed::Interrupt => {
                        interrupted.store(true, Ordering::Release);
                        remote.wake();
                        continue;
                    }
                };
                let is_last = !matches!(input, Input::Message(_));
                if sender.send(input).is_err() || is_last {
                    break;
                }
                remote.wake();
            }
            // The terminal is as it was before the loop hears of the end.
            drop(editor);
            drop(sender);
            remote.wake();
        })?;
        Ok(inputs)
    }

    /// What came in next, if anything did.
    pub(super) fn next(&mut self) -> Option<Input> {
        match self.receiver.try_recv() {
            Ok(input) => {
                self.ended |= !matches!(input, Input::Message(_));
                Some(input)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.ended = true;
                Some(Input::End)
            }
        }
    }

    /// Whether a line is being edited.
    pub(super) fn is_edited(&self) -> bool {
        self.over.is_some() && !self.ended
    }

    /// Ends line editing in the middle of a line, so that the terminal is left as it was found.
    pub(super) fn leave(self) {
        let Some(over) = self.over else { return };
        over.store(true, Ordering::Release);
        for _ in 0..LEAVE_TRIES {
            // While a line is edited the signal is rustyline's, and ends it. Between two lines it is nobody's.
            let _ = low_level::raise(SIGINT);
            let deadline = Instant::now() + LEAVE_PATIENCE;
            while let Some(left) = deadline.checked_duration_since(Instant::now()) {
                match self.receiver.recv_timeout(left) {
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }
}

/// What became of a line.
enum Typed {
    Input(Input),
    Nothing,
    Interrupt,
}

/// Has the next line edited.
fn read_line(editor: &mut Editor, binary: bool) -> Typed {
    match editor.line() {
        // Enter alone is a way to make room, not a message.
        Ok(line) if line.is_empty() => Typed::Nothing,
        Ok(line) if binary => Typed::Input(Input::Message(OwnedMessage::Binary(line.into_bytes()))),
        Ok(line) => Typed::Input(Input::Message(OwnedMessage::Text(line))),
        Err(ReadlineError::Interrupted | ReadlineError::Signal(Signal::Interrupt)) => Typed::Interrupt,
        // The window has another size.
        Err(ReadlineError::Signal(_)) => Typed::Nothing,
        // What was typed is no UTF-8: it is dropped.
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => Typed::Nothing,
        Err(ReadlineError::Eof) => Typed::Input(Input::End),
        Err(error) => Typed::Input(Input::Failed(format!("cannot read the terminal: {error}"))),
    }
}

/// A stream cut into messages.
struct Messages<R> {
    source: R,
    binary: bool,
    framing: Framing,
    /// How many were read.
    number: u64,
}

impl<R: BufRead> Messages<R> {
    /// The next one, or the end, or why there is neither.
    fn read(&mut self) -> Result<Input, String> {
        let mut bytes = Vec::new();
        let more = MESSAGE_BYTES_MAX as u64 + 2; // a line's end, or what shows that it is too much
        let read = match self.framing {
            Framing::Lines => (&mut self.source).take(more).read_until(b'\n', &mut bytes),
            Framing::Whole => (&mut self.source).take(more).read_to_end(&mut bytes),
            Framing::Bytes(len) => (&mut self.source).take(len as u64).read_to_end(&mut bytes),
        };
        let len = read.map_err(|error| format!("cannot read stdin: {error}"))?;
        if len == 0 {
            return Ok(Input::End);
        }
        self.number += 1;
        if self.framing == Framing::Lines && bytes.last() == Some(&b'\n') {
            bytes.pop();
            if !self.binary && bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(format!("{self} has more than 1 GiB, and no message can"));
        }
        if self.binary {
            return Ok(Input::Message(OwnedMessage::Binary(bytes)));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Input::Message(OwnedMessage::Text(text))),
            Err(_) => Err(format!("{self} is not UTF-8: --binary sends any bytes")),
        }
    }
}

/// What was just read, for people.
impl<R> fmt::Display for Messages<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.framing {
            Framing::Lines => write!(f, "line {} of stdin", self.number),
            Framing::Whole => f.write_str("stdin"),
            Framing::Bytes(_) => write!(f, "message {} of stdin", self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &[u8], binary: bool, framing: Framing) -> Vec<String> {
        let mut stream = Messages { source, binary, framing, number: 0 };
        let mut found = Vec::new();
        loop {
            match stream.read() {
                Ok(Input::Message(OwnedMessage::Text(text))) => found.push(format!("text {text:?}")),
                Ok(Input::Message(OwnedMessage::Binary(bytes))) => found.push(format!("{bytes:?}")),
                Ok(_) => return found,
                Err(error) => return [found, vec![error]].concat(),
            }
        }
    }

    #[test]
    fn each_line_is_a_message_the_last_one_also_without_an_end() {
        let lines = read(b"one\n\r\n\ntwo\r\nthree", false, Framing::Lines);
        assert_eq!(lines, [r#"text "one""#, r#"text """#, r#"text """#, r#"text "two""#, r#"text "three""#]);
        assert_eq!(read(b"", false, Framing::Lines), [""; 0]);
        assert_eq!(read(b"a\r\n", true, Framing::Lines), ["[97, 13]"], "bytes are left as they are");
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named() {
        let lines = read(b"one\ntw\xff\n", false, Framing::Lines);
        assert_eq!(lines[1], "line 2 of stdin is not UTF-8: --binary sends any bytes");
    }

    #[test]
    fn the_whole_is_one_message_and_nothing_is_none() {
        assert_eq!(read(b"a\n\nb\n", false, Framing::Whole), [r#"text "a\n\nb\n""#]);
        assert_eq!(read(b"", true, Framing::Whole), [""; 0]);
    }

    #[test]
    fn messages_of_so_many_bytes_leave_a_shorter_last_one() {
        assert_eq!(read(b"12345", true, Framing::Bytes(2)), ["[49, 50]", "[51, 52]", "[53]"]);
        assert_eq!(read(b"12", true, Framing::Bytes(2)), ["[49, 50]"]);
    }

    #[test]
    fn framings_have_names() {
        assert_eq!("lines".parse(), Ok(Framing::Lines));
        assert_eq!("whole".parse(), Ok(Framing::Whole));
        assert_eq!("64KiB".parse(), Ok(Framing::Bytes(65_536)));
        for text in ["", "0", "words"] {
            assert!(text.parse::<Framing>().is_err(), "{text}");
        }
    }
}

//! A stream played to tungstenite, and what is to be the same there.

use crate::{Delivered, End, frames, play_connection};
use sockeye::{CloseCode, Config, Fault, Role};
use std::io::{self, Cursor, Read, Write};
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{Role as TheirRole, WebSocketConfig},
};

/// How the stream ended there.
#[derive(Debug)]
pub enum TheirEnd {
    /// It waits for more.
    Pending,
    /// The peer's Close.
    Close(Option<u16>),
    /// It gave up.
    Error(Error),
}

/// Reads all of `stream`, then waits.
struct Wire<'a>(Cursor<&'a [u8]>);

impl Read for Wire<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.0.read(space)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays `stream`, which follows a handshake.
pub fn play(role: Role, config: &Config, stream: &[u8]) -> (Vec<Delivered>, TheirEnd) {
    let limit = config.limits.message_bytes_max as usize;
    let settings = WebSocketConfig::default()
        .read_buffer_size(4_096)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let mut socket = WebSocket::from_raw_socket(Wire(Cursor::new(stream)), role, Some(settings));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => messages.push(Delivered::Text(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => messages.push(Delivered::Binary(bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                return (messages, TheirEnd::Close(frame.map(|frame| frame.code.into())));
            }
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (messages, TheirEnd::Pending);
            }
            Err(error) => return (messages, TheirEnd::Error(error)),
        }
    }
}

/// Both deliver the same messages up to the first end, and see the same kind of end, but for what is listed here.
///
/// # Panics
/// When that is not so.
pub fn compare(role: Role, config: &Config, stream: &[u8], ours: &play_connection::Played) {
    let (messages, end) = play(role, config, stream);
    match (&ours.end, &end) {
        // Known difference 1. tungstenite reads lengths that are not in their shortest form, which §5.2 has us
        // refuse. 2. It has no limit on fragments. It goes on where we stop, to whatever end.
        (End::Fault(Fault::LengthNotMinimal { .. } | Fault::TooManyFragments { .. }), _) => {
            assert!(messages.starts_with(&ours.messages), "{:?} {messages:?}", ours.messages);
            return;
        }
        // 1 again, in a control frame, where a length of more than seven bits is never right.
        (End::Fault(Fault::ControlTooLong { .. }), _) if has_long_form_control(stream) => {
            assert!(messages.starts_with(&ours.messages), "{:?} {messages:?}", ours.messages);
            return;
        }
        // 3. It answers a Close with a code that must not be sent, instead of failing the connection, with 1002;
        // if the reason is no UTF-8 either, it gives up.
        (End::Fault(Fault::CloseCodeInvalid { .. }), TheirEnd::Close(Some(1002)) | TheirEnd::Error(_)) => {}
        (End::Close(code, _), TheirEnd::Close(theirs)) => {
            // 4. It does not know 1014, which IANA has registered since.
            let known = code.filter(|&code| code != CloseCode::new(1014));
            let known = known.or(code.map(|_| CloseCode::PROTOCOL));
            assert_eq!(known.map(CloseCode::get), *theirs);
        }
        (End::Pending, TheirEnd::Pending) | (End::Fault(_), TheirEnd::Error(_)) => {}
        // 5. We judge a header at its first two bytes and text at each byte, tungstenite a frame once it is whole.
        // Without the frame that is not, we have nothing to refuse either.
        (End::Fault(fault), TheirEnd::Pending) => {
            let whole = &stream[..frames::whole_bytes(stream)];
            let earlier = play_connection::play(role, config, whole, None);
            assert_eq!(earlier.end, End::Pending, "{fault:?} in a whole frame, which tungstenite lets pass");
        }
        (ours, theirs) => panic!("ours: {ours:?}, tungstenite: {theirs:?}"),
    }
    assert_eq!(ours.messages, messages);
}

/// Whether the first control frame with a length in a longer form has no need of it.
fn has_long_form_control(mut stream: &[u8]) -> bool {
    while let Some((frame, len)) = frames::first_frame(stream) {
        if frame.first & 8 != 0 && stream[1] & 0x7f > 125 {
            return frame.payload.len() <= 125;
        }
        stream = &stream[len..];
    }
    false
}

//! One TLS session, either end, over buffers that are not its own: what it is given to read lies in the loop's, and so
//! does what it makes. It holds keys and what is left of the handshake, and no byte of the stream.

use rustls::{
    Error,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{
        ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
    },
};
use std::fmt;

/// What all TLS connections of a loop work in: nothing stays in it from one call to the next.
#[derive(Debug, Default)]
pub(in crate::net) struct Room {
    /// What comes, in records.
    pub(super) incoming: Vec<u8>,
    /// What goes, in records.
    pub(super) outgoing: Outgoing,
    /// What is to go as one record and lies in two places.
    pub(super) joined: Vec<u8>,
}

/// Records to be written, in order.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// As long as it ever had to be: growing it is the only time that it is filled with zeros.
    bytes: Vec<u8>,
    len: usize,
}

impl Outgoing {
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    fn space(&mut self, bytes: usize) -> &mut [u8] {
        if self.bytes.len() < self.len + bytes {
            self.bytes.resize(self.len + bytes, 0);
        }
        &mut self.bytes[self.len..]
    }

    /// What `put` writes into the space it is given, which is enlarged to what it says it needs.
    fn add<E>(
        &mut self,
        mut bytes: usize,
        needed: impl Fn(&E) -> Option<usize>,
        mut put: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        loop {
            match put(self.space(bytes)) {
                Ok(written) => {
                    self.len += written;
                    return Ok(());
                }
                Err(error) => match needed(&error) {
                    Some(more) if more > bytes => bytes = more,
                    _ => return Err(error),
                },
            }
        }
    }
}

/// Where what was said goes: the first place, and when that is full the second.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    pub(super) first: &'a mut [u8],
    pub(super) second: &'a mut [u8],
    pub(super) len: usize,
}

impl Plain<'_> {
    /// False if there is no room for it.
    fn put(&mut self, bytes: &[u8]) -> bool {
        if self.first.len() + self.second.len() - self.len < bytes.len() {
            return false;
        }
        let in_first = self.first.len().saturating_sub(self.len).min(bytes.len());
        if in_first > 0 {
            self.first[self.len..self.len + in_first].copy_from_slice(&bytes[..in_first]);
        }
        let rest = &bytes[in_first..];
        if !rest.is_empty() {
            let at = self.len + in_first - self.first.len();
            self.second[at..at + rest.len()].copy_from_slice(rest);
        }
        self.len += bytes.len();
        true
    }
}

/// What a session came to.
#[derive(Debug)]
pub(super) enum Step {
    /// There is more to do with what came.
    More,
    /// All was taken of what is whole. `open`: there can be written.
    Idle { open: bool },
    /// The peer says that it is the end.
    PeerEnded,
    /// The peer broke the protocol, or shows nothing that is to be trusted.
    Failed(Error),
}

/// Either end: the library has a type for each, and the same states for both.
pub(super) enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Session {
    /// One step through `incoming`; how many bytes at its front are done with.
    pub(super) fn advance(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Outgoing,
        plain: &mut Plain<'_>,
    ) -> (usize, Step) {
        match self {
            Session::Server(session) => advance(session.process_tls_records(incoming), outgoing, plain),
            Session::Client(session) => advance(session.process_tls_records(incoming), outgoing, plain),
        }
    }

    /// Puts `what` into records. `kept`: what came and was no whole record yet.
    pub(super) fn put(
        &mut self,
        what: Say<'_>,
        kept: &mut Vec<u8>,
        outgoing: &mut Outgoing,
    ) -> Result<(), Error> {
        for _ in 0..STEPS_MAX {
            let (done, put) = match self {
                Session::Server(session) => put(session.process_tls_records(kept), what, outgoing),
                Session::Client(session) => put(session.process_tls_records(kept), what, outgoing),
            };
            kept.drain(..done);
            if put? {
                return Ok(());
            }
        }
        Err(Error::General("it does not come to where it could be written".to_owned()))
    }

    /// Whether something is to be sent yet that nobody asked it for: the next step is that, and looks at nothing else.
    pub(super) fn has_to_say(&self) -> bool {
        match self {
            Session::Server(session) => session.wants_write(),
            Session::Client(session) => session.wants_write(),
        }
    }

    pub(super) fn is_server(&self) -> bool {
        matches!(self, Session::Server(_))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_server() { "Server" } else { "Client" })
    }
}

/// Answers that a session may owe before something can be written: none, or a change of keys.
const STEPS_MAX: usize = 8;

/// What there is to say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Say<'a> {
    Bytes(&'a [u8]),
    /// That it is the end, so that nobody can cut it off unseen. RFC 8446 §6.1
    End,
}

fn advance<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut Outgoing,
    plain: &mut Plain<'_>,
) -> (usize, Step) {
    let mut done = status.discard;
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Step::More,
                Some(Err(error)) => break Step::Failed(error),
                Some(Ok(record)) => {
                    done += record.discard;
                    if !plain.put(record.payload) {
                        break Step::Failed(Error::General("more came than was read".to_owned()));
                    }
                }
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let encoded = outgoing.add(
                HANDSHAKE_BYTES,
                |error| match error {
                    EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                        Some(*required_size)
                    }
                    EncodeError::AlreadyEncoded => None,
                },
                |space| data.encode(space),
            );
            encoded.map_or_else(|error| Step::Failed(Error::General(error.to_string())), |()| Step::More)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done(); // it is kept until the socket takes it
            Step::More
        }
        Ok(ConnectionState::BlockedHandshake) => Step::Idle { open: false },
        Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => Step::Idle { open: true },
        Ok(ConnectionState::PeerClosed) => Step::PeerEnded,
        // Data before the handshake is over is accepted from nobody: it could be played again.
        Ok(state) => Step::Failed(Error::General(format!("unexpected: {state:?}"))),
        Err(error) => Step::Failed(error),
    };
    (done, step)
}

/// What a flight of a handshake has room in.
const HANDSHAKE_BYTES: usize = 4 << 10;

/// How many bytes of what was kept are done with, and false if there is something else to be done before.
fn put<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    what: Say<'_>,
    outgoing: &mut Outgoing,
) -> (usize, Result<bool, Error>) {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let written = write(&mut traffic, what, outgoing);
            (status.discard, written.map(|()| true).map_err(|error| Error::General(error.to_string())))
        }
        Ok(ConnectionState::Closed) if matches!(what, Say::End) => (status.discard, Ok(true)),
        state => {
            let nothing = &mut Plain { first: &mut [], second: &mut [], len: 0 };
            let status = UnbufferedStatus { discard: status.discard, state };
            match advance(status, outgoing, nothing) {
                (done, Step::More | Step::PeerEnded) => (done, Ok(false)),
                (done, Step::Failed(error)) => (done, Err(error)),
                (done, Step::Idle { .. }) => (done, Err(Error::HandshakeNotComplete)),
            }
        }
    }
}

fn write<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    what: Say<'_>,
    outgoing: &mut Outgoing,
) -> Result<(), EncryptError> {
    let needed = |error: &EncryptError| match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
        EncryptError::EncryptExhausted => None,
    };
    match what {
        Say::Bytes(bytes) => {
            let records = bytes.len() / RECORD_BYTES + 1;
            let size = bytes.len() + records * OVERHEAD_BYTES + HANDSHAKE_BYTES;
            outgoing.add(size, needed, |space| traffic.encrypt(bytes, space))
        }
        Say::End => outgoing.add(HANDSHAKE_BYTES, needed, |space| traffic.queue_close_notify(space)),
    }
}

/// What one record holds, at most. RFC 8446 §5.1
pub(super) const RECORD_BYTES: usize = 16 << 10;
/// What a record adds to what it holds, at most: header, explicit nonce, type, tag.
const OVERHEAD_BYTES: usize = 40;

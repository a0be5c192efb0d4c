//! A TCP stream under TLS: read and written as a plain one is, by a loop that asks for nothing else.

use super::{
    TlsClient, TlsError, TlsServer,
    session::{Outgoing, Plain, RECORD_BYTES, Room, Say, Session, Step},
};
use crate::net::socket::Read;
use mio::net::TcpStream;
use rustls::{client::UnbufferedClientConnection, pki_types::ServerName, server::UnbufferedServerConnection};
use std::{
    io::{self, Read as _, Write as _},
    mem,
    net::Shutdown,
};

/// The stream to one peer, and its session. While nothing is half read or half written it holds no buffer.
#[derive(Debug)]
pub(in crate::net) struct TlsSocket {
    pub(in crate::net) stream: TcpStream,
    session: Session,
    /// What came, and is no whole record yet.
    kept: Vec<u8>,
    /// Records that the socket did not take yet, from `at` on.
    waiting: Vec<u8>,
    at: usize,
    state: State,
    /// The next byte that is to be written is in a record that waits: see [`TlsSocket::write`].
    owed: bool,
    /// The peer's close_notify came.
    peer_ended: bool,
    /// Told with the next read: what came before it is handed out first.
    failure: Option<rustls::Error>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing came yet.
    Fresh,
    Handshake,
    Open,
    /// Our close_notify was made; TCP ends behind it. RFC 8446 §6.1
    Ending,
    /// TCP was ended, or is not to be.
    Ended,
}

impl TlsSocket {
    pub(in crate::net) fn server(stream: TcpStream, tls: &TlsServer) -> Result<TlsSocket, TlsError> {
        let session = UnbufferedServerConnection::new(tls.config());
        let session = session.map_err(|error| TlsError::Unusable(error.to_string()))?;
        Ok(TlsSocket::new(stream, Session::Server(session)))
    }

    /// Whoever answers is to show that it is `host`, a name or an IP address.
    pub(in crate::net) fn client(
        stream: TcpStream,
        tls: &TlsClient,
        host: &str,
    ) -> Result<TlsSocket, TlsError> {
        let name = ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned());
        let name =
            name.map_err(|_| TlsError::Unusable(format!("no certificate can be for the name {host:?}")))?;
        let session = UnbufferedClientConnection::new(tls.config(), name);
        let session = session.map_err(|error| TlsError::Unusable(error.to_string()))?;
        Ok(TlsSocket::new(stream, Session::Client(session)))
    }

    fn new(stream: TcpStream, session: Session) -> TlsSocket {
        TlsSocket {
            stream,
            session,
            kept: Vec::new(),
            waiting: Vec::new(),
            at: 0,
            state: State::Fresh,
            owed: false,
            peer_ended: false,
            failure: None,
        }
    }

    // ------------------------------------------------------------------ in

    /// Reads as much as there is room for, and takes it apart: nothing that is whole stays behind, for no event would
    /// say so. `room`, all of `first` and `second`, is more than [`READ_BYTES_MIN`].
    ///
    /// # Errors
    /// `InvalidData`: the peer broke the protocol, or is not to be trusted. `UnexpectedEof`: it ended TCP and not TLS.
    /// `Unsupported`: it speaks plain HTTP.
    pub(in crate::net) fn read(
        &mut self,
        room: &mut Room,
        first: &mut [u8],
        second: &mut [u8],
    ) -> io::Result<Read> {
        if let Some(failure) = self.failure.take() {
            return Err(invalid(failure));
        }
        if self.peer_ended {
            return Ok(Read { bytes: 0, is_end: true, has_more: false, is_writable: false });
        }
        // What is said is never longer than the records that say it.
        let (before, most) = (self.kept.len(), first.len() + second.len());
        debug_assert!(most >= READ_BYTES_MIN && before < most);
        if room.incoming.len() < most {
            room.incoming.resize(most, 0);
        }
        let n = self.stream.read(&mut room.incoming[before..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        room.incoming[..before].copy_from_slice(&self.kept);
        if self.state == State::Fresh {
            // A record's type is a small number, a method's name is not: RFC 8446 §5.1, RFC 9110 §9
            if self.session.is_server() && room.incoming[0].is_ascii_uppercase() {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.state = State::Handshake;
        }
        let mut plain = Plain { first, second, len: 0 };
        let was_open = self.state != State::Handshake;
        self.take(before + n, room, &mut plain);
        // What it cannot be told any more it need not be: the next read says what happened to it.
        let _ = self.send(room);
        if plain.len == 0
            && let Some(failure) = self.failure.take()
        {
            return Err(invalid(failure));
        }
        Ok(Read {
            bytes: plain.len,
            is_end: plain.len == 0 && self.peer_ended,
            has_more: before + n == most || self.peer_ended || self.failure.is_some(),
            is_writable: !was_open && self.state == State::Open,
        })
    }

    /// Takes the first `len` bytes of what came apart, and keeps what is no whole record.
    fn take(&mut self, len: usize, room: &mut Room, plain: &mut Plain<'_>) {
        let Room { incoming, outgoing, .. } = room;
        let (mut at, mut failed) = (0, None);
        outgoing.clear();
        loop {
            let (done, step) = self.session.advance(&mut incoming[at..len], outgoing, plain);
            at += done;
            match step {
                Step::More => {}
                Step::PeerEnded => self.peer_ended = true,
                Step::Idle { open } => {
                    if open && self.state == State::Handshake {
                        self.state = State::Open;
                    }
                    break;
                }
                Step::Failed(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if failed.is_none() && len - at > KEPT_BYTES_MAX {
            failed = Some(rustls::Error::General("a message of the handshake is too large".to_owned()));
        }
        if let Some(error) = failed {
            self.fail(error, &mut incoming[at..len], outgoing);
        } else if at == len {
            self.kept = Vec::new();
        } else {
            self.kept.clear();
            self.kept.extend_from_slice(&incoming[at..len]);
        }
    }

    /// It is over: a read says so, behind what came before. Why is put into an alert. RFC 8446 §6.2
    #[cold]
    fn fail(&mut self, error: rustls::Error, incoming: &mut [u8], outgoing: &mut Outgoing) {
        let nothing = &mut Plain { first: &mut [], second: &mut [], len: 0 };
        // Another look at what came would be one too many.
        while self.session.has_to_say() {
            let _ = self.session.advance(incoming, outgoing, nothing);
        }
        (self.failure, self.kept, self.state) = (Some(error), Vec::new(), State::Ended);
    }

    // ------------------------------------------------------------------ out

    /// Begins the handshake, as the one who dialled.
    pub(in crate::net) fn greet(&mut self, room: &mut Room) {
        self.take(0, room, &mut Plain { first: &mut [], second: &mut [], len: 0 });
        let _ = self.send(room); // a read says why
    }

    /// Writes as much as the socket takes. What it says was written goes out in order, if anything does.
    ///
    /// What is in a record is said, and can be neither taken back nor said again. So of what is in records that wait, all
    /// counts as written but one last byte: as long as it does not, the engine knows that something waits, does not end
    /// TCP, and does not give up the frame that it is in.
    pub(in crate::net) fn write(
        &mut self,
        room: &mut Room,
        first: &[u8],
        second: &[u8],
    ) -> io::Result<usize> {
        match self.state {
            State::Open => {}
            // A read says why.
            State::Ending | State::Ended => return Err(io::ErrorKind::BrokenPipe.into()),
            // A refusal, to whom nothing can be said yet.
            _ if self.session.is_server() => return Err(io::ErrorKind::NotConnected.into()),
            State::Fresh | State::Handshake => return Err(io::ErrorKind::WouldBlock.into()),
        }
        if !self.flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = usize::from(mem::take(&mut self.owed));
        let all = first.len() + second.len();
        while taken < all {
            let Room { outgoing, joined, .. } = room;
            let chunk = chunk(first, second, taken, joined);
            outgoing.clear();
            if let Err(error) = self.session.put(Say::Bytes(chunk), &mut self.kept, outgoing) {
                // As much was said as may be under one key of TLS 1.2, for one. RFC 8446 §5.5
                self.fail(error.clone(), &mut [], outgoing);
                let _ = self.send(room);
                return Err(invalid(error));
            }
            taken += chunk.len();
            if !self.send(room)? {
                self.owed = true;
                return Ok(taken - 1);
            }
        }
        Ok(taken)
    }

    /// The socket takes bytes again: what waits goes first. False if some of it still does.
    pub(in crate::net) fn flush(&mut self) -> io::Result<bool> {
        while self.at < self.waiting.len() {
            match self.stream.write(&self.waiting[self.at..]) {
                Ok(n) => self.at += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.at > 0 {
            (self.waiting, self.at) = (Vec::new(), 0);
        }
        if self.state == State::Ending {
            self.state = State::Ended;
            let _ = self.stream.shutdown(Shutdown::Write); // gone is as good
        }
        Ok(true)
    }

    /// Writes the records in `room` behind those that wait, and keeps what the socket does not take. False if some does
    /// wait.
    fn send(&mut self, room: &Room) -> io::Result<bool> {
        let mut records = room.outgoing.filled();
        while self.waiting.is_empty() && !records.is_empty() {
            match self.stream.write(records) {
                Ok(n) => records = &records[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.waiting.extend_from_slice(records);
        Ok(self.waiting.is_empty())
    }

    /// Says that nothing more comes, and ends TCP behind it.
    pub(in crate::net) fn shutdown_write(&mut self, room: &mut Room) {
        if self.state == State::Open {
            room.outgoing.clear();
            // One that cannot be told is ended all the same.
            let _ = self.session.put(Say::End, &mut self.kept, &mut room.outgoing);
            let _ = self.send(room);
            self.state = State::Ending;
        }
        if self.state == State::Ending {
            let _ = self.flush();
        } else {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    /// Says that nothing more comes, if all was said that was to be, before the socket is dropped.
    pub(in crate::net) fn end(&mut self, room: &mut Room) {
        if self.state == State::Ended {
            // What came and was not read would make of the end a reset, which may overtake the alert that says why.
            let _ = self.stream.shutdown(Shutdown::Write);
            let _ = self.stream.read(&mut room.incoming);
        }
        if self.state == State::Open && self.waiting.is_empty() && self.failure.is_none() {
            self.shutdown_write(room);
        }
    }
}

/// What is to be written next, at most [`WRITE_BYTES_MAX`], in one piece.
fn chunk<'a>(first: &'a [u8], second: &'a [u8], at: usize, joined: &'a mut Vec<u8>) -> &'a [u8] {
    let some = |slice: &'a [u8], at: usize| {
        let rest = slice.get(at..).unwrap_or_default();
        &rest[..rest.len().min(WRITE_BYTES_MAX)]
    };
    let (head, tail) = (some(first, at), some(second, at.saturating_sub(first.len())));
    if head.is_empty() {
        return tail;
    }
    if tail.is_empty() || head.len() == WRITE_BYTES_MAX {
        return head;
    }
    joined.clear();
    joined.extend_from_slice(head);
    joined.extend_from_slice(&tail[..tail.len().min(WRITE_BYTES_MAX - head.len())]);
    joined
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Bytes put into records at a time, and so the most that waits for a socket that takes nothing, for each connection. One
/// record more than 64 KiB, so that a message of that size and its header are one write.
const WRITE_BYTES_MAX: usize = 5 * RECORD_BYTES;

/// Bytes that may wait to become a whole record, or a whole message of the handshake: a chain of certificates.
const KEPT_BYTES_MAX: usize = 24 << 10;

/// Room that a read needs, at least: for what waited, and as much again.
pub(in crate::net) const READ_BYTES_MIN: usize = 2 * KEPT_BYTES_MAX;

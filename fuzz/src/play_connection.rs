//! A stream played to a `Connection` alone, in either role, as someone with their own loop would.

use crate::{Delivered, End, REQUEST, chop::Chop, entropy};
use sockeye::{
    ClientRequest, Commons, Config, Connection, ConnectionState, Ending, Fault, Input, Now, Request, Role,
    Step, Upgrade,
    wire::{extension::DeflateParameters, handshake},
};

/// What came of a stream.
#[derive(Debug, Eq, PartialEq)]
pub struct Played {
    /// Messages, in order.
    pub messages: Vec<Delivered>,
    /// Payloads of Pongs.
    pub pongs: Vec<Vec<u8>>,
    /// How it ended.
    pub end: End,
    /// What was written after the handshake: each message sent back, each Ping and a Close answered.
    pub out: Vec<u8>,
}

/// A connection that has its opening handshake behind it.
pub struct Opened {
    connection: Connection,
    commons: Commons,
    /// As large as the largest piece so far.
    input: Input,
    input_bytes: usize,
    played: Played,
}

impl Opened {
    /// Opens one that does not compress.
    pub fn new(role: Role, config: &Config) -> Opened {
        Opened::agreed(role, config, None)
    }

    /// Opens one to which the peer offers, or answers, these parameters of permessage-deflate.
    pub fn agreed(role: Role, config: &Config, deflate: Option<&DeflateParameters>) -> Opened {
        let mut commons = Commons::new(config, entropy);
        let (now, mut out) = (Now::default(), Vec::new());
        let connection = match role {
            Role::Server => Connection::server(now, &mut commons),
            Role::Client => {
                let request = ClientRequest { target: "/".into(), host: "a".into(), ..Default::default() };
                Connection::client(now, request, &mut commons, &mut out)
            }
        };
        let mut head = REQUEST.to_vec();
        if let Some(deflate) = deflate {
            head.truncate(REQUEST.len() - 2);
            head.extend_from_slice(b"Sec-WebSocket-Extensions: ");
            deflate.put_offer(&mut head);
            head.extend_from_slice(b"\r\n\r\n");
        }
        if role == Role::Client {
            let accept = Request::parse(&out, 100).expect("our own request is valid").accept_key();
            head.clear();
            handshake::put_response(accept, None, deflate, &[], &mut head);
        }
        let played = Played { messages: Vec::new(), pongs: Vec::new(), end: End::Pending, out: Vec::new() };
        let mut opened = Opened { connection, commons, input: Input::new(0), input_bytes: 0, played };
        opened.read(&head, false);
        assert_eq!(opened.connection.state(), ConnectionState::Open);
        opened.played.out.clear();
        opened
    }

    /// Hands over one piece, the payload of a large frame straight to where it is assembled if `direct`.
    pub fn read(&mut self, piece: &[u8], direct: bool) {
        let now = Now::default();
        let mut rest = piece;
        if direct && let Some(space) = self.connection.space(&mut self.commons) {
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            if let Err(fault) = self.connection.fill(now, n) {
                self.fail(fault);
            }
        }
        if self.input_bytes < rest.len() {
            (self.input, self.input_bytes) = (Input::new(rest.len()), rest.len());
        }
        self.input.space()[..rest.len()].copy_from_slice(rest);
        self.input.fill(rest.len());
        while self.step() {}
        assert!(self.input.unread().is_empty(), "bytes were left");
    }

    fn step(&mut self) -> bool {
        let (now, input, out) = (Now::default(), &mut self.input, &mut self.played.out);
        match self.connection.receive(now, input, &mut self.commons) {
            Ok(Step::Pending) => return false,
            Ok(Step::Head(head)) => {
                let head = self.connection.head(input, head).to_vec();
                let request = Request::parse(&head, 100).expect("the request is valid");
                self.connection.accept(now, &request, &Upgrade::accept(), &mut self.commons, out);
            }
            Ok(Step::Opened(_)) => {}
            Ok(Step::Message(incoming)) => match self.connection.message(input, &incoming) {
                Ok(message) => {
                    self.played.messages.push(Delivered::of(message));
                    assert!(self.connection.send(message, &mut self.commons, out));
                }
                Err(fault) => self.fail(fault),
            },
            Ok(Step::Ping(range)) => {
                assert!(self.connection.pong(input.get(range), &mut self.commons, out));
            }
            Ok(Step::Pong(range)) => self.played.pongs.push(input.get(range).to_vec()),
            Ok(Step::Close { code, reason }) => {
                let reason = std::str::from_utf8(input.get(reason)).expect("a reason is UTF-8");
                self.played.end = End::Close(code, reason.to_owned());
                self.connection.answer_close(now, code, reason, &mut self.commons, out);
            }
            Ok(step @ (Step::HeadTooLarge | Step::Body { .. } | Step::Failed(..))) => {
                panic!("the handshake was valid: {step:?}")
            }
            Err(fault) => self.fail(fault),
        }
        true
    }

    fn fail(&mut self, fault: Fault) {
        assert_eq!(self.played.end, End::Pending, "a second end: {fault:?}");
        self.played.end = End::Fault(fault);
        self.connection.fail(Now::default(), fault, &mut self.commons, &mut self.played.out);
    }

    /// Plays `stream`: whole, or cut by `chop`.
    pub fn play(mut self, stream: &[u8], chop: Option<&mut Chop>) -> Played {
        match chop {
            None => self.read(stream, false),
            Some(chop) => {
                let mut rest = stream;
                while !rest.is_empty() {
                    let (piece, behind) = rest.split_at(chop.piece(rest.len()));
                    self.read(piece, chop.below(4) > 0);
                    rest = behind;
                }
            }
        }
        self.finish()
    }

    /// What came of it, after the peer ended TCP.
    pub fn finish(mut self) -> Played {
        let now = Now::default();
        let open = self.connection.state() == ConnectionState::Open;
        assert_eq!(open, self.played.end == End::Pending);
        self.connection.handle_eof(now);
        assert_eq!(self.connection.ending(now), Ending::Drop);
        self.played
    }
}

/// Plays `stream`: whole, or cut by `chop`.
pub fn play(role: Role, config: &Config, stream: &[u8], chop: Option<&mut Chop>) -> Played {
    Opened::new(role, config).play(stream, chop)
}

//! All 65,536 first two bytes of a frame, in both roles and four situations, against a table made from the text of
//! RFC 6455 §5 and from nothing in `src`.

mod duo;

use duo::{REQUEST, RESPONSE, entropy};
use sockeye::{
    Cause, ClientRequest, CloseCode, Closed, Commons, Config, ConnId, Connection, ConnectionState, Context,
    Engine, Fault, Handler, Input, Lost, Message, Now, PeerInfo, Request, Role, Step, Upgrade,
    wire::frame::Opcode,
};

/// What went before the two bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Situation {
    /// No message is in progress.
    Between,
    /// The first fragment of a text, "He", has come.
    Inside,
    /// We have sent a Close and the peer has not; no message is in progress.
    Closing,
    /// The same, in the middle of a message that nobody wants any more.
    ClosingInside,
}

// ------------------------------------------------------------------ the table

/// What the RFC has a receiver do with two bytes.
#[derive(Debug)]
enum Verdict {
    /// More bytes are needed: a masking key, a longer length, payload, or another fragment.
    Wait,
    /// A whole frame that has no payload.
    Frame(Whole),
    /// The connection fails for one of these faults. Where there are several, the RFC does not say which comes first.
    Fail(Vec<Fault>),
}

/// An empty frame, which needs no more bytes where there is no masking key.
#[derive(Debug, Eq, PartialEq)]
enum Whole {
    Message(&'static str, bool),
    Ping,
    Pong,
    Close,
}

fn verdict(role: Role, situation: Situation, first: u8, second: u8) -> Verdict {
    use Situation::*;
    let (fin, rsv, opcode) = (first >= 128, first / 16 % 8, first % 16);
    let (mask, len) = (second >= 128, second % 128);
    let inside = matches!(situation, Inside | ClosingInside);
    let name = match opcode {
        0 => Some(Opcode::Continuation),
        1 => Some(Opcode::Text),
        2 => Some(Opcode::Binary),
        8 => Some(Opcode::Close),
        9 => Some(Opcode::Ping),
        10 => Some(Opcode::Pong),
        _ => None,
    };
    let mut faults = Vec::new();
    // "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
    if rsv != 0 {
        faults.push(Fault::ReservedBits { bits: rsv });
    }
    // "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
    if name.is_none() {
        faults.push(Fault::ReservedOpcode { opcode });
    }
    // "The server MUST close the connection upon receiving a frame that is not masked."
    if role == Role::Server && !mask {
        faults.push(Fault::UnmaskedFrame);
    }
    // "A client MUST close a connection if it detects a masked frame."
    if role == Role::Client && mask {
        faults.push(Fault::MaskedFrame);
    }
    if let (Some(name), 8..) = (name, opcode) {
        // "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
        if len > 125 {
            faults.push(Fault::ControlTooLong { opcode: name });
        }
        if !fin {
            faults.push(Fault::FragmentedControl { opcode: name });
        }
    }
    // "A fragmented message consists of a single frame with the FIN bit clear and an opcode other than 0, followed by
    // zero or more frames with the FIN bit clear and the opcode set to 0, and terminated by a single frame with the
    // FIN bit set and an opcode of 0." "The fragments of one message MUST NOT be interleaved".
    if opcode == 0 && !inside {
        faults.push(Fault::UnexpectedContinuation);
    }
    if let (Some(name), 1 | 2, true) = (name, opcode, inside) {
        faults.push(Fault::ExpectedContinuation { opcode: name });
    }
    if !faults.is_empty() {
        return Verdict::Fail(faults);
    }
    if mask || len > 0 {
        return Verdict::Wait;
    }
    match (opcode, situation) {
        (8, _) => Verdict::Frame(Whole::Close),
        (9, _) => Verdict::Frame(Whole::Ping),
        (10, _) => Verdict::Frame(Whole::Pong),
        // §1.4, §5.5.1: after our Close messages are of no use to anyone.
        (_, Closing | ClosingInside) => Verdict::Wait,
        _ if !fin => Verdict::Wait,
        (0, _) => Verdict::Frame(Whole::Message("He", true)),
        _ => Verdict::Frame(Whole::Message("", opcode == 1)),
    }
}

// ------------------------------------------------------------------ what happens

/// Connections of one role, each brought into one situation.
struct Sweep {
    role: Role,
    situation: Situation,
    commons: Commons,
    input: Input,
    out: Vec<u8>,
}

const NOW: Now = Now { tick: sockeye::Tick::ZERO, unix_ms: 0 };

impl Sweep {
    fn connection(&mut self) -> Connection {
        self.out.clear();
        // Each connection finds the same entropy, and so the same nonce.
        self.commons = Commons::new(&Config::default(), entropy);
        let mut connection = match self.role {
            Role::Server => {
                let mut connection = Connection::server(NOW, &mut self.commons);
                let Ok(Step::Head(_)) = self.receive(&mut connection, REQUEST) else { panic!("a request") };
                let request = Request::parse(REQUEST, 100).expect("a request");
                connection.accept(NOW, &request, &Upgrade::accept(), &mut self.commons, &mut self.out);
                connection
            }
            Role::Client => {
                let request = ClientRequest::default();
                let mut connection = Connection::client(NOW, request, &mut self.commons, &mut self.out);
                let Ok(Step::Opened(_)) = self.receive(&mut connection, RESPONSE) else {
                    panic!("an answer")
                };
                connection
            }
        };
        if matches!(self.situation, Situation::Inside | Situation::ClosingInside) {
            let fragment = if self.role == Role::Server { &b"\x01\x82\0\0\0\0He"[..] } else { b"\x01\x02He" };
            let Ok(Step::Pending) = self.receive(&mut connection, fragment) else { panic!("a fragment") };
        }
        if matches!(self.situation, Situation::Closing | Situation::ClosingInside) {
            assert!(connection.close(NOW, CloseCode::NORMAL, "", &mut self.commons, &mut self.out));
        }
        self.out.clear();
        connection
    }

    fn receive(&mut self, connection: &mut Connection, bytes: &[u8]) -> Result<Step, Fault> {
        self.input.space()[..bytes.len()].copy_from_slice(bytes);
        self.input.fill(bytes.len());
        connection.receive(NOW, &mut self.input, &mut self.commons)
    }

    /// Whether the connection does with these bytes what the table says; if not, what it did.
    fn compare(&mut self, first: u8, second: u8) -> Result<(), String> {
        let mut connection = self.connection();
        let step = self.receive(&mut connection, &[first, second]);
        let done = match (&step, verdict(self.role, self.situation, first, second)) {
            (Ok(Step::Pending), Verdict::Wait) => true,
            (Err(fault), Verdict::Fail(faults)) => {
                connection.fail(NOW, *fault, &mut self.commons, &mut self.out);
                return self.compare_close(&connection, *fault, &faults);
            }
            (Ok(Step::Ping(range)), Verdict::Frame(Whole::Ping)) => range.is_empty(),
            (Ok(Step::Pong(range)), Verdict::Frame(Whole::Pong)) => range.is_empty(),
            (Ok(Step::Close { code: None, reason }), Verdict::Frame(Whole::Close)) => reason.is_empty(),
            (Ok(Step::Message(incoming)), Verdict::Frame(Whole::Message(payload, is_text))) => {
                match connection.message(&self.input, incoming) {
                    Ok(Message::Text(text)) => is_text && text == payload,
                    Ok(Message::Binary(bytes)) => !is_text && bytes == payload.as_bytes(),
                    Err(_) => false,
                }
            }
            _ => false,
        };
        let rest = self.input.unread().len();
        if done && rest == 0 && self.out.is_empty() {
            Ok(())
        } else {
            Err(format!("{step:?}, {rest} unread"))
        }
    }

    /// Every fault of a header is a protocol error, said in a Close unless ours was sent before.
    fn compare_close(&self, connection: &Connection, fault: Fault, faults: &[Fault]) -> Result<(), String> {
        let closing = matches!(self.situation, Situation::Closing | Situation::ClosingInside);
        let said = match self.role {
            _ if closing => self.out.is_empty(),
            Role::Server => self.out.starts_with(b"\x88") && self.out[2..4] == 1002_u16.to_be_bytes(),
            Role::Client => {
                let key = &self.out[2..6];
                self.out.starts_with(b"\x88")
                    && [self.out[6] ^ key[0], self.out[7] ^ key[1]] == 1002_u16.to_be_bytes()
            }
        };
        let closed = connection.state() == ConnectionState::Closed && fault.close_code().get() == 1002;
        if faults.contains(&fault) && said && closed {
            Ok(())
        } else {
            Err(format!("{fault:?}, {:x?}", self.out))
        }
    }
}

#[track_caller]
fn sweep(role: Role, situation: Situation) {
    let commons = Commons::new(&Config::default(), entropy);
    let mut sweep = Sweep { role, situation, commons, input: Input::new(4096), out: Vec::new() };
    let mut wrong = Vec::new();
    for first in 0..=255 {
        for second in 0..=255 {
            if let Err(got) = sweep.compare(first, second) {
                let wanted = verdict(role, situation, first, second);
                wrong.push(format!("{first:02x} {second:02x}: {wanted:?}, got {got}"));
            }
        }
    }
    let shown = wrong.len().min(20);
    assert!(
        wrong.is_empty(),
        "{} headers as {role:?}, {situation:?}:\n{}",
        wrong.len(),
        wrong[..shown].join("\n")
    );
}

#[test]
fn s5_2_every_header_between_messages_as_server() {
    sweep(Role::Server, Situation::Between);
}

#[test]
fn s5_2_every_header_between_messages_as_client() {
    sweep(Role::Client, Situation::Between);
}

#[test]
fn s5_4_every_header_inside_a_message_as_server() {
    sweep(Role::Server, Situation::Inside);
}

#[test]
fn s5_4_every_header_inside_a_message_as_client() {
    sweep(Role::Client, Situation::Inside);
}

#[test]
fn s7_1_every_header_after_our_close_as_server() {
    sweep(Role::Server, Situation::Closing);
}

#[test]
fn s7_1_every_header_after_our_close_as_client() {
    sweep(Role::Client, Situation::Closing);
}

#[test]
fn s7_1_every_header_after_our_close_inside_a_message_as_server() {
    sweep(Role::Server, Situation::ClosingInside);
}

#[test]
fn s7_1_every_header_after_our_close_inside_a_message_as_client() {
    sweep(Role::Client, Situation::ClosingInside);
}

// ------------------------------------------------------------------ the same through the engine

/// What a handler was told last.
#[derive(Default)]
struct Last {
    message: Option<(Vec<u8>, bool)>,
    cause: Option<Cause>,
}

impl Handler for Last {
    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, message: Message<'_>) {
        assert!(self.message.is_none(), "one frame is one message");
        self.message = Some((message.as_bytes().to_vec(), matches!(message, Message::Text(_))));
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: ConnId, closed: &Closed<'_>) {
        self.cause = Some(closed.cause);
    }
}

/// Whether the engine, which has a shorter way for common frames, does with each header and an empty masking key what
/// the table says. An empty payload makes a frame whole; a 16-bit length of 0 is too long a form.
#[track_caller]
fn sweep_engine(situation: Situation) {
    let closing = matches!(situation, Situation::Closing | Situation::ClosingInside);
    let mut engine = Engine::new(&Config::default(), Last::default(), entropy);
    let mut input = Input::new(4096);
    let mut wrong = Vec::new();
    let mut feed = |engine: &mut Engine<Last>, id, bytes: &[u8]| -> Vec<u8> {
        input.space()[..bytes.len()].copy_from_slice(bytes);
        input.fill(bytes.len());
        engine.handle_input(NOW, id, &mut input);
        let mut out = Vec::new();
        while let Some(transmit) = engine.poll_reply(id, &input) {
            out.extend_from_slice(&[transmit.first, transmit.second].concat());
            let n = transmit.first.len() + transmit.second.len();
            engine.handle_replied(NOW, id, &mut input, n);
        }
        out
    };
    for lead in 0..=u16::MAX {
        let [first, second] = lead.to_be_bytes();
        let id = engine.handle_accept(NOW, PeerInfo { address: None, listener: 0 });
        assert_eq!(feed(&mut engine, id, REQUEST), RESPONSE);
        if matches!(situation, Situation::Inside | Situation::ClosingInside) {
            feed(&mut engine, id, b"\x01\x82\0\0\0\0He");
        }
        if closing {
            engine.act(NOW, |_, cx| cx.close(id, CloseCode::NORMAL, ""));
            feed(&mut engine, id, b"");
        }
        *engine.handler_mut() = Last::default();
        let out = feed(&mut engine, id, &[first, second, 0, 0, 0, 0]);
        let Last { message, cause } = std::mem::take(engine.handler_mut());
        let right = match verdict(Role::Server, situation, first, second) {
            Verdict::Fail(faults) => {
                let said =
                    if closing { out.is_empty() } else { out.starts_with(b"\x88") && out[2..4] == [3, 234] };
                message.is_none()
                    && said
                    && matches!(cause, Some(Cause::Fault(fault)) if faults.contains(&fault))
            }
            Verdict::Wait if second == 0x80 | 126 => {
                cause == Some(Cause::Fault(Fault::LengthNotMinimal { len: 0 })) && message.is_none()
            }
            Verdict::Wait if second > 0x80 => message.is_none() && cause.is_none() && out.is_empty(),
            // Masked and empty, so whole: what the unmasked one is to a client.
            _ => match verdict(Role::Client, situation, first, 0) {
                Verdict::Frame(Whole::Message(payload, is_text)) => {
                    message == Some((payload.as_bytes().to_vec(), is_text))
                        && cause.is_none()
                        && out.is_empty()
                }
                Verdict::Frame(Whole::Ping) => {
                    let answered = out == b"\x8a\x00" || closing && out.is_empty();
                    message.is_none() && cause.is_none() && answered
                }
                Verdict::Frame(Whole::Close) => {
                    let wanted =
                        if closing { (Cause::Local, &b""[..]) } else { (Cause::Peer, &b"\x88\x00"[..]) };
                    message.is_none() && cause == Some(wanted.0) && out == wanted.1
                }
                _ => message.is_none() && cause.is_none() && out.is_empty(),
            },
        };
        if !right {
            wrong.push(format!("{first:02x} {second:02x}: {message:?}, {cause:?}, {out:x?}"));
        }
        engine.handle_lost(NOW, id, Lost::Eof);
        while engine.poll_command().is_some() {}
    }
    let shown = wrong.len().min(20);
    assert!(wrong.is_empty(), "{} headers, {situation:?}:\n{}", wrong.len(), wrong[..shown].join("\n"));
}

#[test]
fn s5_2_every_header_between_messages_through_the_engine() {
    sweep_engine(Situation::Between);
}

#[test]
fn s5_4_every_header_inside_a_message_through_the_engine() {
    sweep_engine(Situation::Inside);
}

#[test]
fn s7_1_every_header_after_our_close_through_the_engine() {
    sweep_engine(Situation::Closing);
    sweep_engine(Situation::ClosingInside);
}

#[test]
fn the_table_accepts_as_many_headers_as_the_rfc_leaves() {
    // By hand: of the 65,536, a right mask bit leaves 128 second bytes. Between messages text and binary with either
    // FIN take all of them, 2 * 2 * 128; the three control opcodes with FIN take 126, 3 * 126. Inside a message the
    // continuation with either FIN, 2 * 128, and the same control frames.
    for role in [Role::Server, Role::Client] {
        for (situation, wanted) in [(Situation::Between, 512 + 378), (Situation::Inside, 256 + 378)] {
            let accepted = (0..=u16::MAX).filter(|lead| {
                let [first, second] = lead.to_be_bytes();
                !matches!(verdict(role, situation, first, second), Verdict::Fail(_))
            });
            assert_eq!(accepted.count(), wanted);
        }
    }
}

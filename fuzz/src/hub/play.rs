//! A script, played: each step is something that one connection does, or the time; after it each connection has been
//! sent what the model says.

use super::{
    ACTIONS_MAX, ADMIN,
    channels::{Ask, CHANNELS, VISIBILITIES},
    model::{Hear, KINDS, Member, Model, Post},
    script::{Bytes, Speaks, WAYS, Way},
    told::assert_told,
    world::{World, frame},
};
use crate::{Delivered, json::bounds};
use sockeye::{Lost, Message, dialect::Dialect, hub::Place};

const STEPS_MAX: usize = 300;
const CONNECTIONS_MAX: usize = 24;
const GROUPS: [&str; 3] = ["", "g0", "g1"];
const NAMES: [&str; 4] = ["", "u0", "u1", "u2"];

/// Plays a script to its end, and ends everything.
///
/// # Panics
/// When the hub does anything else than the model.
pub fn play(data: &[u8]) {
    let mut bytes = Bytes(data);
    let keeps = bytes.byte() & 1 == 0;
    let mut game = Game { world: World::new(keeps), model: Model::default(), bytes, said: 0 };
    for _ in 0..STEPS_MAX {
        if game.bytes.0.is_empty() {
            break;
        }
        game.step();
        game.check();
    }
    game.end();
}

struct Game<'a> {
    world: World,
    model: Model,
    bytes: Bytes<'a>,
    /// Messages so far: no two are alike.
    said: u64,
}

impl Game<'_> {
    fn step(&mut self) {
        match self.bytes.byte() % 16 {
            0 | 1 => self.connect(),
            2..=5 => self.actions(false),
            6 => self.actions(true),
            7 | 8 => self.posts(),
            9 | 10 => self.chat(),
            11 => self.raw(),
            12 | 13 => self.leave(),
            14 => self.push(),
            _ => {
                let ms = [1, 1_000, 30_000, 61_000][self.bytes.below(4)];
                self.world.wait(ms);
            }
        }
    }

    /// Everybody was sent what was to be sent.
    fn check(&mut self) {
        let mut presence = Vec::new();
        for of in 0..self.model.members.len() {
            if !self.model.members[of].is_open {
                continue;
            }
            let heard = self.world.messages(of);
            let told = assert_told(&mut self.model, of, &heard);
            presence.extend(told.into_iter().map(|(action, channel, uuid)| (of, action, channel, uuid)));
        }
        let mut wanted: Vec<_> = std::mem::take(&mut self.model.presence)
            .into_iter()
            .map(|(of, action, channel, uuid)| (of, action.to_owned(), channel.to_owned(), uuid))
            .collect();
        presence.sort_unstable();
        wanted.sort_unstable();
        if !std::mem::take(&mut self.model.disorder) {
            assert_eq!(presence, wanted, "who is told of who comes and goes");
        }
    }

    // ------------------------------------------------------------------ coming

    fn connect(&mut self) {
        let way = self.bytes.one(&WAYS);
        let session = self.bytes.one(&["", "", "u0", "nobody"]);
        if self.model.members.len() == CONNECTIONS_MAX {
            return;
        }
        let (number, hears) = self.shake_hands(&way, session);
        let user = if session == "u0" { Some("u0") } else { way.user };
        self.model.members.push(Member {
            speaks: way.speaks,
            session,
            is_known: user.is_some(),
            user: user.filter(|_| way.speaks != Speaks::Actions).map(str::to_owned),
            group: (way.group.unwrap_or_default().to_owned(), way.group.is_some()),
            ..Member::default()
        });
        if way.speaks != Speaks::Chat {
            return self.model_hears_nothing(number, &hears);
        }
        let [Delivered::Text(first)] = &hears[..] else { panic!("the chat begins with an id: {hears:?}") };
        let id = first.strip_prefix(r#"{"type":"id","id":"#).and_then(|rest| rest.strip_suffix('}'));
        let id: u64 = id.and_then(|id| id.parse().ok()).expect("an id is a number");
        let is_new = self.model.members.iter().all(|member| member.number < id);
        assert!(is_new, "an id that was there before");
        self.model.members[number].number = id;
    }

    /// What was said before is all that somebody may hear at once.
    fn model_hears_nothing(&mut self, of: usize, hears: &[Delivered]) {
        let presence = assert_told(&mut self.model, of, hears);
        assert!(presence.is_empty());
    }

    fn shake_hands(&mut self, way: &Way, session: &str) -> (usize, Vec<Delivered>) {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
            way.target, way.host
        );
        if !way.offers.is_empty() {
            request += &format!("Sec-WebSocket-Protocol: {}\r\n", way.offers);
        }
        if !session.is_empty() {
            request += &format!("Cookie: a=b; armor_sid_user={session}\r\n");
        }
        let client = self.world.connect((request + "\r\n").as_bytes());
        let (head, _) = self.world.head(client);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let protocol = way.offers.rsplit(", ").next().filter(|name| !name.is_empty());
        let line = protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        assert!(line.is_none_or(|line| head.contains(&line)), "{head}");
        (client, self.world.messages(client))
    }

    // ------------------------------------------------------------------ saying something

    /// One who is there and speaks so, or has not decided.
    fn one(&mut self, is_it: fn(Speaks) -> bool) -> Option<usize> {
        let is_one = |of: &usize| {
            let member = &self.model.members[*of];
            member.is_open && is_it(member.speaks)
        };
        let all: Vec<usize> = (0..self.model.members.len()).filter(is_one).collect();
        let picked = self.bytes.byte();
        (!all.is_empty()).then(|| all[usize::from(picked) % all.len()])
    }

    fn text(&mut self) -> String {
        self.said += 1;
        format!("m{}<", self.said)
    }

    /// Several actions in one message. Who `drops` the connection with it is not there to be answered.
    fn actions(&mut self, drops: bool) {
        let Some(of) = self.one(|speaks| matches!(speaks, Speaks::Actions | Speaks::Auto)) else { return };
        // A first message that is binary is sent back.
        let is_binary = drops && self.model.members[of].speaks == Speaks::Actions;
        self.becomes(of, Speaks::Actions);
        let asks: Vec<Ask> = (0..=self.bytes.below(6)).map(|_| self.ask()).collect();
        let mut objects = Vec::new();
        for (id, ask) in asks.iter().enumerate() {
            if id < ACTIONS_MAX {
                objects.push(self.model.ask(of, id as u64, ask));
            } else {
                objects.push(r#"{"action":"leave_channel","channel_name":"a"}"#.to_owned());
            }
        }
        if objects.len() > ACTIONS_MAX {
            self.model.hear(of, Hear::Error);
        }
        let message = format!("[{}]", objects.join(","));
        let written = frame(match is_binary {
            true => Message::Binary(message.as_bytes()),
            false => Message::Text(&message),
        });
        self.world.write(of, &written);
        if drops {
            self.model.gone(of);
            self.world.leave(of, Lost::Eof);
        }
    }

    fn ask(&mut self) -> Ask {
        let kind = self.bytes.byte() % 20;
        let (channel, user) = (self.bytes.one(&CHANNELS), self.bytes.one(&super::USERS));
        match kind {
            0 | 1 => {
                let tokens = [Some("u0"), Some("u1"), Some("u2"), Some("nobody"), Some(ADMIN), None];
                Ask::Authenticate { token: self.bytes.one(&tokens) }
            }
            2..=5 => {
                let visibility = self.bytes.one(&VISIBILITIES);
                let how = self.bytes.byte();
                let since = (how & 2 != 0).then_some(u64::from(how >> 2) % 6);
                Ask::Join { channel, visibility, or_create: how & 1 == 0, since }
            }
            6 => Ask::Leave(channel),
            7 => Ask::Say(channel, " ".to_owned()),
            8 | 9 => Ask::Say(channel, self.text()),
            10 => Ask::Tell(user, self.text()),
            11 => Ask::Govern("invite_user", channel, user),
            12 => Ask::Govern("uninvite_user", channel, user),
            13 => Ask::Govern("kick_user", channel, user),
            14 => Ask::SetVisibility(channel, self.bytes.one(&VISIBILITIES)),
            15 => Ask::Close(channel),
            16 => Ask::Members("list_members", channel),
            17 => Ask::Members("subscribe_presence", channel),
            18 => Ask::History(channel),
            _ => {
                if user == "u0" {
                    Ask::Unknown
                } else {
                    Ask::Channels
                }
            }
        }
    }

    /// One or two messages to groups and users, in one read.
    fn posts(&mut self) {
        let Some(of) = self.one(|speaks| matches!(speaks, Speaks::Envelope | Speaks::Auto)) else { return };
        self.becomes(of, Speaks::Envelope);
        let mut read = Vec::new();
        for _ in 0..=self.bytes.below(2) {
            let post = self.a_post();
            self.model.post(of, &post);
            read.extend_from_slice(&frame(Message::Text(&post.json())));
        }
        self.world.write(of, &read);
    }

    fn a_post(&mut self) -> Post {
        let action = self.bytes.one(&["say", "join_channel", "say", "initialmessages"]);
        let (group, user) = (self.bytes.one(&GROUPS), self.bytes.one(&NAMES));
        let recipients: Vec<_> = (0..self.bytes.below(4))
            .map(|_| {
                let kind = self.bytes.one(&KINDS);
                let of = if matches!(kind, "\"group\"" | "1") { &GROUPS[..] } else { &NAMES[..] };
                (kind, self.bytes.one(of))
            })
            .collect();
        Post { action, message: self.text(), group, user, recipients }
    }

    fn chat(&mut self) {
        let Some(of) = self.one(|speaks| speaks == Speaks::Chat) else { return };
        let (kind, date) = (self.bytes.byte() % 6, self.bytes.byte());
        let Member { number, ref name, .. } = self.model.members[of];
        let name = name.clone();
        let message = match kind {
            0 | 1 => {
                let wanted = self.bytes.one(&["Bob", "Al", "Bob1"]);
                self.model.claim(of, wanted, date);
                format!(r#"{{"type":"username","name":"<b>{wanted}","id":1,"date":{date}}}"#)
            }
            2 => {
                let text = self.text();
                let heard = format!(
                    r#"{{"type":"message","text":"{text}","id":{number},"date":{date},"name":"{name}"}}"#
                );
                self.model.hear_all(Speaks::Chat, &heard);
                format!(r#"{{"type":"message","text":"<i>{text}","id":1,"date":{date}}}"#)
            }
            3 => {
                let heard = format!(r#"{{"type":"x","a":{{"b":{date}}},"name":"{name}","id":{number}}}"#);
                self.model.hear_all(Speaks::Chat, &heard);
                format!(r#"{{"type":"x","a":1,"name":"root","id":1,"a":{{"b":2,"b":{date}}}}}"#)
            }
            4 => {
                self.model.hear(of, Hear::Exactly(Delivered::Text("pong".to_owned())));
                "ping".to_owned()
            }
            _ => r#"{"type":"userlist","users":[]}"#.to_owned(),
        };
        self.world.write(of, &frame(Message::Text(&message)));
    }

    /// Bytes as they are: sent on where no JSON is looked at, else harmless.
    fn raw(&mut self) {
        let Some(of) = self.one(|_| true) else { return };
        let is_text = self.bytes.byte() & 1 == 0;
        let raw = self.bytes.raw().to_vec();
        let text = std::str::from_utf8(&raw).ok();
        let message = match text {
            Some(text) if is_text => Message::Text(text),
            _ => Message::Binary(&raw),
        };
        let speaks = match (self.model.members[of].speaks, message) {
            (Speaks::Auto, Message::Text(text)) => match Dialect::of_first_message(text) {
                Dialect::Actions => Speaks::Actions,
                Dialect::Envelope => Speaks::Envelope,
                _ => Speaks::Echo,
            },
            (Speaks::Auto, Message::Binary(_)) => Speaks::Echo,
            (speaks, _) => speaks,
        };
        let mut requests = Vec::new();
        let read = match speaks {
            Speaks::Actions => Some((Dialect::Actions, text.unwrap_or("?"))),
            Speaks::Envelope => Some((Dialect::Envelope, text.unwrap_or("?"))),
            Speaks::Chat => Some((Dialect::Chat, text.filter(|_| is_text).unwrap_or_default())),
            _ => None,
        };
        if let Some((dialect, text)) = read {
            let bounds = sockeye::dialect::Bounds { actions_max: ACTIONS_MAX as u32, ..bounds(false) };
            dialect.decode(text, &bounds, &mut requests);
        }
        if requests.iter().any(|request| request.action.is_ok() || request.id.is_some()) {
            return; // what it means is told elsewhere
        }
        self.becomes(of, speaks);
        for _ in &requests {
            self.model.hear(of, Hear::Error);
        }
        let heard = Hear::Exactly(Delivered::of(message));
        match speaks {
            Speaks::Echo => self.model.hear(of, heard),
            Speaks::Room(_) => {
                for member in self.model.all(speaks) {
                    self.model.hear(member, heard.clone());
                }
            }
            _ => {}
        }
        self.world.write(of, &frame(message));
    }

    /// A message has decided how somebody speaks.
    fn becomes(&mut self, of: usize, speaks: Speaks) {
        let member = &mut self.model.members[of];
        if member.speaks == Speaks::Auto {
            member.speaks = speaks;
            if speaks == Speaks::Actions {
                member.user = None;
            }
        }
    }

    /// A message to groups and users that comes by POST, or something that is none.
    fn push(&mut self) {
        let is_right = self.bytes.byte() & 3 != 0;
        let body = if is_right { None } else { Some([b"!", self.bytes.raw()].concat()) };
        // From a socket this action asks for what was said before; by POST it means nothing in particular.
        let action = "say";
        let post = Post { action, ..self.a_post() };
        let json = body.unwrap_or_else(|| post.json().into_bytes());
        let mut request = format!(
            "POST /x/__BroadcastSocket.php HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            json.len()
        )
        .into_bytes();
        request.extend_from_slice(&json);
        let heard = if is_right { Some(self.model.push(&post, post.user)) } else { None };
        let client = self.world.connect(&request);
        let (head, body) = self.world.head(client);
        let body = String::from_utf8(body).expect("JSON is UTF-8");
        match heard {
            Some(heard) => {
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
                assert_eq!(body, format!(r#"{{"status":"ok","delivered":{heard}}}"#));
            }
            None => assert!(head.starts_with("HTTP/1.1 400 "), "{head}{body}"),
        }
        self.world.leave(client, Lost::Eof);
        // It has a number, as all who connect, and hears nothing.
        self.model.members.push(Member { is_open: false, ..Member::default() });
    }

    // ------------------------------------------------------------------ going

    fn leave(&mut self) {
        let Some(of) = self.one(|_| true) else { return };
        let how = self.bytes.byte() % 4;
        self.model.gone(of);
        match how {
            0 => self.world.write(of, b"\x88\x80\0\0\0\0"),
            1 => self.world.leave(of, Lost::Eof),
            2 => self.world.leave(of, Lost::Io(std::io::ErrorKind::ConnectionReset)),
            _ => self.world.write(of, b"\x83\x80\0\0\0\0"), // an opcode that is none: it is failed
        }
    }

    /// All go, and nothing is left.
    fn end(mut self) {
        for of in 0..self.model.members.len() {
            if self.model.members[of].is_open {
                self.model.gone(of);
            }
            if !self.world.is_gone(of) {
                self.world.leave(of, Lost::Stopped);
            }
        }
        self.check();
        let engine = &mut self.world.engine;
        assert_eq!(
            (engine.connections(), engine.buffered_bytes()),
            (0, 0),
            "somebody, or something, is left"
        );
        assert!(engine.handler().application().book.is_empty(), "who has joined has not left");
        let channels = CHANNELS.map(Place::Channel).into_iter();
        let groups = GROUPS.map(Place::Group).into_iter();
        let rooms = ["", "r0", "r1"].map(Place::Room).into_iter();
        let places = channels.chain(groups).chain(rooms).chain([Place::Chat]);
        engine.act(self.world.now, |hub, cx| {
            hub.act(cx, |_, cx| {
                for place in places {
                    assert_eq!(cx.members(place), [], "{place:?}");
                }
            });
        });
        assert!(engine.handler().is_consistent());
    }
}

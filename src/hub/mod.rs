//! The JSON action layer: channels, groups, rooms, users and a chat for web pages, as one [`Handler`] over the engine.
//!
//! A [`Hub`] serves all listeners and five [dialects](crate::dialect). Which one a connection speaks is decided by its
//! path, its host, its subprotocol, its listener, or its first message. Plain HTTP on the same port gives a page to try
//! it all, the browser library, and a way to push messages by POST.
//!
//! A program adds actions of its own, and says who may do what, with an [`Application`].
//!
//! ```no_run
//! use sockeye::{Config, Server, hub::{Hub, Settings}};
//!
//! fn main() -> Result<(), sockeye::Error> {
//!     let config = Hub::config("127.0.0.1:4863");
//!     let hub = Hub::new(&config, Settings::default());
//!     Server::bind(config, hub)?.run()
//! }
//! ```

pub mod auth;

mod admission;
mod application;
mod channel;
mod chat;
mod core;
mod gathering;
mod group;
mod history;
mod pages;
mod pending;
mod presence;
mod push;
mod quota;
mod settings;
mod survey;
mod user;

pub use crate::dialect::action::{Person, Post, Problem, Recipient, RecipientKind};
pub use application::{Application, Caller, CustomAction, EnvelopeMessage, HubContext, Place, Reply};
pub use core::{Counters, Occupancy};
pub use pending::{Decision, Handling, Late, Ticket};
pub use settings::{Settings, Zone};
pub use survey::Participant;

use self::{
    admission::Address,
    core::Core,
    gathering::Space,
    pages::Pages,
    pending::{Owed, outcome_of},
    quota::Verdict,
};
use crate::{
    config::{Config, Limits},
    conn::{Message, Upgrade},
    dialect::{
        Dialect,
        action::{Action, Join, Notice, Request},
    },
    engine::{Answer, Closed, ConnId, Context, Handler, PeerInfo, Refused, TurnedAway},
    wire::{close::CloseCode, handshake, http_request::HttpRequest},
};
use serde_json::value::RawValue;

/// The action layer, as a handler. What it is made of is told in the [module](self).
pub struct Hub<A = ()> {
    core: Core,
    application: A,
    pages: Pages,
}

/// What became of an action.
type Outcome<'a> = Result<Done, Problem<'a>>;

/// How an action that was done is acknowledged.
#[derive(Debug)]
enum Done {
    /// As [`Settings::acks`] has it, and always where it carries an id.
    Plain,
    /// The same, with a name that was made for it.
    Named(String),
    /// With what came of it: JSON objects, separated by commas.
    Data(String),
    /// Only where it carries an id.
    Unasked,
    /// It is already, or will be.
    Answered,
    /// It is not done: it is to be done once more when the connection no longer waits for an answer.
    Held,
}

impl Hub {
    /// A configuration that listens on `address` and knows the subprotocols of the dialects, which a hub has need of.
    pub fn config(address: impl Into<String>) -> Config {
        let subprotocols =
            Dialect::all().flat_map(Dialect::subprotocols).map(|&name| name.to_owned()).collect();
        Config { subprotocols, ..Config::new(address) }
    }

    /// A hub without an application. Of `config` it takes `limits.actions`.
    pub fn new(config: &Config, settings: Settings) -> Hub {
        Hub::with(config, settings, ())
    }
}

impl<A: Application> Hub<A> {
    /// A hub with a program's part in it.
    pub fn with(config: &Config, settings: Settings, application: A) -> Hub<A> {
        let pages = Pages::new(settings.pages);
        Hub { core: Core::new(config.limits.actions, settings), application, pages }
    }

    /// The program's part.
    pub fn application(&self) -> &A {
        &self.application
    }

    /// The program's part, to change it between two turns.
    pub fn application_mut(&mut self) -> &mut A {
        &mut self.application
    }

    /// What was not done, since the start.
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// How much there is at the moment. Looks at a byte for each connection.
    pub fn occupancy(&self) -> Occupancy {
        self.core.occupancy()
    }

    /// Lets the program do between two events what it could in one of its calls.
    pub fn act<R>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut A, &mut HubContext<'_, '_>) -> R,
    ) -> R {
        let result = act(&mut self.application, &mut HubContext { core: &mut self.core, cx });
        self.catch_up(cx);
        result
    }

    /// Whether the hub's books are in order: each membership known from both sides, each name leading to what it names.
    /// For tests; it looks at everything.
    pub fn is_consistent(&self) -> bool {
        self.core.gatherings.is_consistent()
    }

    // ------------------------------------------------------------------ dialects

    /// A connection's dialect is decided, now or by its handshake.
    fn begin(&mut self, cx: &mut Context<'_>, id: ConnId, dialect: Dialect, has_written: bool) {
        self.core.started_at(cx);
        match self.core.client(id) {
            Some(_) => self.core.speaks[id.index()] = Some(dialect),
            None => {
                let client = dialect.is_json().then(|| self.core.client_for(cx));
                self.core.enter(id, Some(dialect), client);
            }
        }
        cx.set_spreading(id, dialect != Dialect::Echo);
        match dialect {
            Dialect::Envelope => self.enter_groups(cx, id, has_written),
            Dialect::Chat => {
                self.core.enter_chat(cx, id);
                self.joined(cx, id, Place::Chat);
            }
            Dialect::Room => self.enter_room(cx, id),
            Dialect::Actions | Dialect::Echo => {}
        }
    }

    fn enter_room(&mut self, cx: &mut Context<'_>, id: ConnId) {
        if self.core.is_holding(id) {
            return; // whether it may is not known yet
        }
        if let Some(name) = self.core.take_room(id) {
            self.joined(cx, id, Place::Room(&name));
        }
    }

    /// A message of all dialects but `echo`.
    #[inline(never)]
    fn receive(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        if self.core.is_holding(id) {
            self.core.hold(cx, id, message, 0, false);
        } else {
            self.handle(cx, id, message, 0);
        }
        self.catch_up(cx);
    }

    /// The same, of which so many requests are done.
    fn handle(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>, done: usize) {
        match self.core.speaks.get(id.index()).copied().flatten() {
            Some(Dialect::Echo) => {
                cx.send(id, message);
            }
            Some(Dialect::Room) => self.send_on(cx, id, message),
            Some(dialect) => self.read(cx, id, dialect, message, done),
            None => self.decide(cx, id, message),
        }
    }

    /// Sends a message to everybody in its sender's room, as it came.
    fn send_on(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        let Some(set) = self.core.gatherings.of(id, Space::Room).next() else { return };
        let name = &self.core.gatherings.get(set).name;
        if self.application.may_send(&self.core.caller(id), Place::Room(name), message) {
            cx.broadcast(self.core.gatherings.ids(set), message);
        } else {
            self.core.counters.ignored += 1;
        }
    }

    /// The first message of a connection whose dialect nothing else has said.
    #[cold]
    fn decide(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        let dialect = match message {
            Message::Text(text) => Dialect::of_first_message(text),
            Message::Binary(_) => Dialect::Echo,
        };
        log::debug!(connection:% = id, dialect:% = dialect; "dialect decided");
        self.begin(cx, id, dialect, true);
        if self.core.is_holding(id) {
            self.core.hold(cx, id, message, 0, true);
        } else {
            self.handle(cx, id, message, 0);
        }
    }

    /// A message of a dialect that is JSON, of which so many requests are done.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        dialect: Dialect,
        message: Message<'_>,
        done: usize,
    ) {
        let text = match message {
            Message::Text(text) => text,
            // What is no UTF-8 is no JSON either, and neither is this.
            Message::Binary(bytes) if dialect != Dialect::Chat => {
                simdutf8::basic::from_utf8(bytes).unwrap_or("?")
            }
            Message::Binary(_) => "",
        };
        let mut requests = Vec::new();
        dialect.decode(text, &self.core.bounds, &mut requests);
        if requests.is_empty() {
            self.core.counters.ignored += 1;
            log::debug!(connection:% = id, dialect:% = dialect; "message ignored: it could not be read");
            if self.is_allowed(cx, id) == Verdict::Flood {
                self.end_flood(cx, id);
            }
        }
        let count = requests.len();
        for (at, Request { action, id: request }) in requests.into_iter().enumerate().skip(done) {
            let outcome = match self.is_allowed(cx, id) {
                Verdict::Allowed => action.and_then(|action| self.act_on(cx, id, action, request, text)),
                Verdict::Refused { .. } => Err(self.too_fast()),
                Verdict::Flood => return self.end_flood(cx, id),
            };
            let is_done = !matches!(outcome, Ok(Done::Held));
            self.core.answer(cx, id, outcome, request);
            if self.core.is_holding(id) {
                let done = at + usize::from(is_done);
                if done < count {
                    self.core.hold(cx, id, message, done, true);
                }
                break;
            }
        }
        self.core.trim();
    }

    fn act_on<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        action: Action<'a>,
        request: Option<&RawValue>,
        text: &str,
    ) -> Outcome<'a> {
        let is_deaf = cx.is_given_up(id);
        match action {
            // An answer may cost a thousand times what its question does, and here nobody hears it.
            Action::ListChannels
            | Action::ListMembers { .. }
            | Action::SubscribePresence { .. }
            | Action::History { .. }
                if is_deaf =>
            {
                self.core.counters.ignored += 1;
                Ok(Done::Answered)
            }
            Action::Join(join) if is_deaf => self.join(cx, id, Join { resume: None, ..join }, request),
            Action::Authenticate { token } => self.authenticate(cx, id, token, request),
            Action::Join(join) => self.join(cx, id, join, request),
            Action::Leave { channel } => self.leave(cx, id, channel),
            Action::Say { channel, text } => self.say(cx, id, channel, &text, request),
            Action::Tell { uuid, text } => self.core.message_user(cx, id, uuid, &text, request),
            Action::Govern { channel, deed } => self.govern(cx, id, channel, deed),
            Action::ListChannels => self.core.list_channels(id),
            Action::ListMembers { channel } => self.core.list_members(id, channel),
            Action::SubscribePresence { channel } => self.core.subscribe_presence(id, channel),
            Action::History { channel, since, limit } => self.core.history(cx, id, channel, since, limit),
            Action::Custom { name, object } => {
                let ticket = self.core.ticket(id)?;
                self.custom(cx, id, &CustomAction::new(name, object, ticket), request)
            }
            Action::Post(post) => self.posted(cx, id, &post, text),
            Action::Claim { name, object } => {
                self.core.claim(cx, id, &name, &object);
                Ok(Done::Answered)
            }
            Action::Relay { object, text } => {
                let said = Message::Text(text.as_deref().unwrap_or_default());
                if self.application.may_send(&self.core.caller(id), Place::Chat, said) {
                    self.core.relay(cx, id, &object, text.as_deref());
                } else {
                    self.core.counters.ignored += 1;
                }
                Ok(Done::Answered)
            }
            Action::Ping => {
                self.core.tell(cx, id, &Notice::Pong, None);
                Ok(Done::Answered)
            }
        }
    }

    fn custom<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        action: &CustomAction<'_>,
        request: Option<&RawValue>,
    ) -> Outcome<'a> {
        let user = self.core.client(id).and_then(|client| client.user.clone());
        let caller = Caller { user: user.as_deref(), ..self.core.caller(id) };
        let reply = self.application.on_action(&mut HubContext { core: &mut self.core, cx }, &caller, action);
        if reply == Reply::Later {
            let request = request.map(ToOwned::to_owned);
            self.core.owe(cx, action.ticket(), Owed::Action { request });
        }
        outcome_of(reply)
    }

    // ------------------------------------------------------------------ quotas

    fn is_allowed(&mut self, cx: &Context<'_>, id: ConnId) -> Verdict {
        let rate = self.core.rate;
        let verdict = self
            .core
            .client_mut(id)
            .map_or(Verdict::Allowed, |client| client.bucket.take(cx.now().tick, rate));
        if verdict != Verdict::Allowed {
            self.core.counters.too_fast += 1;
        }
        if let Verdict::Refused { first: true } = verdict {
            log::warn!(connection:% = id; "too many actions: refused until there are fewer");
        }
        verdict
    }

    fn too_fast(&self) -> Problem<'static> {
        Problem::TooFast { per_second: self.core.rate.per_second, burst: self.core.rate.burst }
    }

    #[cold]
    fn end_flood(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.core.counters.floods += 1;
        log::warn!(connection:% = id; "closed for flooding");
        cx.close(id, CloseCode::POLICY, "too many actions (actions_per_second_max, actions_burst_max)");
    }

    // ------------------------------------------------------------------ the application's calls

    fn ask_join(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        place: Place<'_>,
        ticket: Ticket,
    ) -> Decision<bool> {
        let user = self.core.client(id).and_then(|client| client.user.clone());
        let caller = Caller { user: user.as_deref(), ..self.core.caller(id) };
        self.application.decide_join(&mut HubContext { core: &mut self.core, cx }, &caller, place, ticket)
    }

    fn joined(&mut self, cx: &mut Context<'_>, id: ConnId, place: Place<'_>) {
        let user = self.core.client(id).and_then(|client| client.user.clone());
        let caller = Caller { user: user.as_deref(), ..self.core.caller(id) };
        log::debug!(connection:% = id, place:? = place; "joined");
        self.application.on_join(&mut HubContext { core: &mut self.core, cx }, &caller, place);
    }

    fn left(&mut self, cx: &mut Context<'_>, id: ConnId, place: Place<'_>) {
        let user = self.core.client(id).and_then(|client| client.user.clone());
        let caller = Caller { user: user.as_deref(), ..self.core.caller(id) };
        log::debug!(connection:% = id, place:? = place; "left");
        self.application.on_leave(&mut HubContext { core: &mut self.core, cx }, &caller, place);
    }

    /// Takes a connection that is over out of all it is in.
    fn leave_everything(&mut self, cx: &mut Context<'_>, id: ConnId) {
        while let Some((set, _)) = self.core.gatherings.pop(id) {
            let (space, name) = {
                let gathering = self.core.gatherings.get(set);
                (gathering.space, gathering.name.clone())
            };
            self.core.gatherings.end_if_over(set);
            match space {
                Space::Channel => {
                    self.core.announce(cx, &name, set, id, "member_left");
                    self.left(cx, id, Place::Channel(&name));
                }
                Space::Group => self.left(cx, id, Place::Group(&name)),
                Space::Room => self.left(cx, id, Place::Room(&name)),
                Space::Chat => {
                    self.core.left_chat(cx, id);
                    self.left(cx, id, Place::Chat);
                }
                Space::Presence | Space::User | Space::Conversation | Space::Person | Space::Everybody => {}
            }
        }
    }
}

impl<A: Application> Handler for Hub<A> {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, id: ConnId, request: &handshake::Request<'_>) -> Upgrade {
        self.admit(cx, id, request)
    }

    fn on_http(&mut self, cx: &mut Context<'_>, id: ConnId, request: &HttpRequest<'_>) -> Answer {
        self.respond(cx, id, request)
    }

    fn on_refused(&mut self, cx: &mut Context<'_>, id: ConnId, refused: &Refused<'_>) {
        admission::tell_refused(cx, id, refused);
    }

    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        match self.core.speaks.get(id.index()).copied().flatten() {
            Some(dialect) => self.begin(cx, id, dialect, false),
            None => cx.set_spreading(id, true), // until its first message has said that it speaks `echo`
        }
        self.core.pause_if_holding(cx, id);
        self.catch_up(cx);
    }

    #[inline(always)] // into the engine's loop over the messages of a read: an echo is little more than that loop
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        match self.core.speaks.get(id.index()).copied().flatten() {
            Some(Dialect::Echo) => {
                cx.send_back(id, message);
            }
            _ => self.receive(cx, id, message),
        }
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        self.act(cx, |application, cx| application.on_wake(cx));
    }

    fn on_limits(&mut self, _: &mut Context<'_>, limits: &Limits) {
        self.core.set_limits(limits.actions);
    }

    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        log::info!(
            connection:% = id, code = closed.code.get(), clean = closed.was_clean, cause:? = closed.cause;
            "connection closed"
        );
        self.leave_everything(cx, id);
        self.core.forget(id);
        self.catch_up(cx);
    }

    fn on_turned_away(&mut self, _: &mut Context<'_>, info: &PeerInfo, why: TurnedAway) {
        // Whoever only checks that somebody listens ends so, and often.
        let level = if why == TurnedAway::Lost { log::Level::Debug } else { log::Level::Warn };
        let address = Address(info.address);
        log::log!(level, address:% = address, listener = info.listener, reason:% = why; "connection turned away");
    }
}

#[cfg(test)]
mod tests {
    use super::{auth::Identity, *};
    use crate::{
        conn::Input,
        engine::Engine,
        time::{Now, Tick},
    };

    /// An application that writes down what it is asked, and refuses what is to go to "closed".
    #[derive(Default)]
    struct Doorkeeper(Vec<String>);

    impl Application for Doorkeeper {
        fn authenticate(&mut self, _: Now, token: &str) -> Option<Identity> {
            let name = token.strip_prefix("token-")?;
            Some(Identity { uuid: name.into(), name: name.into(), group: "staff".into() })
        }

        fn may_send(&mut self, caller: &Caller<'_>, place: Place<'_>, _: Message<'_>) -> bool {
            let user = caller.user.map_or("nobody", |user| &user.uuid);
            self.0.push(format!("{user} to {place:?}"));
            place != Place::Group("closed")
        }
    }

    pub(super) const NOW: Now = Now { tick: Tick::ZERO, unix_ms: 1_795_219_719_780 };

    /// What `id` hears when it sends these bytes.
    fn exchange<H: Handler>(engine: &mut Engine<H>, now: Now, id: ConnId, bytes: &[u8]) -> String {
        let mut input = Input::new(4096);
        input.space()[..bytes.len()].copy_from_slice(bytes);
        input.fill(bytes.len());
        engine.handle_input(now, id, &mut input);
        let mut heard = engine
            .poll_reply(id, &input)
            .map(|reply| [reply.first, reply.second].concat())
            .unwrap_or_default();
        while let Some(transmit) = engine.poll_transmit() {
            let (to, bytes) = (transmit.id, [transmit.first, transmit.second].concat());
            engine.handle_transmitted(now, to, bytes.len());
            heard.extend_from_slice(if to == id { &bytes } else { b"" });
        }
        String::from_utf8_lossy(&heard).into_owned()
    }

    pub(super) fn open<H: Handler>(engine: &mut Engine<H>, target: &str, lines: &str) -> ConnId {
        let id = engine.handle_accept(NOW, PeerInfo { address: None, listener: 0 });
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{lines}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        assert!(exchange(engine, NOW, id, request.as_bytes()).starts_with("HTTP/1.1 101 "));
        id
    }

    pub(super) fn say<H: Handler>(engine: &mut Engine<H>, id: ConnId, text: &str) -> String {
        say_at(engine, NOW, id, text)
    }

    fn say_at<H: Handler>(engine: &mut Engine<H>, now: Now, id: ConnId, text: &str) -> String {
        let len = text.len() as u16;
        let head =
            if len < 126 { vec![0x80 | len as u8] } else { [&[0xfe][..], &len.to_be_bytes()].concat() };
        exchange(engine, now, id, &[&[0x81][..], &head, &[0; 4], text.as_bytes()].concat())
    }

    pub(super) fn engine<A: Application>(application: A) -> Engine<Hub<A>> {
        let mut config = Hub::config("127.0.0.1:0");
        (config.limits.outbox_bytes_soft, config.limits.outbox_bytes_max) = (4_096, 8_192);
        let hub = Hub::with(&config, Settings::default(), application);
        Engine::new(&config, hub, |bytes| bytes.fill(7))
    }

    #[test]
    fn an_application_is_asked_for_each_group_that_a_message_is_for() {
        let mut engine = engine(Doorkeeper::default());
        let member = open(&mut engine, "/envelope?groupid=closed", "");
        let sender = open(&mut engine, "/envelope?groupid=g&userid=x", "");
        let to = |groups: &str| format!(r#"{{"action":"say","groupId":"g","recipients":[{groups}]}}"#);
        assert_ne!(say(&mut engine, sender, &to("")), "");
        assert_eq!(
            say(&mut engine, sender, &to(r#"{"type":1,"value":"g"},{"type":1,"value":"closed"}"#)),
            ""
        );
        assert_eq!(say(&mut engine, member, r#"{"action":"initialmessages"}"#), "");
        let asked = &engine.handler().application().0;
        assert_eq!(asked, &["nobody to Group(\"g\")", "nobody to Group(\"closed\")"]);
        assert_eq!(engine.handler().counters().ignored, 1);
    }

    #[test]
    fn an_application_is_told_who_the_session_of_a_handshake_is_but_not_who_somebody_claims_to_be() {
        let mut engine = engine(Doorkeeper::default());
        let cookie = "Cookie: armor_sid_user=token-alice\r\n";
        for target in ["/envelope", "/"] {
            let alice = open(&mut engine, target, cookie);
            let heard = say(&mut engine, alice, r#"{"action":"say","recipients":[]}"#);
            assert!(heard.contains(r#""userId":"alice""#), "{heard}");
        }
        let other = open(&mut engine, "/envelope?userid=alice", "");
        say(&mut engine, other, r#"{"action":"say"}"#);
        let asked = &engine.handler().application().0;
        assert_eq!(asked, &["alice to Group(\"\")", "alice to Group(\"\")", "nobody to Group(\"\")"]);
    }

    #[test]
    fn the_session_of_a_handshake_is_nobody_to_actions_until_it_is_asked_for() {
        let mut engine = engine(Doorkeeper::default());
        let alice = open(&mut engine, "/", "Cookie: armor_sid_user=token-alice\r\n");
        let heard = say(&mut engine, alice, r#"[{"action":"join_channel","channel_name":"c"}]"#);
        assert!(heard.contains(r#""status":"ok""#), "{heard}");
        say(&mut engine, alice, r#"[{"action":"message_channel","channel_name":"c","message":"m"}]"#);
        say(&mut engine, alice, r#"[{"action":"authenticate"}]"#);
        say(&mut engine, alice, r#"[{"action":"message_channel","channel_name":"c","message":"m"}]"#);
        let asked = &engine.handler().application().0;
        assert_eq!(asked, &["nobody to Channel(\"c\")", "alice to Channel(\"c\")"]);
    }

    /// A program's own handler, which decides on handshakes by itself.
    struct Wrapper(Hub);

    impl Handler for Wrapper {
        fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
            self.0.on_open(cx, id);
        }

        fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
            self.0.on_message(cx, id, message);
        }

        fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
            self.0.on_close(cx, id, closed);
        }
    }

    #[test]
    fn a_connection_whose_handshake_the_hub_did_not_see_is_like_one_that_said_nothing_there() {
        let config = Hub::config("127.0.0.1:0");
        let hub = Wrapper(Hub::new(&config, Settings::default()));
        let mut engine = Engine::new(&config, hub, |bytes| bytes.fill(7));
        let (one, other) = (open(&mut engine, "/", ""), open(&mut engine, "/", ""));
        assert!(say(&mut engine, one, "hello").ends_with("hello"));
        assert!(say(&mut engine, other, "[]").contains("Did not receive valid JSON"));
        let joined = say(&mut engine, other, r#"{"action":"join_channel","channel_name":"c","since":null}"#);
        assert!(joined.contains(r#""epoch":"1a1fb6f0664-"#), "{joined}");
    }

    #[test]
    fn who_is_given_up_is_told_no_more_and_what_it_says_is_said() {
        let mut engine = engine(());
        let (one, other) = (open(&mut engine, "/actions", ""), open(&mut engine, "/actions", ""));
        let long = "m".repeat(1_000);
        for id in [one, other] {
            say(&mut engine, id, r#"[{"action":"join_channel","channel_name":"c"}]"#);
        }
        say(
            &mut engine,
            one,
            &format!(r#"{{"action":"message_channel","channel_name":"c","message":"{long}"}}"#),
        );
        let asks = [
            r#"{"action":"history","channel_name":"c"}"#,
            r#"{"action":"join_channel","channel_name":"c","since":0,"epoch":"1a1fb6f0664-1"}"#,
            r#"{"action":"list_members","channel_name":"c"}"#,
            r#"{"action":"list_channels"}"#,
            r#"{"action":"subscribe_presence","channel_name":"c"}"#,
        ];
        let says = r#"{"action":"message_channel","channel_name":"c","message":"the last"}"#;
        let all = [&[asks[0]; 5][..], &asks, &[says]].concat();
        say(&mut engine, one, &format!("[{}]", all.join(",")));
        assert_eq!(engine.handler().counters().ignored, 4);
        let heard = say(&mut engine, other, r#"[{"action":"history","channel_name":"c","limit":1}]"#);
        assert!(heard.contains("the last"), "{heard}");
    }

    #[test]
    fn what_was_kept_too_long_is_not_told_to_who_comes_again() {
        let mut engine = engine(());
        let id = open(&mut engine, "/actions", "");
        let again = r#"{"action":"join_channel","channel_name":"c","since":0,"epoch":"1a1fb6f0664-1"}"#;
        say(&mut engine, id, again);
        say(&mut engine, id, r#"{"action":"message_channel","channel_name":"c","message":"m"}"#);
        let day = 86_400_000;
        for (ms, is_there) in [(day, true), (day + 1, false)] {
            let heard = say_at(&mut engine, Now { unix_ms: NOW.unix_ms + ms, ..NOW }, id, again);
            assert_eq!(heard.contains(r#""recovered":true"#), is_there, "{heard}");
            assert_eq!(heard.contains("new_message"), is_there, "{heard}");
        }
    }
}

//! The client: the WebSocket object of the standard for browsers, and URLs for whoever dials with a handler.

mod error;
mod inbox;
mod url;

use self::inbox::{Inbox, Unsent};
pub use self::{
    error::Error,
    url::{dial, dial_with},
};
#[cfg(feature = "tls")]
use crate::net::TlsClient;
use crate::{
    config::Config,
    conn::Message,
    engine::{ConnId, Sent},
    net::{OwnedMessage, Remote, Server},
    time::Tick,
    wire::close::{CloseCode, REASON_BYTES_MAX},
};
use std::{fmt, net::IpAddr, time::Duration};

/// A connection to a server, with the states, events and rules of the WebSocket object in browsers.
///
/// It has a loop of its own, which turns while an event is waited for, and in no other thread: a program that does not
/// wait for events does not answer the server's Pings either. [`WebSocket::sender`] is for other threads. For many
/// connections on one loop write a [`Handler`](crate::Handler), and dial with [`dial`] and `Context::dial`.
///
/// ```
/// use sockeye::client::{Event, WebSocket};
/// # struct Echo;
/// # impl sockeye::Handler for Echo {
/// #     fn on_message(&mut self, cx: &mut sockeye::Context<'_>, id: sockeye::ConnId, m: sockeye::Message<'_>) {
/// #         cx.send(id, m);
/// #     }
/// # }
/// # let mut server = sockeye::Server::bind(sockeye::Config::new("127.0.0.1:0"), Echo)?;
/// # let url = format!("ws://{}/", server.addresses()[0]);
/// # let remote = server.remote();
/// # let thread = std::thread::spawn(move || server.run());
///
/// let mut ws = WebSocket::connect(&url, &[])?;
/// while let Some(event) = ws.next_event() {
///     match event {
///         Event::Open => ws.send("hello")?,
///         Event::Message(message) => {
///             assert_eq!(message, "hello".into());
///             ws.close(Some(1000), "bye")?;
///         }
///         Event::Error(why) => eprintln!("{why}"),
///         Event::Close { code, was_clean, .. } => assert_eq!((code, was_clean), (1000, true)),
///     }
/// }
/// # remote.shutdown();
/// # thread.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WebSocket {
    server: Server<Inbox>,
    id: ConnId,
    url: String,
    ready_state: ReadyState,
    unsent: Unsent,
}

/// Where a [`WebSocket`] stands: it changes with the event that tells of it, and with a call of
/// [`WebSocket::close`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ReadyState {
    /// The connection is not open yet.
    Connecting = 0,
    /// Messages go both ways.
    Open = 1,
    /// It is being closed: nothing is received any more, and nothing that is sent goes out.
    Closing = 2,
    /// It is closed, or could not be opened.
    Closed = 3,
}

/// What happens to a [`WebSocket`]: `Open` at most once and first, messages while it is open, and at the end exactly
/// one `Close`, with an `Error` before it unless it was clean. `Close` comes when TCP has ended, at most
/// `Limits::linger_ms_max` after both have said Close.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The connection is open.
    Open,
    /// A message came.
    Message(OwnedMessage),
    /// The connection failed, for this reason.
    Error(String),
    /// The connection is over.
    Close {
        /// The server's code; 1005 if its Close had none, 1006 if there was no Close.
        code: u16,
        /// The server's reason.
        reason: String,
        /// Both sides sent a Close.
        was_clean: bool,
    },
}

/// What a connection is asked for beside URL and subprotocols.
///
/// ```no_run
/// use sockeye::client::{Options, WebSocket};
/// let mut options = Options::default();
/// options.headers.push(("Cookie".to_owned(), "session=1".to_owned()));
/// options.config.limits.handshake_ms_max = 2_000;
/// let ws = WebSocket::connect_with("ws://127.0.0.1:9001/", &["chat"], options)?;
/// # Ok::<(), sockeye::client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Further header lines of the request, such as `Authorization`, `Cookie`, `Origin`. Default none.
    pub headers: Vec<(String, String)>,
    /// The address of this machine to connect from. Default: the one that the operating system chooses.
    pub local: Option<IpAddr>,
    /// Whom to trust under `wss`. Default: whom this machine does, `TlsClient::from_system`.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsClient>,
    /// Limits and timers. What is about listening, origins and subprotocols of a server is not used.
    ///
    /// Two defaults differ from a server's: 64 MiB may wait to be sent (`outbox_bytes_max`; past it the connection is
    /// closed), and a server that takes nothing for long is not given up for that (`outbox_stall_ms_max`).
    pub config: Config,
}

impl Default for Options {
    fn default() -> Options {
        let mut config = Config::default();
        config.limits.outbox_bytes_max = 64 << 20;
        config.limits.outbox_stall_ms_max = 0;
        Options {
            headers: Vec::new(),
            local: None,
            #[cfg(feature = "tls")]
            tls: None,
            config,
        }
    }
}

impl WebSocket {
    /// Begins to connect to `url`, offering `protocols` in order of preference. Returns at once, in
    /// [`ReadyState::Connecting`]; the first event says what became of it. `Limits::handshake_ms_max` runs from here.
    ///
    /// # Errors
    /// [`Error::Syntax`] for a URL or subprotocols that are none, [`Error::TlsNotBuilt`] for `wss` and `https`
    /// without the feature `tls`.
    pub fn connect(url: &str, protocols: &[&str]) -> Result<WebSocket, Error> {
        WebSocket::connect_with(url, protocols, Options::default())
    }

    /// As [`WebSocket::connect`], with headers and settings.
    ///
    /// # Errors
    /// As [`WebSocket::connect`]; [`Error::Header`] for a header that is none or that the handshake makes itself,
    /// [`Error::Loop`] for limits that make no sense.
    pub fn connect_with(url: &str, protocols: &[&str], options: Options) -> Result<WebSocket, Error> {
        let url = url::parse(url)?;
        let mut dial = url::dial_to(&url, protocols, &options.headers)?;
        dial.local = options.local;
        let mut server = Server::unbound(options.config, Inbox::default()).map_err(Error::Loop)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = options.tls {
            server.dial_tls_as(tls);
        }
        let id = server.act(|_, cx| cx.dial(dial));
        let (url, ready_state) = (url.into(), ReadyState::Connecting);
        let mut ws = WebSocket { server, id, url, ready_state, unsent: Unsent::default() };
        ws.push();
        Ok(ws)
    }

    // ------------------------------------------------------------------ events

    /// Waits for the next event, as long as it takes. `None` once [`Event::Close`] was handed out.
    pub fn next_event(&mut self) -> Option<Event> {
        self.wait(None)
    }

    /// Waits for the next event, `patience` at most. `None` also when that is up.
    pub fn next_event_within(&mut self, patience: Duration) -> Option<Event> {
        let ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        let until = self.now().after(ms);
        self.wait(Some(until))
    }

    /// The events from here on, up to and with [`Event::Close`].
    pub fn events(&mut self) -> impl Iterator<Item = Event> {
        std::iter::from_fn(|| self.next_event())
    }

    fn wait(&mut self, until: Option<Tick>) -> Option<Event> {
        let mut is_up = false;
        while self.ready_state != ReadyState::Closed {
            // What happens to TCP after both have said Close is no event, and is waited for.
            let is_over = self.server.connections() == 0 || self.server.handler().is_broken();
            if let Some(event) = self.server.handler_mut().pop(is_over) {
                self.hand_out(&event);
                return Some(event);
            }
            if self.server.handler().is_closing() {
                self.ready_state = ReadyState::Closing;
            }
            if is_up {
                return None;
            }
            let id = self.id;
            if self.server.handler_mut().resume() {
                self.server.act(|_, cx| cx.resume(id));
            }
            let patience = until.map(|until| self.until(until));
            if let Err(error) = self.server.turn(patience) {
                self.server.handler_mut().break_off(error.to_string());
            }
            is_up = until.is_some_and(|until| self.now() >= until);
        }
        None
    }

    fn hand_out(&mut self, event: &Event) {
        match event {
            Event::Open => self.ready_state = ReadyState::Open,
            Event::Close { .. } => self.ready_state = ReadyState::Closed,
            // The standard changes the state before the events that tell of it.
            Event::Error(_) => self.ready_state = ReadyState::Closing,
            Event::Message(_) => {}
        }
    }

    fn now(&mut self) -> Tick {
        self.server.act(|_, cx| cx.now().tick)
    }

    fn until(&mut self, tick: Tick) -> Duration {
        Duration::from_millis(tick.as_ms().saturating_sub(self.now().as_ms()))
    }

    // ------------------------------------------------------------------ what it is

    /// Where the connection stands.
    pub fn ready_state(&self) -> ReadyState {
        self.ready_state
    }

    /// The subprotocol the server chose; empty if none, or before the connection is open.
    pub fn protocol(&self) -> &str {
        self.server.handler().protocol()
    }

    /// The extensions in use with their parameters; empty if none, or before the connection is open.
    pub fn extensions(&self) -> &str {
        self.server.handler().extensions()
    }

    /// The head of the server's answer as it came; empty before the connection is open.
    pub fn response_head(&self) -> &[u8] {
        self.server.handler().head()
    }

    /// The URL that is connected to, serialised as the standard has it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Payload bytes that were sent with [`WebSocket::send`] and not handed to the network yet. What is sent when the
    /// connection is closing or closed never is, and counts for ever.
    pub fn buffered_amount(&self) -> u64 {
        self.unsent.bytes(self.server.handler().transmitted_at_end(), self.server.transmitted_bytes())
    }

    // ------------------------------------------------------------------ what it does

    /// Sends a message: it is queued, and written as far as the network takes it now. The rest goes out while events
    /// are waited for, and with further sends.
    ///
    /// Where the connection is closing or closed nothing is sent, and only [`WebSocket::buffered_amount`] tells.
    ///
    /// # Errors
    /// [`Error::InvalidState`] while it is connecting.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        let message = message.into();
        match self.ready_state {
            ReadyState::Connecting => return Err(Error::InvalidState),
            ReadyState::Open => {}
            ReadyState::Closing | ReadyState::Closed => {
                self.unsent.lose(message.as_bytes().len());
                return Ok(());
            }
        }
        self.unsent.forget(self.server.transmitted_bytes());
        if !self.unsent.is_empty() {
            self.push();
        }
        let (id, unsent) = (self.id, &mut self.unsent);
        self.server.act(|inbox, cx| {
            let (len, before) = (message.as_bytes().len(), cx.buffered(id).unwrap_or_default());
            if cx.send(id, message) == Sent::Refused {
                unsent.lose(len);
                // The standard: what cannot be queued closes the connection. The engine has, where it was too much.
                if cx.close(id, CloseCode::TOO_BIG, "") {
                    inbox.fail("a message could not be queued: it has more than 1 GiB");
                }
            } else {
                let after = cx.buffered(id).unwrap_or_default();
                unsent.queue(
                    cx.transmitted_bytes() + after as u64,
                    after.saturating_sub(before) as u64,
                    len as u64,
                );
            }
        });
        Ok(())
    }

    /// Sends a Ping; false where the connection is not open or the payload has more than 125 bytes. RFC 6455 §5.5.2
    ///
    /// Pings that keep the connection alive are sent without this: see `Keepalive`.
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        let id = self.id;
        self.ready_state == ReadyState::Open && self.server.act(|_, cx| cx.ping(id, payload))
    }

    /// Starts the closing handshake; messages that were not handed out are dropped. While connecting, fails the
    /// connection. Where it is closing or closed, does nothing.
    ///
    /// Without a code the Close has no body, unless there is a reason: then it is 1000.
    ///
    /// # Errors
    /// [`Error::InvalidAccess`] for a code other than 1000 and 3000 to 4999, [`Error::Syntax`] for a reason of more than
    /// 123 bytes.
    pub fn close(&mut self, code: Option<u16>, reason: &str) -> Result<(), Error> {
        let code = close_code(code, reason)?;
        if self.ready_state < ReadyState::Closing {
            self.ready_state = ReadyState::Closing;
            let id = self.id;
            self.server.act(|inbox, cx| {
                inbox.drop_messages();
                cx.close(id, code, reason);
            });
        }
        Ok(())
    }

    /// A handle to send and close from other threads while this one waits for events.
    pub fn sender(&self) -> Sender {
        Sender { remote: self.server.remote(), id: self.id }
    }

    /// Lets the loop do what it can without waiting.
    fn push(&mut self) {
        if let Err(error) = self.server.turn(Some(Duration::ZERO)) {
            self.server.handler_mut().break_off(error.to_string());
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("url", &self.url)
            .field("ready_state", &self.ready_state)
            .finish_non_exhaustive()
    }
}

/// A page that is left closes its connections with 1001. What was not handed to the network is not sent any more.
impl Drop for WebSocket {
    fn drop(&mut self) {
        let id = self.id;
        self.server.act(|_, cx| cx.close(id, CloseCode::GOING_AWAY, ""));
    }
}

/// A handle to a [`WebSocket`] for other threads. What it sends is not in [`WebSocket::buffered_amount`], and is
/// dropped where the connection is not open.
///
/// ```no_run
/// let mut ws = sockeye::client::WebSocket::connect("ws://127.0.0.1:9001/", &[])?;
/// let sender = ws.sender();
/// ws.next_event();
/// std::thread::spawn(move || sender.send("from another thread"));
/// ws.events().for_each(|event| println!("{event:?}"));
/// # Ok::<(), sockeye::client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sender {
    remote: Remote,
    id: ConnId,
}

impl Sender {
    /// Sends a message.
    ///
    /// # Errors
    /// [`Error::Remote`] where too many commands wait, or the [`WebSocket`] is gone.
    pub fn send(&self, message: impl Into<OwnedMessage>) -> Result<(), Error> {
        self.remote.send(self.id, message).map_err(Error::Remote)
    }

    /// Starts the closing handshake, as [`WebSocket::close`] does.
    ///
    /// # Errors
    /// As [`WebSocket::close`] and [`Sender::send`].
    pub fn close(&self, code: Option<u16>, reason: &str) -> Result<(), Error> {
        let code = close_code(code, reason)?;
        self.remote.close(self.id, code, reason).map_err(Error::Remote)
    }
}

/// What a program may close with. WHATWG WebSockets §3.1, `close()`
fn close_code(code: Option<u16>, reason: &str) -> Result<CloseCode, Error> {
    if let Some(code) = code
        && code != 1000
        && !(3000..5000).contains(&code)
    {
        return Err(Error::InvalidAccess { code });
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(Error::Syntax(format!(
            "a close reason of {} bytes (at most {REASON_BYTES_MAX})",
            reason.len()
        )));
    }
    Ok(match code {
        Some(code) => CloseCode::new(code),
        None if reason.is_empty() => CloseCode::NO_STATUS, // which is not sent
        None => CloseCode::NORMAL,
    })
}

//! Every setting: unit, default, cost, and what happens past it. A leaf that all layers may read.

mod network;

pub use network::{InvalidNetwork, Network};

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// What a server is made from.
///
/// ```
/// use sockeye::Config;
/// let mut config = Config::new("127.0.0.1:9001");
/// config.limits.message_bytes_max = 64 << 10;
/// config.origins = vec!["https://example.com".to_owned()];
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Addresses to listen on, each as [`Listen`] reads it. At least one for `Server::bind`.
    pub listen: Vec<String>,
    /// Which of `listen`, from 0, is for those who look after the server and for nobody else. Default none.
    ///
    /// Its connections, of which there may be 16 at a time, count neither in `Limits::connections_max` nor in those of an
    /// address: whoever is to help a server that is full can connect, and for one more the oldest of them is dropped, so
    /// that nobody can keep others away by staying. It is open while the server drains, unless its
    /// address is shared (`reuse_port`), for then a successor answers there.
    pub admin_listener: Option<u16>,
    /// Share TCP addresses with other processes of the same user that do so too (`SO_REUSEPORT`). Default false.
    ///
    /// The kernel spreads new connections over all of them. So a new process can take over: it binds, and the old one is
    /// told to `drain`, which loses no connection.
    pub reuse_port: bool,
    /// Origins that may connect, each as a browser sends it (`https://example.com`); `https://*.example.com` for all names
    /// below one, `null` for pages in a sandbox or of files, which anybody's can be, `*` for any. Default none: any may.
    ///
    /// Those that are not named here are strangers though they may connect: see `Context::trusts_origin`.
    /// With a list, a request from another page is refused with 403. One without an Origin is no page's, and
    /// passes: the list protects visitors of pages from pages, RFC 6455 §10.2.
    pub origins: Vec<String>,
    /// Proxies that are believed when they say whom a connection is for. Default none.
    ///
    /// From them alone a header of the PROXY protocol is taken ([`Listen::Proxied`]; Unix-domain peers of such a listener
    /// need not be named), and what [`Config::forwarded_header`] says. The address of whom they name is then that of the
    /// connection, for limits per address, logs, and `Context::peer`; their own is not counted.
    pub trusted_proxies: Vec<Network>,
    /// Where a trusted proxy says for whom a request is. Default [`ForwardedHeader::Either`].
    pub forwarded_header: ForwardedHeader,
    /// Subprotocols the server knows. The first one a client offers that is known is acknowledged.
    pub subprotocols: Vec<String>,
    /// Refuse (400) a client that offers subprotocols of which none is known. Default false: the first one
    /// offered is acknowledged, because a browser fails a connection of which none was.
    pub subprotocols_strict: bool,
    /// Milliseconds between two calls of `Handler::on_tick`. Default 0: it is never called.
    pub tick_ms: u32,
    /// Bounds on what peers may use.
    pub limits: Limits,
    /// When a silent peer is asked, and when given up.
    pub keepalive: Keepalive,
    /// Compression of messages, for peers that offer it or are dialled.
    pub deflate: Deflate,
}

impl Config {
    /// The defaults, listening on `address`: `host:port`, `[v6]:port` or `unix:PATH`. Port 0 asks for a free one.
    pub fn new(address: impl Into<String>) -> Config {
        Config { listen: vec![address.into()], ..Config::default() }
    }
}

/// The header of a request in which proxies say whom they pass it on for.
///
/// Its rightmost address that is none of [`Config::trusted_proxies`] counts, because what stands left of it may be the
/// client's own invention; where all are trusted, the leftmost. What is no address (`unknown`) ends the search, and so
/// does what is malformed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and `Forwarded` in a request that has none. Not where proxies write only `Forwarded`, for they
    /// pass on what clients invent of the other.
    #[default]
    Either,
    /// `X-Forwarded-For` alone.
    XForwardedFor,
    /// `Forwarded` alone, RFC 7239.
    Forwarded,
}

/// Compression of messages: permessage-deflate, RFC 7692.
///
/// By default it is agreed to, without context takeover: each message is compressed on its own, by one compressor and
/// one inflater that all connections of a loop share (some 0.4 MB), and a connection costs no more memory for it.
/// [`Limits::deflate_context_bytes_max`] lets connections have contexts of their own.
///
/// ```
/// use sockeye::{Config, Deflate};
/// let mut config = Config::new("127.0.0.1:9001");
/// config.deflate = Deflate { level: 6, threshold_bytes: 1_024, ..Deflate::default() };
/// assert!(config.deflate.enabled);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deflate {
    /// Whether compression is agreed to as a server, and offered as a client. Default true.
    pub enabled: bool,
    /// How hard to look for repetitions, 1 to 9. Default 3.
    ///
    /// Measured on JSON-like text (`cargo bench --bench deflate`): up to 1 KiB, levels 2 to 6 make the same of it in the
    /// same time; of 64 KiB, level 3 makes 0.26 and level 6 makes 0.23, in three times the time. Level 1 takes a third
    /// of level 3's time, and makes 0.49 of 1 KiB where level 3 makes 0.37.
    pub level: u8,
    /// Messages shorter than this are sent as they are, in bytes. Default 256.
    ///
    /// Measured on JSON-like text: 64 bytes save nothing, 128 a fifth, 256 two fifths, 1 KiB five eighths; and the
    /// least that compressing costs, some 5 µs, is what sending a message costs. 0 and 1: all but empty ones.
    pub threshold_bytes: u32,
    /// Base-2 logarithm of the window that our own messages are compressed with, 9 to 15. Default 15: 32 KiB.
    ///
    /// A peer may ask for less; `server_max_window_bits` of 8 is declined, because the codec has none so small.
    /// RFC 7692 §7.1.2.1
    pub window_bits_max: u8,
    /// The same for what peers send, 8 to 15: asked of a client that says that it can. Default 15. §7.1.2.2
    pub peer_window_bits_max: u8,
}

impl Default for Deflate {
    fn default() -> Deflate {
        Deflate {
            enabled: true,
            level: 3,
            threshold_bytes: 256,
            window_bits_max: 15,
            peer_window_bits_max: 15,
        }
    }
}

impl Deflate {
    /// Checks that the settings are within what the codec can do.
    ///
    /// # Errors
    /// Names the field, its value, and what it must be.
    pub fn validate(&self) -> Result<(), InvalidLimit> {
        let within = |field, value: u8, least: u8, most: u8, why| {
            let bound = match value {
                _ if value < least => Bound::Least(u32::from(least)),
                _ if value > most => Bound::Most(u32::from(most)),
                _ => return Ok(()),
            };
            Err(InvalidLimit { field, value: u32::from(value), bound, why })
        };
        within("deflate.level", self.level, 1, 9, "the levels of zlib")?;
        within("deflate.window_bits_max", self.window_bits_max, 9, 15, "zlib compresses with no other")?;
        within("deflate.peer_window_bits_max", self.peer_window_bits_max, 8, 15, "RFC 7692 has no other")
    }

    /// These settings, those that [`Deflate::validate`] refuses brought to the nearest it allows.
    pub(crate) fn clamped(self) -> Deflate {
        Deflate {
            level: self.level.clamp(1, 9),
            window_bits_max: self.window_bits_max.clamp(9, 15),
            peer_window_bits_max: self.peer_window_bits_max.clamp(8, 15),
            ..self
        }
    }
}

/// Bounds on what peers may use. Times are in milliseconds, sizes in bytes.
///
/// `Server::bind` refuses limits that make no sense; an `Engine` or `Commons` made without it brings them to the
/// nearest that do, and takes 0 for `connections_max` and `buffered_bytes_max`, which only a server can resolve, as no
/// limit.
///
/// ```
/// let limits = sockeye::Limits { fragments_max: 1_000, ..Default::default() };
/// assert_eq!(limits.message_bytes_max, 16 << 20);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Largest message accepted after reassembly and inflation, in bytes. Default 16 MiB, at most 1 GiB.
    ///
    /// A connection holds at most this many bytes of assembly buffer and of one outgoing message, and only as
    /// many as really came. A larger message fails the connection with 1009 as soon as a header announces it;
    /// nothing of it is buffered; one that only grows so large as it is inflated, as soon as it does. RFC 6455 §10.4
    pub message_bytes_max: u32,
    /// Most fragments of one message, empty ones included. Default 131,072. Past it: 1008.
    ///
    /// Bounds the time one message may cost, not memory.
    pub fragments_max: u32,
    /// An unfinished message that brings no byte for so long fails the connection with 1008. Default 20,000 ms.
    /// 0: never. Time in which the server itself does not read the peer is not counted.
    pub message_idle_ms_max: u32,
    /// Largest head of a request, or of the answer to one of ours, in bytes. Default 16 KiB. Past it: 431, or the dial
    /// fails. Held per connection until it is whole.
    pub head_bytes_max: u32,
    /// Most header lines in a head. Default 100. Past it: 431, or the dial fails.
    pub headers_max: u32,
    /// Longest opening handshake, from accept to 101, however the bytes come. Default 10,000 ms. Past it: 408.
    ///
    /// Of a connection that is dialled, with resolving the name and connecting before it. Past it: the dial fails.
    /// Of a plain HTTP request, head and body together. Past it: 408. Its answer may take any time, as long as its reader
    /// takes a byte within this one. Past it: TCP is dropped.
    pub handshake_ms_max: u32,
    /// Longest closing handshake, from our Close until the peer's. Default 5,000 ms. Past it: TCP is dropped.
    pub closing_ms_max: u32,
    /// Time over which a drain spreads its Closes, so that not all clients come back at once. Default 1,000 ms.
    ///
    /// 0: all are closed at once. What of it listeners take before is said with `Server::drain`; `closing_ms_max` follows.
    pub drain_ms: u32,
    /// Longest wait for the peer to end TCP after we have, so that a reset does not eat our Close.
    /// Default 1,000 ms. Past it: the socket is dropped. Costs one descriptor for so long.
    pub linger_ms_max: u32,
    /// Most bytes read from one connection per wake of the loop. Default 256 KiB, at least 4 KiB.
    ///
    /// One buffer of this size serves all connections. What a peer sent beyond it waits for its next turn. One that
    /// agreed to compression is read at most 32 KiB at a time, which may inflate to 33 MiB, and once what was inflated in a
    /// wake is 1 MiB, such connections wait for the next one. Over TLS it is 48 KiB at least: two records have to fit.
    pub read_bytes_max: u32,
    /// Soft mark of an outbox, in bytes. Default 256 KiB.
    ///
    /// Above it a client is not read any more, `send` answers `Backlogged`, and of its Pings only the latest is
    /// answered; `on_drain` is called when it falls to the mark. A server that was dialled is read all the same.
    pub outbox_bytes_soft: u32,
    /// Hard mark of an outbox, in bytes. Default 1 MiB. At or above it before a send: the send is refused and
    /// the connection closed with 1013.
    ///
    /// Judged before queueing, so that a peer below it may always be sent one more message of any allowed size;
    /// worst case per connection: this, and one message.
    pub outbox_bytes_max: u32,
    /// Longest time above the soft mark without the peer taking a byte. Default 10,000 ms. Past it: 1013. 0: any.
    pub outbox_stall_ms_max: u32,
    /// Room above the hard mark that only control frames may use, in bytes. Default 4 KiB. Past it they are
    /// dropped, a Close excepted.
    pub control_bytes_reserve: u32,
    /// Most connections at a time, accepted and dialled together. Default 0: the process's descriptor limit less 64.
    /// Past it: 503, or the dial fails.
    ///
    /// An idle connection costs some 170 bytes here and some 5 KiB in the kernel.
    pub connections_max: u32,
    /// Most connections accepted from one address at a time. Default 0: any number. Past it: 503.
    ///
    /// Costs a table entry per address. All of an IPv6 /64 is one address; Unix-domain peers have none and are not
    /// counted. Whoever comes by one of [`Config::trusted_proxies`] is counted under the address that this one names.
    pub connections_per_address_max: u32,
    /// Connections that one address may begin in a second, and at once. Default 0: any number. Past it: 429 with
    /// `Retry-After`, before a request is read; over TLS the connection is dropped, before a handshake costs anything.
    ///
    /// Addresses are told apart as for `connections_per_address_max`; those that come by a proxy are judged when their
    /// request is whole, and each request that is no upgrade counts too. Costs a table entry of some 40 bytes per address
    /// for a second or two, and never more than 65,536 of them: who comes beyond is let in.
    pub handshakes_per_address_per_second_max: u32,
    /// Frames that one accepted connection may send in a second, and at once. Default 0: any number. Past it: it is not
    /// read until it may go on, so that TCP holds it up, and nothing is lost.
    ///
    /// Counts what costs: each fragment, Ping and Pong too. What one read brings is handled before it is judged, which is at
    /// most six bytes (256 at least) for each frame allowed; over TLS, two records. Costs 16 bytes per connection, and
    /// nothing where neither this nor the next is set.
    pub messages_per_second_max: u32,
    /// Bytes that one accepted connection may send in a second, and at once. Default 0: any number. Past it: as with
    /// `messages_per_second_max`.
    ///
    /// Counts frames as they come, headers included, and what a compressed message inflates to as well.
    pub bytes_per_second_max: u32,
    /// Budget for all partial messages and outboxes together, in bytes. Default 0: a quarter of memory.
    /// Past it the connection that holds most is closed with 1013, then the next.
    ///
    /// The hub counts in it what it holds behind answers of an application: whoever would go past it with such is closed so.
    pub buffered_bytes_max: u64,
    /// Free buffers kept for reuse, in bytes, beside as many again as are in use. Default 16 MiB. Past it they go back to
    /// the operating system.
    pub pool_bytes_max: u32,
    /// Budget for compression contexts of connections' own, in bytes. Default 0: no connection has any.
    ///
    /// A context is the window of earlier messages that a next one may refer to: it makes small messages a fifth to
    /// nine tenths smaller, and costs 46 KiB for what a peer sends and 245 to 371 KiB for what it is sent, as long as
    /// it is connected. Past the budget a new connection gets none, and shares the loop's. RFC 7692 §7.1.1
    pub deflate_context_bytes_max: u64,
    /// Commands that other threads' `Remote`s may have waiting. Default 1,024. Past it: `RemoteError::Full`.
    pub remote_commands_max: u32,
    /// Bounds on the action layer.
    pub actions: ActionLimits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 16 << 20,
            fragments_max: 131_072,
            message_idle_ms_max: 20_000,
            head_bytes_max: 16 << 10,
            headers_max: 100,
            handshake_ms_max: 10_000,
            closing_ms_max: 5_000,
            drain_ms: 1_000,
            linger_ms_max: 1_000,
            read_bytes_max: 256 << 10,
            outbox_bytes_soft: 256 << 10,
            outbox_bytes_max: 1 << 20,
            outbox_stall_ms_max: 10_000,
            control_bytes_reserve: 4 << 10,
            connections_max: 0,
            connections_per_address_max: 0,
            handshakes_per_address_per_second_max: 0,
            messages_per_second_max: 0,
            bytes_per_second_max: 0,
            buffered_bytes_max: 0,
            pool_bytes_max: 16 << 20,
            deflate_context_bytes_max: 0,
            remote_commands_max: 1_024,
            actions: ActionLimits::default(),
        }
    }
}

impl Limits {
    /// These, for a server that runs with `running`: what its buffers and books were made for stays.
    pub(crate) fn in_place_of(self, running: &Limits) -> Limits {
        Limits {
            read_bytes_max: running.read_bytes_max,
            remote_commands_max: running.remote_commands_max,
            connections_per_address_max: running.connections_per_address_max,
            ..self.clamped()
        }
    }

    /// Checks that the limits make sense on their own and together.
    ///
    /// # Errors
    /// Names the field, its value, what it must be, and why.
    pub fn validate(&self) -> Result<(), InvalidLimit> {
        let least = |field, value: u32, least: u32, why| {
            if value < least {
                Err(InvalidLimit { field, value, bound: Bound::Least(least), why })
            } else {
                Ok(())
            }
        };
        let most = |field, value: u32, most: u32, why| {
            if value > most {
                Err(InvalidLimit { field, value, bound: Bound::Most(most), why })
            } else {
                Ok(())
            }
        };
        least("message_bytes_max", self.message_bytes_max, 1, "no message would pass")?;
        most("message_bytes_max", self.message_bytes_max, 1 << 30, "a message is held in one buffer")?;
        least("fragments_max", self.fragments_max, 1, "no message would pass")?;
        least("head_bytes_max", self.head_bytes_max, 256, "no request would pass")?;
        most("head_bytes_max", self.head_bytes_max, 1 << 20, "a head is held in one buffer")?;
        least("headers_max", self.headers_max, 5, "no handshake has fewer lines")?;
        most("headers_max", self.headers_max, 10_000, "all are looked at")?;
        least("handshake_ms_max", self.handshake_ms_max, 1, "no handshake would pass")?;
        least("linger_ms_max", self.linger_ms_max, 1, "an answer would be cut off")?;
        least("read_bytes_max", self.read_bytes_max, 4 << 10, "each message would cost many wakes")?;
        most("read_bytes_max", self.read_bytes_max, 64 << 20, "one peer would keep the others waiting")?;
        least("outbox_bytes_soft", self.outbox_bytes_soft, 1, "no peer would be read")?;
        least(
            "outbox_bytes_max",
            self.outbox_bytes_max,
            self.outbox_bytes_soft,
            "that is outbox_bytes_soft",
        )?;
        most("outbox_bytes_max", self.outbox_bytes_max, 1 << 30, "an outbox is one buffer")?;
        let actions = &self.actions;
        least("json_depth_max", actions.json_depth_max, 2, "an array of actions has two levels")?;
        most("json_depth_max", actions.json_depth_max, 128, "each level costs stack")?;
        least("actions_per_message_max", actions.actions_per_message_max, 1, "no action would pass")?;
        least("name_bytes_max", actions.name_bytes_max, 1, "no channel could be named")?;
        most("name_bytes_max", actions.name_bytes_max, 64 << 10, "names are held for each channel")
    }

    /// These limits, those that [`Limits::validate`] refuses brought to the nearest it allows.
    pub(crate) fn clamped(self) -> Limits {
        Limits {
            message_bytes_max: self.message_bytes_max.clamp(1, 1 << 30),
            fragments_max: self.fragments_max.max(1),
            head_bytes_max: self.head_bytes_max.clamp(256, 1 << 20),
            headers_max: self.headers_max.clamp(5, 10_000),
            handshake_ms_max: self.handshake_ms_max.max(1),
            linger_ms_max: self.linger_ms_max.max(1),
            outbox_bytes_soft: self.outbox_bytes_soft.clamp(1, 1 << 30),
            outbox_bytes_max: self.outbox_bytes_max.clamp(self.outbox_bytes_soft.clamp(1, 1 << 30), 1 << 30),
            ..self
        }
    }
}

/// Bounds on what peers may ask of the action layer (`hub`). What is past one is answered in the `actions` dialect, with
/// an error that names it, and ignored and counted in the others; it ends no connection, but for persistent flooding.
///
/// ```
/// let limits = sockeye::ActionLimits { channels_per_connection_max: 8, ..Default::default() };
/// assert_eq!(limits.json_message_bytes_max, 1 << 20);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ActionLimits {
    /// Largest message of a dialect that is JSON, in bytes, itself included. Default 1 MiB.
    ///
    /// `room` and `echo` are bounded by [`Limits::message_bytes_max`] alone, and so is a connection that has not chosen
    /// its dialect. Costs up to its size again while it is taken apart.
    pub json_message_bytes_max: u32,
    /// How deep arrays and objects may stand in each other, the outermost counted. Default 32.
    pub json_depth_max: u32,
    /// Most actions in one message. Default 256. Past it: the rest is refused, by one error.
    pub actions_per_message_max: u32,
    /// Actions a second that a connection may send in the long run, in the JSON dialects. Default 1,000. 0: any number.
    pub actions_per_second_max: u32,
    /// Actions that it may send at once. Default 10,000. 0: any number.
    ///
    /// To take a name in the chat counts as many times as there are names, because all of them go to everybody.
    /// Past both, actions are refused; as many refusals again without a pause, and it is closed with 1008.
    pub actions_burst_max: u32,
    /// Channels a connection may be in. Default 128.
    ///
    /// Each costs it some 32 bytes, and some 300 and the name once for all members.
    pub channels_per_connection_max: u32,
    /// Channels there may be, and as many groups, rooms and users. Default 1,000,000.
    ///
    /// Costs up to 1.5 KiB each, most of it the name.
    pub channels_max: u32,
    /// Longest name of a channel, group, room or user, in bytes of UTF-8. Default 1,024. Past it a room is refused with
    /// 414 at the handshake.
    pub name_bytes_max: u32,
    /// Users that may be invited to a channel at a time. Default 1,024, each of up to `name_bytes_max`.
    pub invited_max: u32,
    /// Most recipients of one message of the `envelope` dialect, those that are malformed included. Default 4,096. Past it
    /// the message is ignored, and none of them taken apart.
    pub recipients_max: u32,
    /// Answers of the application's that a connection may wait for at a time. Default 64. Past it: refused.
    ///
    /// Each costs some 100 bytes and what it is about: the message of the `envelope` dialect, the name of the channel. While
    /// it is asked who the connection is, or whether it may join, what it says is held, up to `json_message_bytes_max` and
    /// one message; past that it is closed with 1008.
    pub pending_max: u32,
    /// Most entries of a list (members, channels) in one answer; the others are left out. Default 1,000. For a list of
    /// channels, ten times as many are looked at.
    pub listed_max: u32,
    /// Messages kept of a channel, group or private conversation. Default 100. 0: none. Past it the oldest goes.
    pub history_messages_max: u32,
    /// Bytes kept of each. Default 1 MiB. Past it the oldest goes; a message that is larger, counted once for each of the
    /// groups that it is for, is not kept.
    pub history_bytes_max: u32,
    /// How long a message is kept, in milliseconds. Default 86,400,000: a day. 0: as long as there is room.
    pub history_age_ms_max: u32,
    /// Messages kept of all of them together. Default 1,000,000. Past it the oldest of all goes.
    pub history_total_messages_max: u32,
    /// Bytes kept of all of them together. Default 64 MiB. Past it the oldest of all goes.
    pub history_total_bytes_max: u64,
}

impl Default for ActionLimits {
    fn default() -> ActionLimits {
        ActionLimits {
            json_message_bytes_max: 1 << 20,
            json_depth_max: 32,
            actions_per_message_max: 256,
            actions_per_second_max: 1_000,
            actions_burst_max: 10_000,
            channels_per_connection_max: 128,
            channels_max: 1_000_000,
            name_bytes_max: 1_024,
            invited_max: 1_024,
            recipients_max: 4_096,
            pending_max: 64,
            listed_max: 1_000,
            history_messages_max: 100,
            history_bytes_max: 1 << 20,
            history_age_ms_max: 86_400_000,
            history_total_messages_max: 1_000_000,
            history_total_bytes_max: 64 << 20,
        }
    }
}

/// When a silent peer is asked for life, and when given up. RFC 6455 §5.5.2
///
/// Any byte received counts as life. The clock stands while the server itself does not read the peer.
///
/// ```
/// let never = sockeye::Keepalive { ping_after_ms: 0, ..Default::default() };
/// assert_eq!(never.pong_within_ms, 10_000);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// Silence after which a Ping is sent, up to a tenth later so that peers do not come in step.
    /// Default 25,000 ms. 0: never, and a vanished peer is held until a write to it fails.
    pub ping_after_ms: u32,
    /// Further silence after which the peer is given up (1006). Default 10,000 ms.
    pub pong_within_ms: u32,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive { ping_after_ms: 25_000, pong_within_ms: 10_000 }
    }
}

/// An address to listen on: `host:port`, `[v6]:port` or `unix:PATH`; `tls:host:port` or `tls:[v6]:port` for TLS; with
/// `proxy:` in front of any of these for proxies that speak the PROXY protocol.
///
/// ```
/// use sockeye::Listen;
/// assert!(matches!("unix:/run/sockeye.sock".parse(), Ok(Listen::Unix(_))));
/// assert!("127.0.0.1".parse::<Listen>().is_err());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listen {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A host name and port, looked up when the server binds.
    Name(String),
    /// A Unix-domain socket at this path.
    Unix(PathBuf),
    /// An IP address and port where TLS is spoken. Needs certificates: `Server::bind_tls`.
    TlsIp(SocketAddr),
    /// The same, for a host name and port.
    TlsName(String),
    /// One of those, where each connection begins with a header of the PROXY protocol (version 1 of up to 107 bytes, or 2
    /// of up to 536), in front of TLS where that is spoken. Needs the feature `proxy`.
    ///
    /// What the header says is believed: from [`Config::trusted_proxies`], and from whoever can connect to a Unix-domain
    /// socket. Anybody else is dropped before a byte is read, and so is one whose header is malformed or takes longer than
    /// `Limits::handshake_ms_max`; the handler hears of it, `Handler::on_turned_away`. LOCAL, UNKNOWN and what is no IP
    /// address leave the peer's own address as it is.
    Proxied(Box<Listen>),
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Listen, InvalidListen> {
        let invalid = || InvalidListen(text.to_owned());
        if let Some(inner) = text.strip_prefix("proxy:") {
            return match inner.parse() {
                Err(_) | Ok(Listen::Proxied(_)) => Err(invalid()),
                Ok(inner) => Ok(Listen::Proxied(Box::new(inner))),
            };
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(invalid()) } else { Ok(Listen::Unix(path.into())) };
        }
        let under_tls = text.strip_prefix("tls:");
        let address = under_tls.unwrap_or(text);
        if let Ok(ip) = address.parse() {
            return Ok(if under_tls.is_some() { Listen::TlsIp(ip) } else { Listen::Ip(ip) });
        }
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let named = !host.is_empty() && !host.contains([':', '[', ']', '/']) && port.parse::<u16>().is_ok();
        match under_tls {
            _ if !named => Err(invalid()),
            Some(name) => Ok(Listen::TlsName(name.to_owned())),
            None => Ok(Listen::Name(text.to_owned())),
        }
    }
}

/// A text that is no address to listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidListen(String);

impl fmt::Display for InvalidListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no address: give HOST:PORT, [IPV6]:PORT or unix:PATH; before it tls: for TLS, and before \
             that proxy: where proxies come with the PROXY protocol",
            self.0
        )
    }
}

impl std::error::Error for InvalidListen {}

/// A limit that makes no sense: which, its value, and what it must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidLimit {
    field: &'static str,
    value: u32,
    bound: Bound,
    why: &'static str,
}

impl InvalidLimit {
    /// The field of [`Limits`].
    pub fn field(&self) -> &'static str {
        self.field
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bound {
    Least(u32),
    Most(u32),
}

impl fmt::Display for InvalidLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, bound) = match self.bound {
            Bound::Least(bound) => ("least", bound),
            Bound::Most(bound) => ("most", bound),
        };
        write!(f, "{} is {}: it must be at {word} {bound} ({})", self.field, self.value, self.why)
    }
}

impl std::error::Error for InvalidLimit {}

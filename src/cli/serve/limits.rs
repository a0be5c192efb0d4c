//! Every bound on what peers may use, as a flag of the same name with the same default.

use crate::cli::{bytes, bytes_u32};
use clap::Args;
use sockeye::{ActionLimits, Deflate, Keepalive, Limits};

/// [`Limits`] but for those in milliseconds and those of the action layer, as flags of the same names.
#[derive(Args, Debug)]
pub(super) struct LimitArguments {
    /// Largest message accepted. Past it: 1009, as soon as a header announces it.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = bytes_u32)]
    message_bytes_max: u32,
    /// Most fragments of one message, empty ones included. Past it: 1008.
    #[arg(long, value_name = "N", default_value_t = Limits::default().fragments_max)]
    fragments_max: u32,
    /// Largest request head. Past it: 431.
    #[arg(long, value_name = "BYTES", default_value = "16KiB", value_parser = bytes_u32)]
    head_bytes_max: u32,
    /// Most header lines in a request. Past it: 431.
    #[arg(long, value_name = "N", default_value_t = Limits::default().headers_max)]
    headers_max: u32,
    /// Most bytes read from one connection before the next one's turn.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = bytes_u32)]
    read_bytes_max: u32,
    /// Bytes waiting for a peer above which it is not read.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = bytes_u32)]
    outbox_bytes_soft: u32,
    /// Bytes waiting for a peer at which nothing more is queued and it is closed with 1013.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = bytes_u32)]
    outbox_bytes_max: u32,
    /// Room above outbox-bytes-max for control frames only.
    #[arg(long, value_name = "BYTES", default_value = "4KiB", value_parser = bytes_u32)]
    control_bytes_reserve: u32,
    /// Most connections at a time; 0: the limit on descriptors less 64. Past it: 503.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections_max)]
    connections_max: u32,
    /// Most connections from one address at a time; 0: any number. Past it: 503.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections_per_address_max)]
    connections_per_address_max: u32,
    /// Connections that one address may begin in a second; 0: any number. Past it: 429, and over TLS dropped.
    #[arg(long, value_name = "N", default_value_t = Limits::default().handshakes_per_address_per_second_max)]
    handshakes_per_address_per_second_max: u32,
    /// Frames that one connection may send in a second; 0: any number. Past it: it is not read until it may go on.
    #[arg(long, value_name = "N", default_value_t = Limits::default().messages_per_second_max)]
    messages_per_second_max: u32,
    /// Bytes that one connection may send in a second, as they come and as they inflate; 0: any number. Past it: the same.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes_u32)]
    bytes_per_second_max: u32,
    /// Budget for all partial messages and outboxes; 0: a quarter of memory. Past it whoever holds most gets 1013.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    buffered_bytes_max: u64,
    /// Free buffers kept for reuse, beside as many again as are in use.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = bytes_u32)]
    pool_bytes_max: u32,
    /// Budget for compression contexts of connections' own; 0: none has any. Past it new connections share the loop's.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    deflate_context_bytes_max: u64,
    /// Commands of other threads that may wait.
    #[arg(long, value_name = "N", default_value_t = Limits::default().remote_commands_max)]
    remote_commands_max: u32,
}

/// [`ActionLimits`], as flags of the same names.
#[derive(Args, Debug)]
pub(super) struct ActionArguments {
    /// Largest message of a dialect that is JSON; message-bytes-max is for the others. Past it: refused.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = bytes_u32)]
    json_message_bytes_max: u32,
    /// How deep arrays and objects may stand in each other, the outermost counted. Past it: it is no JSON.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().json_depth_max)]
    json_depth_max: u32,
    /// Most actions in one message. Past it: the rest is refused.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().actions_per_message_max)]
    actions_per_message_max: u32,
    /// Actions a second that a connection may send in the long run; 0: any number.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().actions_per_second_max)]
    actions_per_second_max: u32,
    /// Actions that it may send at once; 0: any number. Past both: refused, and after as many refusals 1008.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().actions_burst_max)]
    actions_burst_max: u32,
    /// Channels a connection may be in. Past it: refused.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().channels_per_connection_max)]
    channels_per_connection_max: u32,
    /// Channels there may be, and as many groups, rooms and users. Past it: refused; a room with 503.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().channels_max)]
    channels_max: u32,
    /// Longest name of a channel, group, room or user. Past it: refused; a room with 414.
    #[arg(long, value_name = "BYTES", default_value = "1KiB", value_parser = bytes_u32)]
    name_bytes_max: u32,
    /// Users that may be invited to a channel at a time. Past it: refused.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().invited_max)]
    invited_max: u32,
    /// Most recipients of one message of the envelope dialect. Past it: the message is ignored.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().recipients_max)]
    recipients_max: u32,
    /// Answers of the hook's that a connection may wait for at a time. Past it: refused.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().pending_max)]
    pending_max: u32,
    /// Most entries of a list (members, channels) in one answer. Past it: the others are left out.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().listed_max)]
    listed_max: u32,
    /// Messages kept of a channel, group or private conversation; 0: none. Past it: the oldest goes.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().history_messages_max)]
    history_messages_max: u32,
    /// Bytes kept of each, and of one message in all of its groups. Past it: the oldest goes.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = bytes_u32)]
    history_bytes_max: u32,
    /// How long a message is kept; 0: as long as there is room.
    #[arg(long, value_name = "MS", default_value_t = ActionLimits::default().history_age_ms_max)]
    history_age_ms_max: u32,
    /// Messages kept of all of them together. Past it: the oldest of all goes.
    #[arg(long, value_name = "N", default_value_t = ActionLimits::default().history_total_messages_max)]
    history_total_messages_max: u32,
    /// Bytes kept of all of them together. Past it: the oldest of all goes.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = bytes)]
    history_total_bytes_max: u64,
}

/// Everything in milliseconds: of [`Limits`] and [`Keepalive`].
#[derive(Args, Debug)]
pub(super) struct TimerArguments {
    /// Silence after which a peer is sent a Ping, up to a tenth later; 0: never.
    #[arg(long, value_name = "MS", default_value_t = Keepalive::default().ping_after_ms)]
    ping_after_ms: u32,
    /// Further silence after which it is given up.
    #[arg(long, value_name = "MS", default_value_t = Keepalive::default().pong_within_ms)]
    pong_within_ms: u32,
    /// Longest opening handshake. Past it: 408.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().handshake_ms_max)]
    handshake_ms_max: u32,
    /// Longest time an unfinished message may bring no byte; 0: any. Past it: 1008.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().message_idle_ms_max)]
    message_idle_ms_max: u32,
    /// Longest time above outbox-bytes-soft without the peer taking a byte; 0: any. Past it: 1013.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().outbox_stall_ms_max)]
    outbox_stall_ms_max: u32,
    /// Longest closing handshake. Past it TCP is dropped.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().closing_ms_max)]
    closing_ms_max: u32,
    /// Time over which connections are closed when the server is told to stop, so that not all clients come back at once;
    /// 0: all at once. With --reuse-port the first half of it, at most 500 ms, is for those who have begun to connect.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().drain_ms)]
    drain_ms: u32,
    /// Longest wait for the peer to end TCP after we have.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().linger_ms_max)]
    linger_ms_max: u32,
}

/// [`Deflate`], as flags.
#[derive(Args, Debug)]
pub(super) struct DeflateArguments {
    /// Do not agree to compression.
    #[arg(long)]
    no_deflate: bool,
    /// How hard to look for repetitions, 1 to 9.
    #[arg(long, value_name = "N", default_value_t = Deflate::default().level)]
    deflate_level: u8,
    /// Messages shorter than this are sent as they are.
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = bytes_u32)]
    deflate_threshold_bytes: u32,
    /// Largest window to compress with, as its base-2 logarithm, 9 to 15.
    #[arg(long, value_name = "BITS", default_value_t = Deflate::default().window_bits_max)]
    deflate_window_bits_max: u8,
    /// Largest window that clients are asked to compress with, 8 to 15.
    #[arg(long, value_name = "BITS", default_value_t = Deflate::default().peer_window_bits_max)]
    deflate_peer_window_bits_max: u8,
}

impl LimitArguments {
    /// The limits, of which some are in milliseconds and some the action layer's.
    pub(super) fn limits(&self, timers: &TimerArguments, actions: &ActionArguments) -> Limits {
        Limits {
            message_bytes_max: self.message_bytes_max,
            fragments_max: self.fragments_max,
            message_idle_ms_max: timers.message_idle_ms_max,
            head_bytes_max: self.head_bytes_max,
            headers_max: self.headers_max,
            handshake_ms_max: timers.handshake_ms_max,
            closing_ms_max: timers.closing_ms_max,
            drain_ms: timers.drain_ms,
            linger_ms_max: timers.linger_ms_max,
            read_bytes_max: self.read_bytes_max,
            outbox_bytes_soft: self.outbox_bytes_soft,
            outbox_bytes_max: self.outbox_bytes_max,
            outbox_stall_ms_max: timers.outbox_stall_ms_max,
            control_bytes_reserve: self.control_bytes_reserve,
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            handshakes_per_address_per_second_max: self.handshakes_per_address_per_second_max,
            messages_per_second_max: self.messages_per_second_max,
            bytes_per_second_max: self.bytes_per_second_max,
            buffered_bytes_max: self.buffered_bytes_max,
            pool_bytes_max: self.pool_bytes_max,
            deflate_context_bytes_max: self.deflate_context_bytes_max,
            remote_commands_max: self.remote_commands_max,
            actions: actions.limits(),
        }
    }
}

impl ActionArguments {
    fn limits(&self) -> ActionLimits {
        ActionLimits {
            json_message_bytes_max: self.json_message_bytes_max,
            json_depth_max: self.json_depth_max,
            actions_per_message_max: self.actions_per_message_max,
            actions_per_second_max: self.actions_per_second_max,
            actions_burst_max: self.actions_burst_max,
            channels_per_connection_max: self.channels_per_connection_max,
            channels_max: self.channels_max,
            name_bytes_max: self.name_bytes_max,
            invited_max: self.invited_max,
            recipients_max: self.recipients_max,
            pending_max: self.pending_max,
            listed_max: self.listed_max,
            history_messages_max: self.history_messages_max,
            history_bytes_max: self.history_bytes_max,
            history_age_ms_max: self.history_age_ms_max,
            history_total_messages_max: self.history_total_messages_max,
            history_total_bytes_max: self.history_total_bytes_max,
        }
    }
}

impl TimerArguments {
    pub(super) fn keepalive(&self) -> Keepalive {
        Keepalive { ping_after_ms: self.ping_after_ms, pong_within_ms: self.pong_within_ms }
    }
}

impl DeflateArguments {
    pub(super) fn deflate(&self) -> Deflate {
        Deflate {
            enabled: !self.no_deflate,
            level: self.deflate_level,
            threshold_bytes: self.deflate_threshold_bytes,
            window_bits_max: self.deflate_window_bits_max,
            peer_window_bits_max: self.deflate_peer_window_bits_max,
        }
    }
}

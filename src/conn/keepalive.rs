//! Time for one peer: what is due when, and what follows. RFC 6455 §5.5.2 for the Ping, our own limits else.

use super::{Commons, Connection, Fault, PAUSED, PINGED, Role, State, body::RESPONDS};
use crate::{
    time::{Now, Stamp, Tick},
    wire::handshake::Refusal,
};

/// What a deadline that has passed asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expired {
    /// Send a Ping: the peer is silent.
    Ping,
    /// Fail the connection.
    Fault(Fault),
    /// Refuse the request that does not come: the handshake takes too long.
    Refuse(Refusal),
    /// Close the socket: the peer is dead, or does not end what it should.
    Drop,
}

impl Connection {
    /// The tick at which [`Connection::handle_timeout`] has something to say, if nothing else happens.
    pub fn deadline(&self, now: Now, commons: &Commons) -> Option<Tick> {
        let (limits, tick, pinged) = (&commons.limits, now.tick, self.flags.has(PINGED));
        match self.state {
            State::Handshake { since, .. } => Some(since.due(limits.handshake_ms_max, tick)),
            State::Closing { since } => Some(since.due(limits.closing_ms_max, tick)),
            State::Closed { since, .. } => Some(since.due(self.ending_ms_max(commons), tick)),
            State::Open if self.flags.has(PAUSED) => None,
            State::Open => {
                let idle = self.message_idle_ms(commons).map(|limit| self.brought_at.due(limit, tick));
                let silence = match self.ping_after_ms(commons) {
                    _ if pinged => Some(self.heard_at.due(commons.keepalive.pong_within_ms, tick)),
                    Some(limit) => Some(self.heard_at.due(limit, tick)),
                    None => None,
                };
                [idle, silence].into_iter().flatten().min()
            }
        }
    }

    /// What is due at `now`, if anything is. [`Expired::Ping`] counts as sent.
    pub fn handle_timeout(&mut self, now: Now, commons: &Commons) -> Option<Expired> {
        if self.deadline(now, commons)? > now.tick {
            return None;
        }
        Some(match self.state {
            State::Handshake { .. } if self.role() == Role::Client => Expired::Drop,
            State::Handshake { .. } => {
                Expired::Refuse(Refusal::Timeout { limit_ms: commons.limits.handshake_ms_max })
            }
            State::Closing { .. } | State::Closed { .. } => Expired::Drop,
            State::Open => match self.message_idle_ms(commons) {
                Some(limit_ms) if self.brought_at.elapsed(now.tick) >= limit_ms => {
                    Expired::Fault(Fault::MessageIdle { limit_ms })
                }
                _ if self.flags.has(PINGED) => Expired::Drop,
                _ => {
                    self.flags.set(PINGED, true);
                    self.heard_at = Stamp::at(now.tick);
                    Expired::Ping
                }
            },
        })
    }

    /// The peer is not read from now on, by our own decision: its clocks stand.
    pub fn pause(&mut self) {
        self.flags.set(PAUSED, true);
    }

    /// The peer is read again: its clocks start anew.
    pub fn resume(&mut self, now: Now) {
        if self.flags.replace(PAUSED, false) {
            let at = Stamp::at(now.tick);
            self.flags.set(PINGED, false);
            (self.heard_at, self.brought_at) = (at, at);
        }
    }

    /// Silence before a Ping: up to a tenth more than configured, so that peers do not come in step.
    fn ping_after_ms(&self, commons: &Commons) -> Option<u32> {
        let ms = commons.keepalive.ping_after_ms;
        let jitter = u64::from(ms / 10) * u64::from(self.jitter) / 255;
        (ms > 0).then_some(ms.saturating_add(jitter as u32))
    }

    fn message_idle_ms(&self, commons: &Commons) -> Option<u32> {
        let limit = commons.limits.message_idle_ms_max;
        (limit > 0 && self.is_unfinished()).then_some(limit)
    }

    /// How long a closed connection may take to write its last bytes, and then to see the peer's end of TCP.
    fn ending_ms_max(&self, commons: &Commons) -> u32 {
        match self.state {
            State::Closed { written: false, failed: false, .. } => commons.limits.closing_ms_max,
            // From the last byte that was taken.
            State::Closed { written: false, .. } if self.flags.has(RESPONDS) => {
                commons.limits.handshake_ms_max
            }
            _ => commons.limits.linger_ms_max,
        }
    }
}

//! What a supervisor such as systemd passes to the process (sockets), and is told by it (sd_notify). Without one all of
//! this does nothing.

use listenfd::ListenFd;
use sd_notify::NotifyState;
use sockeye::ListeningSocket;
use std::{
    env,
    time::{Duration, Instant},
};

/// What comes on a socket in front of HTTP.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Wrapping {
    /// The header of a proxy, first of all.
    pub(super) of_proxies: bool,
    pub(super) under_tls: bool,
}

/// The sockets that were passed, each with its name (`FileDescriptorName=` of a unit).
pub(super) struct Passed {
    sockets: ListenFd,
    names: Vec<String>,
}

impl Passed {
    /// As `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` say. To be called once: it takes them out of the environment.
    pub(super) fn from_environment() -> Passed {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = ListenFd::from_env();
        Passed { sockets, names: names.split(':').map(str::to_owned).collect() }
    }

    /// Those of this name, or all that were not taken before.
    pub(super) fn take(
        &mut self,
        name: Option<&str>,
        wrapping: Wrapping,
    ) -> Result<Vec<ListeningSocket>, String> {
        let mut taken = Vec::new();
        for at in 0..self.sockets.len() {
            let is_meant = name.is_none_or(|name| self.names.get(at).is_some_and(|found| found == name));
            if is_meant && let Some(socket) = self.take_at(at, wrapping.under_tls)? {
                taken.push(if wrapping.of_proxies {
                    ListeningSocket::Proxied(Box::new(socket))
                } else {
                    socket
                });
            }
        }
        match name {
            _ if !taken.is_empty() => Ok(taken),
            Some(name) => Err(format!("no socket of the name {name} was passed (LISTEN_FDNAMES)")),
            None => {
                Err("no socket was passed (LISTEN_FDS, LISTEN_PID): is this started by its .socket unit?"
                    .to_owned())
            }
        }
    }

    fn take_at(&mut self, at: usize, under_tls: bool) -> Result<Option<ListeningSocket>, String> {
        // Of the wrong kind is an error, and the socket stays where it is.
        match self.sockets.take_tcp_listener(at) {
            Ok(socket) if under_tls => return Ok(socket.map(ListeningSocket::Tls)),
            Ok(socket) => return Ok(socket.map(ListeningSocket::Tcp)),
            Err(error) if under_tls => {
                return Err(format!("TLS cannot be spoken on socket {at} that was passed: {error}"));
            }
            Err(_) => {}
        }
        match self.sockets.take_unix_listener(at) {
            Ok(socket) => Ok(socket.map(ListeningSocket::Unix)),
            Err(error) => Err(format!("socket {at} that was passed cannot be served: {error}")),
        }
    }
}

/// Tells the supervisor, if there is one.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states); // it is no reason to stop that nobody listens
}

/// Tells it that something is read again, until [`tell`] says `Ready`.
pub(super) fn tell_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Tells it that the process stops, and when at the latest: else it is killed when `TimeoutStopSec=` is over, and a drain may
/// be asked to take longer. An extension that is shorter than that changes nothing.
pub(super) fn tell_stopping(within_ms: u32) {
    /// For those who answer late, as the unit's `TimeoutStopSec=` is.
    const CLOSING_MS: u64 = 10_000;
    tell(&[NotifyState::Stopping]);
    // In a message of its own, for it is the stopping that sets the time to be extended.
    let usec = (u64::from(within_ms) + CLOSING_MS) * 1_000;
    tell(&[NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={usec}"))]); // the variant for it ends at 71 minutes
}

/// What the supervisor wants to hear from the loop, so that it knows that it turns.
pub(super) struct Watchdog {
    /// Twice as often as it asks for.
    every: Option<Duration>,
    told_at: Instant,
}

impl Watchdog {
    pub(super) fn from_environment() -> Watchdog {
        let every = sd_notify::watchdog_enabled().map(|within| within / 2);
        Watchdog { every, told_at: Instant::now() }
    }

    /// How long the loop may wait.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.every
    }

    /// The loop has turned.
    pub(super) fn turned(&mut self) {
        if let Some(every) = self.every
            && self.told_at.elapsed() >= every / 2
        {
            self.told_at = Instant::now();
            tell(&[NotifyState::Watchdog]);
        }
    }
}

/// What the supervisor shows of a drain: how many are still connected (`systemctl status`).
#[derive(Default)]
pub(super) struct Farewell {
    told: Option<(Instant, usize)>,
}

impl Farewell {
    /// Says so when it has changed, five times a second at most.
    pub(super) fn tell(&mut self, connections: usize) {
        const EVERY: Duration = Duration::from_millis(200);
        if self.told.is_none_or(|(at, told)| told != connections && at.elapsed() >= EVERY) {
            self.told = Some((Instant::now(), connections));
            tell(&[NotifyState::Status(&format!("draining, {connections} connections"))]);
        }
    }
}

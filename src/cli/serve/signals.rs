//! Signals, on a thread of their own: to stop, and to read settings, users and certificates again.

use super::{FAILED, logging::Voice, reload::Reload, supervisor};
use log::Level;
use sd_notify::NotifyState;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use sockeye::Remote;
use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// How the server is stopped.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) remote: Remote,
    /// Within how many milliseconds connections are closed, unless something else is said.
    drain_ms: Arc<AtomicU32>,
}

impl Ending {
    pub(super) fn new(remote: Remote, drain_ms: u32) -> Ending {
        Ending { remote, drain_ms: Arc::new(AtomicU32::new(drain_ms)) }
    }

    pub(super) fn drain_ms(&self) -> u32 {
        self.drain_ms.load(Ordering::Acquire)
    }

    pub(super) fn set_drain_ms(&self, drain_ms: u32) {
        self.drain_ms.store(drain_ms, Ordering::Release);
    }

    /// Stops the server when those who are connected were served for so long.
    pub(super) fn begin(&self, within_ms: u32) {
        supervisor::tell_stopping(within_ms);
        self.remote.drain(within_ms);
    }
}

/// From now on no signal that is listened to ends the process by itself. To be done before anybody can connect, who might
/// send one. SIGHUP ends the process, as it does any, unless there is a file to be read again.
pub(super) fn register(reads_again: bool) -> io::Result<Signals> {
    let signals = Signals::new([SIGINT, SIGTERM])?;
    if reads_again {
        signals.add_signal(SIGHUP)?;
    }
    Ok(signals)
}

/// The first signal to stop stops the server in order, the second one at once.
pub(super) fn listen(
    mut signals: Signals,
    ending: Ending,
    voice: Voice,
    mut reload: Option<Reload>,
) -> io::Result<()> {
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            match (signal, &mut reload) {
                (SIGHUP, Some(reload)) => {
                    supervisor::tell_reloading();
                    reload.read(voice);
                    supervisor::tell(&[NotifyState::Ready]);
                }
                _ if is_stopping => {
                    voice.flush();
                    process::exit(i32::from(FAILED));
                }
                _ => {
                    is_stopping = true;
                    voice.say(
                        Level::Info,
                        format_args!("sockeye: stopping; once more to exit at once"),
                        "stopping",
                        &[("signal", if signal == SIGINT { "SIGINT" } else { "SIGTERM" }.into())],
                    );
                    ending.begin(ending.drain_ms());
                }
            }
        }
    })?;
    Ok(())
}

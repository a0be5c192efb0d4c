//! Signals, on a thread of their own: to stop, and to read the users again.

use super::{FAILED, identities::Reread, logging::Voice, supervisor};
use log::Level;
use sd_notify::NotifyState;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use sockeye::Remote;
use std::{io, process, thread};

/// How the server is stopped.
pub(super) struct Ending {
    pub(super) remote: Remote,
    /// How long those who are connected are served before, in milliseconds.
    pub(super) drain_ms: u32,
}

/// The first signal to stop stops the server in order, the second one at once. SIGHUP ends the process, as it does any,
/// unless there are users to be read again.
pub(super) fn listen(ending: Ending, voice: Voice, reread: Option<Reread>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if reread.is_some() {
        signals.add_signal(SIGHUP)?;
    }
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            match (signal, &reread) {
                (SIGHUP, Some(reread)) => {
                    supervisor::tell_reloading();
                    reread.read(voice);
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
                    supervisor::tell(&[NotifyState::Stopping]);
                    match ending.drain_ms {
                        0 => ending.remote.shutdown(),
                        within_ms => ending.remote.drain(within_ms),
                    }
                }
            }
        }
    })?;
    Ok(())
}

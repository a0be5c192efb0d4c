//! Signals, on a thread of their own: to stop, and to read the users again.

use super::{FAILED, identities::Reread, logging::Voice};
use log::Level;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use sockeye::Remote;
use std::{io, process, thread};

/// From now on no signal that is listened to ends the process by itself. To be done before anybody can connect, who might
/// send one. SIGHUP ends the process, as it does any, unless there are users to be read again.
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
    remote: Remote,
    voice: Voice,
    reread: Option<Reread>,
) -> io::Result<()> {
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            match (signal, &reread) {
                (SIGHUP, Some(reread)) => reread.read(voice),
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
                    remote.shutdown();
                }
            }
        }
    })?;
    Ok(())
}

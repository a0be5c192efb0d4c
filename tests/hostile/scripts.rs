//! All scripts, over the transport that this module is named for.

use crate::peer::Transport;

#[cfg(target_os = "linux")] // measures the server through /proc, as others here do
mod actions;
mod close;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod deflate;
#[cfg(target_os = "linux")]
mod exhaustion;
mod framing;
mod handshake;
#[cfg(target_os = "linux")]
mod hoards;
mod http;
mod keepalive;
#[cfg(target_os = "linux")]
mod rates;
#[cfg(target_os = "linux")]
mod readers;
mod utf8;

/// What these scripts are spoken over.
const OVER: Transport = match module_path!().as_bytes() {
    [.., b':', b':', b'w', b's', b's'] => Transport::Wss,
    _ => Transport::Ws,
};

//! The hostile client: scripted peers that write literal bytes to the server binary over real sockets and say
//! exactly what must come back: the bytes, the close code, the HTTP status, the end of the stream, or nothing.
//!
//! Not a WebSocket client: nothing here knows the protocol beyond what is needed to read an answer.
//! Waits are for events (bytes, the end of the stream, a freed descriptor), never for time to pass, except where
//! the time itself is what is examined. Silence is shown by a barrier: a ping on the same connection or an echo on
//! a neighbour's, sent after the bytes that must not be answered and answered first.
//!
//! Each script is compiled twice, as part of `ws` and of `wss`, and run over both.

#![allow(clippy::duplicate_mod, reason = "each script runs over both transports")]

#[path = "../dialects/client.rs"]
#[allow(dead_code, reason = "the tests of the dialects take more than is wanted here")]
mod client;
#[cfg(target_os = "linux")] // measures the server through /proc, as what is below it does
mod doors;
#[cfg(target_os = "linux")]
mod hellos;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod neighbour;
#[allow(dead_code, reason = "the tests of the dialects take more than is wanted here")]
mod peer;
#[allow(dead_code, reason = "the tests of the dialects take more than is wanted here")]
mod server;
#[cfg(target_os = "linux")]
mod siege;
#[path = "scripts.rs"]
mod ws;
#[path = "scripts.rs"]
mod wss;

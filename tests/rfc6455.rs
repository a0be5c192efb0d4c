//! RFC 6455, one test per MUST, named by its section: literal bytes in, the bytes out, and the silence.
//!
//! §4, §5 and §7 on a [`Connection`](sockeye::Connection) in either role; then the limits, which §10.4 asks for; then
//! what the engine adds for many connections and a handler, and plain HTTP on the same port.

mod duo;

#[path = "rfc6455/closing.rs"]
mod closing;
#[path = "rfc6455/dialling.rs"]
mod dialling;
#[path = "rfc6455/draining.rs"]
mod draining;
#[path = "rfc6455/echo.rs"]
mod echo;
#[path = "rfc6455/edge.rs"]
mod edge;
#[path = "rfc6455/engine.rs"]
mod engine;
#[path = "rfc6455/framing.rs"]
mod framing;
#[path = "rfc6455/handshake_client.rs"]
mod handshake_client;
#[path = "rfc6455/handshake_server.rs"]
mod handshake_server;
#[path = "rfc6455/http.rs"]
mod http;
#[path = "rfc6455/interplay.rs"]
mod interplay;
#[path = "rfc6455/limits.rs"]
mod limits;
#[path = "rfc6455/panicking.rs"]
mod panicking;
#[path = "rfc6455/pressure.rs"]
mod pressure;
#[path = "rfc6455/reload.rs"]
mod reload;
#[path = "rfc6455/statistics.rs"]
mod statistics;

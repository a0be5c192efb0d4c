//! Bytes ⇄ values: the grammar of RFC 6455 and of the HTTP/1.1 it starts with. Pure; keeps no state.
//!
//! Nothing here knows a role, a connection or a limit's default. Judgement is the next layer's.

pub mod close;
pub mod deflate;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod http;
pub mod http_request;
pub mod http_response;
pub mod mask;
pub mod response;
pub mod utf8;

//! The layer above the engine that knows users: so far, who a token is.

pub mod auth;

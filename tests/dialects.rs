//! The dialects, over real sockets against the binary: the transcripts of `tests/vectors/`, and what a transcript
//! cannot say.

#[path = "dialects/client.rs"]
mod client;
#[path = "dialects/load.rs"]
mod load;
#[path = "dialects/loss.rs"]
mod loss;
#[path = "dialects/pattern.rs"]
mod pattern;
#[path = "hostile/peer.rs"]
#[allow(dead_code, reason = "the hostile client's peer can do more than is wanted here")]
mod peer;
#[path = "dialects/play.rs"]
mod play;
#[path = "dialects/proof.rs"]
mod proof;
#[path = "dialects/secrets.rs"]
mod secrets;
#[path = "hostile/server.rs"]
#[allow(dead_code, reason = "the hostile client's server can do more than is wanted here")]
mod server;
#[path = "dialects/transcript.rs"]
mod transcript;
#[path = "dialects/vectors.rs"]
mod vectors;

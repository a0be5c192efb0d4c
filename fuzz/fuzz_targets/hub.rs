//! Several connections of all dialects on one hub: each is sent what a model says, all of it, in that order and nothing
//! else; the hub's books are in order after every step; and nothing is left when all have gone.
//!
//! Input: see `hub/play.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_fuzz::hub::play::play(data));

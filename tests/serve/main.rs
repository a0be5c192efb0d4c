//! `sockeye serve`: what its flags do, who somebody is by them, and what is in the log.

mod flags;
mod identity;
mod log;
mod page;
mod restart;
#[path = "../serving/mod.rs"]
mod serving;
#[path = "../tool/mod.rs"]
mod tool;

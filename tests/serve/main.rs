//! `sockeye serve`: what its flags do, who somebody is by them, and what is in the log.

mod admin;
mod config;
mod edge;
mod flags;
mod health;
mod hook;
mod identity;
mod log;
mod manual;
mod openapi;
mod page;
mod restart;
mod secure;
#[path = "../serving/mod.rs"]
mod serving;
#[path = "../tool/mod.rs"]
mod tool;

//! The command line: what can be asked for, and what the process's exit code says of how it went.

mod serve;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// It ran and ended as asked.
const OK: u8 = 0;
/// It failed while it ran.
const FAILED: u8 = 1;
/// The arguments make no sense. clap exits with the same.
const USAGE: u8 = 2;
/// An address cannot be listened on: `EX_UNAVAILABLE` of sysexits.
const CANNOT_BIND: u8 = 69;

#[derive(Debug, Parser)]
#[command(name = "sockeye", version, about = "A WebSocket server (RFC 6455) on one event loop", after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true, infer_long_args = false, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Tool>,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Serve WebSocket connections (also what happens without a command)
    Serve(Box<serve::Arguments>),
}

const EXIT_CODES: &str = "Without a command it serves on 127.0.0.1:4863.\n\nExit codes: 0 ended as asked, \
                          1 failed while running, 2 arguments make no sense, 69 cannot listen there.";

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    ExitCode::from(match arguments.command {
        None => serve::run(&serve::Arguments::default()),
        Some(Tool::Serve(arguments)) => serve::run(&arguments),
    })
}

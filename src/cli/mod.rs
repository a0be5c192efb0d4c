//! The command line: what can be asked for, and what the process's exit code says of how it went.

mod autobahn;
mod bench;
mod connect;
mod health;
mod manual;
mod serve;
mod text;
mod trust;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::{env, process::ExitCode};

/// It ran and ended as asked.
const OK: u8 = 0;
/// It failed while it ran.
const FAILED: u8 = 1;
/// The arguments make no sense. clap exits with the same.
const USAGE: u8 = 2;
/// An address cannot be listened on: `EX_UNAVAILABLE` of sysexits.
const CANNOT_BIND: u8 = 69;
/// A server cannot be connected to, or does not accept: the same.
const CANNOT_CONNECT: u8 = 69;

#[derive(Debug, Parser)]
#[command(name = "sockeye", version, about = "A WebSocket server (RFC 6455) on one event loop, and tools", after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true, infer_long_args = false, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Tool>,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Serve WebSocket connections (also what happens without a command)
    Serve(Box<serve::Arguments>),
    /// Connect to a server: by hand on a terminal, or as part of a pipe
    Connect(Box<connect::Arguments>),
    /// Run every case of an Autobahn fuzzing server against this client
    Autobahn(autobahn::Arguments),
    /// Measure a WebSocket server under load
    Bench(Box<bench::Arguments>),
    /// Ask a running server whether it is well: for health checks of containers
    Health(health::Arguments),
    /// Say what is wrong with a file of settings, without serving
    CheckConfig(serve::CheckArguments),
    /// Write what a shell needs to complete arguments
    Completions(manual::CompletionArguments),
    /// Write a manual page
    Man(manual::ManArguments),
}

const EXIT_CODES: &str = "Without a command it serves on 127.0.0.1:4863.\n\nExit codes: 0 ended as asked, \
                          1 failed while running, 2 arguments or settings make no sense, 69 cannot listen or connect \
                          there; connect has more, see `sockeye connect --help`.";

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    // Whether the arguments of serve make sense depends on its file and its environment.
    if arguments.get(1).is_none_or(|tool| tool == "serve") {
        return ExitCode::from(serve::run(arguments));
    }
    let parsed = command().try_get_matches_from(&arguments);
    let parsed =
        parsed.and_then(|matches| Arguments::from_arg_matches(&matches)).unwrap_or_else(|error| error.exit());
    ExitCode::from(match parsed.command {
        None | Some(Tool::Serve(_)) => serve::run(arguments),
        Some(Tool::Connect(arguments)) => connect::run(&arguments),
        Some(Tool::Autobahn(arguments)) => autobahn::run(&arguments),
        Some(Tool::Bench(arguments)) => bench::run(&arguments),
        Some(Tool::Health(arguments)) => health::run(&arguments),
        Some(Tool::CheckConfig(arguments)) => serve::check(&arguments),
        Some(Tool::Completions(arguments)) => manual::complete(&arguments),
        Some(Tool::Man(arguments)) => manual::man(&arguments),
    })
}

/// All that can be asked for.
fn command() -> clap::Command {
    Arguments::command().mut_subcommands(|tool| match tool.get_name() {
        "serve" => serve::with_toggles(tool),
        _ => tool,
    })
}

/// A number of bytes: digits, and perhaps KiB, MiB or GiB.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
    let (digits, shift) = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), *shift)))
        .expect("every text ends in nothing");
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("'{text}' is no size: give a number of bytes, such as 65536, 64KiB or 1MiB"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is more than any machine has"))
}

/// As [`bytes`], for what is never more than 4 GiB.
fn bytes_u32(text: &str) -> Result<u32, String> {
    let number = bytes(text)?;
    u32::try_from(number).map_err(|_| format!("{number} bytes are too many: at most {}", u32::MAX))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, bytes) in [("65536", 65_536), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("5GiB", 5 << 30)] {
            assert_eq!(super::bytes(text), Ok(bytes));
        }
        for text in ["", "KiB", "1kb", "-1", "99999999999999999999", "99999999999GiB"] {
            assert!(super::bytes(text).is_err(), "{text}");
        }
    }
}

//! What shells and `man` are told of the binary, made from the definition of its arguments.

use super::{FAILED, OK, USAGE, serve::say};
use clap::{Args, Command};
use clap_complete::Shell;
use std::io::{self, Write as _};

/// `sockeye completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionArguments {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// `sockeye man`.
#[derive(Args, Debug)]
pub(super) struct ManArguments {
    /// One of the commands, such as serve; all of them in short if none is given.
    #[arg(value_name = "COMMAND")]
    tool: Option<String>,
}

/// Writes the completions of a shell to stdout; the exit code.
pub(super) fn complete(arguments: &CompletionArguments) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "sockeye", &mut script);
    put_out(&script)
}

/// Writes a manual page to stdout, in roff; the exit code.
pub(super) fn man(arguments: &ManArguments) -> u8 {
    let mut whole = super::command();
    whole.build();
    let Some(command) = command_of(&mut whole, arguments.tool.as_deref()) else {
        let known: Vec<_> = whole.get_subcommands().map(Command::get_name).collect();
        say(format_args!("sockeye: there is no such command: give {}, or none", known.join(", ")));
        return USAGE;
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).expect("memory takes everything");
    put_out(&page)
}

/// With the name of its page, `sockeye-serve`.
fn command_of(whole: &mut Command, tool: Option<&str>) -> Option<Command> {
    let Some(tool) = tool else { return Some(whole.clone()) };
    let command = whole.find_subcommand_mut(tool)?.clone();
    let name = format!("sockeye-{}", command.get_name());
    Some(command.display_name(name))
}

/// Writes to stdout.
pub(super) fn put_out(bytes: &[u8]) -> u8 {
    match io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()) {
        Ok(()) => OK,
        // As with `| head`: it was enough for the reader.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => OK,
        Err(error) => {
            say(format_args!("sockeye: cannot write: {error}"));
            FAILED
        }
    }
}

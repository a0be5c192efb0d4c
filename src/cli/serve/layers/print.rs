//! Settings in writing, as TOML: those in force, each with who says so, and a reference of all that there are.

use super::{
    Given, Layers, Source,
    table::{Kind, Setting, Table},
};
use crate::cli::text::{escaped, put_json_string};
use std::fmt::Write as _;

impl Layers {
    /// What is in force, as a file that says the same; secrets aside.
    pub(in crate::cli::serve) fn print(&self) -> String {
        let mut out = String::from(
            "# What `sockeye serve` is told: behind each value who says so. Secrets are not shown; what is not set is a comment.\n",
        );
        for section in self.table.sections() {
            let _ = write!(out, "\n[{section}]\n"); // into a string, as all that follow
            for (setting, given) in
                self.table.settings.iter().zip(&self.values).filter(|(s, _)| s.section == section)
            {
                put_line(setting, given, &mut out);
            }
        }
        out
    }
}

fn put_line(setting: &Setting, Given { texts, source }: &Given, out: &mut String) {
    let name = &setting.name;
    let source = escaped(&match source {
        Source::Flag => format!("flag {}", setting.flag()),
        source => source.to_string(),
    });
    let _ = if texts.is_empty() && (*source == *"default" || !setting.is_list) {
        writeln!(out, "#{name} = {} # not set", placeholder(setting))
    } else if setting.is_secret {
        writeln!(out, "#{name} = \"********\" # {source}, not shown")
    } else if let Some((place, _)) =
        texts.first().and_then(|text| text.split_once('?')).filter(|_| name == HOOK_URL)
    {
        writeln!(out, "{name} = {} # {source}, its query not shown", value(setting, &[place.to_owned()]))
    } else {
        writeln!(out, "{name} = {} # {source}", value(setting, texts))
    };
}

/// A URL in whose query there may be a secret.
const HOOK_URL: &str = "hook_url";

/// All that can be set, with what it is, and the defaults.
pub(in crate::cli) fn reference() -> String {
    let table = Table::new();
    let mut out = REFERENCE.to_owned();
    for section in table.sections() {
        let _ = write!(out, "\n[{section}]\n");
        for setting in table.settings.iter().filter(|setting| setting.section == section) {
            out.push('\n');
            put_comment(&sentence(&setting.help()), &mut out);
            let defaults = setting.defaults();
            let _ = match defaults.is_empty() {
                true => writeln!(out, "#{} = {} # not set", setting.name, placeholder(setting)),
                false => writeln!(out, "#{} = {}", setting.name, value(setting, &defaults)),
            };
        }
    }
    out
}

/// How the reference begins.
const REFERENCE: &str = "\
# sockeye.toml: everything that `sockeye serve` can be told, with its default.
# Written by `sockeye check-config --reference`; to use it, take the # off the lines that you change.
#
# It is read by `sockeye serve --config FILE`, or with SOCKEYE_CONFIG=FILE in the environment. Each name is a flag too,
# such as --message-bytes-max, and a variable, SOCKEYE_LIMITS__MESSAGE_BYTES_MAX. A variable hides what is said here, a
# flag both. Sizes are whole numbers of bytes, or strings that end in KiB, MiB or GiB; times are in milliseconds.
";

/// clap takes the last full stop off.
fn sentence(help: &str) -> String {
    let end = if help.ends_with(['.', ']', '!', '?']) || help.is_empty() { "" } else { "." };
    format!("{help}{end}")
}

/// Appends `text` as a comment, in lines of at most [`COLUMNS`].
fn put_comment(text: &str, out: &mut String) {
    let mut column = COLUMNS;
    let mut is_first = true;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column + 1 + width > COLUMNS {
            out.push_str(if is_first { "#" } else { "\n#" });
            (column, is_first) = (1, false);
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + width;
    }
    out.push('\n');
}

const COLUMNS: usize = 118;

/// What stands where a value would.
fn placeholder(setting: &Setting) -> String {
    value(setting, &[setting.placeholder().to_owned()])
}

/// A value in TOML.
fn value(setting: &Setting, texts: &[String]) -> String {
    let mut out = String::new();
    if setting.is_list {
        out.push('[');
    }
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        match (setting.kind, text.parse::<i64>()) {
            (Kind::Toggle, _) => out.push_str(text),
            (Kind::Number, Ok(number)) => {
                let _ = write!(out, "{number}");
            }
            // What JSON escapes, TOML escapes in the same way.
            (Kind::Number | Kind::Text, _) => put_json_string(text, &mut out),
        }
    }
    if setting.is_list {
        out.push(']');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_broken_between_words() {
        let mut out = String::new();
        put_comment(&"word ".repeat(60), &mut out);
        assert!(out.lines().all(|line| line.starts_with("# word") && line.len() <= COLUMNS), "{out}");
        assert_eq!(out.matches("word").count(), 60);
    }
}

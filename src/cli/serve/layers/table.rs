//! What can be set: the flags of `serve`, each by the name that it has in a file and in the environment too.
//!
//! clap's definition of the flags is the only list. A flag that is added there is read from files and the environment,
//! shown, and described in the reference; the parser of its values is the same everywhere.

use crate::cli::serve::secrets::Hidden;
use clap::{
    Arg, ArgAction, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::{any::TypeId, error::Error as _};

/// Sections whose names are not just their headings in the help in lower case. Flags without a section are none of a file.
const SECTIONS: [(&str, Option<&str>); 5] = [
    ("", Some("server")),
    ("Who somebody is", Some("auth")),
    ("Action layer", Some("actions")),
    ("Compression (permessage-deflate)", Some("deflate")),
    (HEADING, None),
];

/// Where the flags stand that say where the others come from.
pub(in crate::cli::serve) const HEADING: &str = "Configuration";

/// Everything that can be set.
pub(in crate::cli::serve) struct Table {
    /// The whole of `serve`.
    command: Command,
    pub(super) settings: Vec<Setting>,
}

/// One thing that can be set.
pub(in crate::cli::serve) struct Setting {
    pub(super) section: String,
    /// Its flag's name, with `_` for `-`.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Whether it may be given several times.
    pub(super) is_list: bool,
    /// Whether its value is shown nowhere.
    pub(super) is_secret: bool,
    arg: Arg,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Toggle,
    Number,
    Text,
}

/// What is wrong with a value.
pub(super) struct Wrong(pub(super) String);

impl Table {
    pub(in crate::cli::serve) fn new() -> Table {
        let mut whole = crate::cli::command();
        let command = whole.find_subcommand_mut("serve").expect("it is defined").clone();
        let settings = command.get_arguments().filter_map(Setting::of).collect();
        Table { command, settings }
    }

    /// Which one has this key, such as `limits.message_bytes_max`.
    pub(in crate::cli::serve) fn find(&self, section: &str, name: &str) -> Option<usize> {
        self.settings.iter().position(|setting| setting.section == section && setting.name == name)
    }

    /// Sections in the order of the help.
    pub(super) fn sections(&self) -> Vec<&str> {
        let mut sections: Vec<&str> = Vec::new();
        for setting in &self.settings {
            if !sections.contains(&setting.section.as_str()) {
                sections.push(&setting.section);
            }
        }
        sections
    }

    /// The same in a file of its own, or what that is the file of: two ways to say one thing.
    pub(super) fn twin(&self, at: usize) -> Option<usize> {
        let Setting { section, name, .. } = &self.settings[at];
        match name.strip_suffix("_file") {
            Some(stem) => self.find(section, stem),
            None => self.find(section, &format!("{name}_file")),
        }
    }

    /// Whether the flag takes these values, by the parser of the flag itself.
    pub(super) fn check(&self, at: usize, texts: &[String]) -> Result<(), Wrong> {
        let setting = &self.settings[at];
        if texts.is_empty() && !setting.defaults().is_empty() {
            return Err(Wrong("it is empty: give one, or leave it out".to_owned()));
        }
        let Err(error) = self.parse(setting, texts) else { return Ok(()) };
        if is_of_others(error.kind()) {
            return Ok(());
        }
        let why = match (error.source(), error.kind()) {
            // A parser of ours says what it expects.
            (Some(source), _) if setting.kind == Kind::Text => return Err(Wrong(source.to_string())),
            (Some(source), _) => source.to_string(),
            (None, ErrorKind::InvalidValue) => "there is no such value".to_owned(),
            (None, kind) => kind.to_string(),
        };
        Err(Wrong(format!("{why} (expected: {})", setting.expected())))
    }

    /// What has to be given with it.
    pub(super) fn needs(&self, at: usize, texts: &[String]) -> Vec<usize> {
        let setting = &self.settings[at];
        let Err(error) = self.parse(setting, setting.asked(texts)) else { return Vec::new() };
        let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
            return Vec::new();
        };
        let is_missing =
            |setting: &Setting| missing.iter().any(|text| text.split(' ').next() == Some(&setting.flag()));
        self.settings.iter().enumerate().filter(|(_, s)| is_missing(s)).map(|(at, _)| at).collect()
    }

    /// As if nothing else was given.
    fn parse(&self, setting: &Setting, texts: &[String]) -> Result<(), clap::Error> {
        let words = texts.iter().map(|text| setting.word(text));
        self.command.clone().try_get_matches_from([String::from("serve")].into_iter().chain(words)).map(drop)
    }
}

/// Whether an error says nothing of the value, but that something else has to be given as well.
fn is_of_others(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict)
}

impl Setting {
    fn of(arg: &Arg) -> Option<Setting> {
        let name = arg.get_long()?.replace('-', "_");
        let section = section(arg.get_help_heading().unwrap_or_default())?;
        let kind = match arg.get_action() {
            ArgAction::Set | ArgAction::Append => kind(arg),
            _ => return None,
        };
        Some(Setting {
            section,
            name,
            kind,
            is_list: matches!(arg.get_action(), ArgAction::Append),
            is_secret: arg.get_value_parser().type_id() == TypeId::of::<Hidden>(),
            arg: arg.clone(),
        })
    }

    /// As in a file: `limits.message_bytes_max`.
    pub(super) fn key(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// As in the environment: `SOCKEYE_LIMITS__MESSAGE_BYTES_MAX`.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}__{}", self.section, self.name).to_ascii_uppercase()
    }

    /// As an argument: `--message-bytes-max`.
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// As an argument with its value.
    pub(super) fn word(&self, text: &str) -> String {
        format!("{}={text}", self.flag())
    }

    /// What of these values is to be an argument: what is off is so anyway, and would stand in the way of others.
    pub(super) fn asked<'t>(&self, texts: &'t [String]) -> &'t [String] {
        if self.kind == Kind::Toggle && texts == ["false"] { &[] } else { texts }
    }

    /// clap's name for it.
    pub(super) fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// What the help says.
    pub(super) fn help(&self) -> String {
        self.arg.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// What stands for the value in the help.
    pub(super) fn placeholder(&self) -> &str {
        self.arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str())
    }

    /// What it is when nobody says anything; nothing: it is not set.
    pub(super) fn defaults(&self) -> Vec<String> {
        self.arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect()
    }

    /// What its value is to be.
    pub(super) fn expected(&self) -> String {
        let possible: Vec<_> =
            self.arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        let one = match self.kind {
            Kind::Toggle => "true or false".to_owned(),
            Kind::Number => match self.placeholder() {
                "BYTES" => "a whole number of bytes, or a string such as \"64KiB\"".to_owned(),
                "MS" => "a whole number of milliseconds".to_owned(),
                _ => "a whole number".to_owned(),
            },
            Kind::Text if !possible.is_empty() => format!("one of {}", possible.join(", ")),
            Kind::Text => format!("a string, {}", self.placeholder()),
        };
        if self.is_list { format!("{one}, or an array of them") } else { one }
    }
}

/// What all variables begin with.
pub(super) const PREFIX: &str = "SOCKEYE_";

fn section(heading: &str) -> Option<String> {
    let named = SECTIONS.iter().find(|(of, _)| *of == heading);
    named.map_or_else(
        || Some(heading.to_ascii_lowercase().replace(' ', "_")),
        |(_, name)| name.map(str::to_owned),
    )
}

fn kind(arg: &Arg) -> Kind {
    let of = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
    ];
    if of == TypeId::of::<bool>() {
        Kind::Toggle
    } else if numbers.into_iter().any(|number| of == number) {
        Kind::Number
    } else {
        Kind::Text
    }
}

/// Flags that are there or not, made ones that may be given as `--flag=false`, so that an argument can undo what a file
/// says.
pub(in crate::cli) fn with_toggles(serve: Command) -> Command {
    serve.mut_args(|arg| {
        let is_set = section(arg.get_help_heading().unwrap_or_default()).is_some();
        if !is_set || !matches!(arg.get_action(), ArgAction::SetTrue) {
            return arg;
        }
        arg.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_name("BOOL")
            .default_value("false")
            .default_missing_value("true")
            .hide_default_value(true)
            .hide_possible_values(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_flag_of_serve_has_a_key_but_those_that_say_where_keys_are() {
        let table = Table::new();
        let known: HashSet<_> = table.settings.iter().map(Setting::id).collect();
        let rest: Vec<_> = table
            .command
            .get_arguments()
            .map(|arg| arg.get_id().as_str())
            .filter(|id| !known.contains(id))
            .collect();
        assert_eq!(rest, ["config", "print_config"]);
        assert!(known.len() >= 60, "{}", known.len());
    }

    #[test]
    fn names_are_those_of_the_flags_and_no_two_are_one() {
        let table = Table::new();
        let keys: HashSet<_> = table.settings.iter().map(Setting::key).collect();
        let variables: HashSet<_> = table.settings.iter().map(Setting::variable).collect();
        assert_eq!((keys.len(), variables.len()), (table.settings.len(), table.settings.len()));
        let at = table.find("limits", "message_bytes_max").unwrap();
        let setting = &table.settings[at];
        assert_eq!(
            (setting.key().as_str(), setting.flag().as_str()),
            ("limits.message_bytes_max", "--message-bytes-max")
        );
        assert_eq!(setting.variable(), "SOCKEYE_LIMITS__MESSAGE_BYTES_MAX");
        for setting in &table.settings {
            let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_plain(&setting.section) && is_plain(&setting.name), "{}", setting.key());
            assert!(!setting.section.contains("__") && !setting.name.contains("__"), "{}", setting.key());
        }
    }

    #[test]
    fn what_may_not_be_seen_is_known() {
        let table = Table::new();
        let secrets: Vec<_> = table.settings.iter().filter(|s| s.is_secret).map(Setting::key).collect();
        assert_eq!(secrets, ["auth.admin_password", "auth.admin_token", "hook.hook_secret"]);
        let (secret, file) =
            (table.find("auth", "admin_password"), table.find("auth", "admin_password_file"));
        assert_eq!((table.twin(secret.unwrap()), table.twin(file.unwrap())), (file, secret));
    }
}

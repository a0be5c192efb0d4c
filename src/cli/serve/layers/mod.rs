//! What `serve` is told, in four layers: the defaults, a file, the environment, the flags. Each hides those before it.
//!
//! What a file and the environment say is put before the arguments as flags, so that clap reads all of it in one way.

mod file;
mod print;
mod table;

pub(super) use self::{
    file::nearest,
    table::{HEADING, Table},
};
pub(in crate::cli) use self::{print::reference, table::with_toggles};

use super::arguments::{Arguments, ConfigArguments};
use clap::{FromArgMatches as _, parser::ValueSource};
use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// What the layers are read from.
#[derive(Clone)]
pub(in crate::cli) struct Inputs {
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
}

impl Inputs {
    /// Those of this process.
    pub(in crate::cli) fn of_the_process(arguments: Vec<OsString>) -> Inputs {
        Inputs { arguments, environment: env::vars_os().collect() }
    }

    /// A file, and nothing else.
    pub(in crate::cli) fn of_file(path: &Path) -> Inputs {
        let arguments = ["sockeye", "serve", "--config"].map(OsString::from);
        Inputs { arguments: arguments.into_iter().chain([path.into()]).collect(), environment: Vec::new() }
    }

    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.iter().find(|(variable, _)| variable == name).map(|(_, value)| value)
    }
}

/// What was given for one setting. Something that is off is as if it were not given, but that it hides.
#[derive(Clone)]
struct Given {
    texts: Vec<String>,
    source: Source,
}

/// Who says so. What is greater hides what is less.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Environment { variable: String },
    Flag,
}

impl Source {
    fn rank(&self) -> u8 {
        match self {
            Source::Default => 0,
            Source::File { .. } => 1,
            Source::Environment { .. } => 2,
            Source::Flag => 3,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Environment { variable } => write!(f, "env {variable}"),
            Source::Flag => f.write_str("flag"),
        }
    }
}

/// Why the layers make no sense.
pub(in crate::cli) enum Unread {
    /// What clap says, of the arguments or of all layers together; also that help is asked for.
    Usage(clap::Error),
    /// What is wrong with the file and the environment.
    Faults(Vec<String>),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Usage(error) => {
                let text = error.render().to_string();
                // What follows the first empty line is how to call it.
                let lines = text.trim_start_matches("error: ").lines().take_while(|line| !line.is_empty());
                f.write_str(&lines.map(str::trim).collect::<Vec<_>>().join(" "))
            }
            Unread::Faults(faults) => f.write_str(&faults.join("; ")),
        }
    }
}

/// Everything that can be set, as it is, and by whom.
pub(in crate::cli) struct Layers {
    table: Table,
    /// One for each of the table; without a text if it is not set.
    values: Vec<Given>,
    pub(super) file: Option<PathBuf>,
}

/// Reads all layers.
pub(in crate::cli) fn read(inputs: &Inputs) -> Result<(Arguments, Layers), Unread> {
    let mut arguments = inputs.arguments.clone();
    if arguments.is_empty() {
        arguments.push("sockeye".into());
    }
    if arguments.len() == 1 {
        arguments.push("serve".into());
    }
    // Only what is in the file can say whether the arguments are all that is needed.
    let lenient = crate::cli::command().mut_subcommand("serve", |serve| serve.ignore_errors(true));
    let matches = lenient.ignore_errors(true).try_get_matches_from(&arguments).map_err(Unread::Usage)?;
    let flags = matches.subcommand_matches("serve");
    let file = flags.and_then(|flags| ConfigArguments::from_arg_matches(flags).ok()?.config);
    let file = file.or_else(|| inputs.variable(CONFIG).filter(|path| !path.is_empty()).map(PathBuf::from));

    let table = Table::new();
    let is_flag = |at: usize| {
        flags.is_some_and(|flags| {
            flags.value_source(table.settings[at].id()) == Some(ValueSource::CommandLine)
        })
    };
    let given = merged(&table, inputs, file.as_deref(), &is_flag).map_err(Unread::Faults)?;
    let words = given.iter().zip(&table.settings).flat_map(|(given, setting)| {
        let texts = given.as_ref().map(|given| setting.asked(&given.texts)).unwrap_or_default();
        texts.iter().map(|text| OsString::from(setting.word(text))).collect::<Vec<_>>()
    });
    arguments.splice(2..2, words.collect::<Vec<_>>());

    let matches = crate::cli::command().try_get_matches_from(&arguments).map_err(Unread::Usage)?;
    let serve = matches.subcommand_matches("serve").expect("this is how it is called");
    let values = table.settings.iter().zip(given).enumerate().map(|(at, (setting, given))| {
        let raw = serve.get_raw(setting.id()).into_iter().flatten();
        let source =
            given.map_or(if is_flag(at) { Source::Flag } else { Source::Default }, |given| given.source);
        Given { texts: raw.map(|text| text.to_string_lossy().into_owned()).collect(), source }
    });
    let values = values.collect();
    let arguments = Arguments::from_arg_matches(serve).map_err(Unread::Usage)?;
    Ok((arguments, Layers { table, values, file }))
}

/// What file and environment say that no flag hides; or all that is wrong with it.
fn merged(
    table: &Table,
    inputs: &Inputs,
    path: Option<&Path>,
    is_flag: &dyn Fn(usize) -> bool,
) -> Result<Vec<Option<Given>>, Vec<String>> {
    let mut faults = Vec::new();
    let mut given: Vec<Option<Given>> = table.settings.iter().map(|_| None).collect();
    let from_file = path.map(|path| file::read(table, path)).unwrap_or_else(|| Ok(Vec::new()));
    for layer in [from_file, environment(table, inputs)] {
        match layer {
            Ok(layer) => layer.into_iter().for_each(|(at, value)| given[at] = Some(value)),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let rank = |given: &[Option<Given>], at: usize| {
        if is_flag(at) {
            Source::Flag.rank()
        } else {
            given[at].as_ref().map_or(0, |given| given.source.rank())
        }
    };
    let is_hidden = |at: usize| {
        let by_twin = table.twin(at).is_some_and(|twin| rank(&given, twin) > rank(&given, at));
        is_flag(at) || by_twin
    };
    let hidden: Vec<_> = (0..given.len()).filter(|&at| is_hidden(at)).collect();
    hidden.into_iter().for_each(|at| given[at] = None);

    for (at, value) in given.iter().enumerate() {
        let Some(Given { texts, source }) = value else { continue };
        for needed in table.needs(at, texts).into_iter().filter(|&needed| rank(&given, needed) == 0) {
            let (key, needed) = (table.settings[at].key(), table.settings[needed].key());
            faults.push(format!("{source}: {key} needs {needed}, which is not given"));
        }
    }
    if faults.is_empty() { Ok(given) } else { Err(faults) }
}

/// What the environment says.
fn environment(table: &Table, inputs: &Inputs) -> Result<Vec<(usize, Given)>, Vec<String>> {
    let (mut given, mut faults) = (Vec::new(), Vec::new());
    for (at, setting) in table.settings.iter().enumerate() {
        let own = setting.variable();
        let names = OLDER.iter().filter(|(_, key)| *key == setting.key()).map(|(name, _)| *name);
        let found =
            [own.as_str()].into_iter().chain(names).find_map(|name| Some((name, inputs.variable(name)?)));
        let Some((name, value)) = found else { continue };
        let Some(value) = value.to_str() else {
            faults.push(format!("{name} is not UTF-8"));
            continue;
        };
        let texts: Vec<_> = match value {
            "" if setting.is_list => Vec::new(),
            _ if setting.is_list => value.split(',').map(|part| part.trim().to_owned()).collect(),
            _ => vec![value.to_owned()],
        };
        match table.check(at, &texts) {
            Ok(()) => {
                given.push((at, Given { texts, source: Source::Environment { variable: name.to_owned() } }))
            }
            Err(wrong) if setting.is_secret => faults.push(format!("{name}: {}", wrong.0)),
            Err(wrong) => faults.push(format!("{name}={}: {}", crate::cli::text::escaped(value), wrong.0)),
        }
    }
    for name in inputs.environment.iter().filter_map(|(name, _)| name.to_str()) {
        let Some((section, key)) = name.strip_prefix(table::PREFIX).and_then(|rest| rest.split_once("__"))
        else {
            continue;
        };
        if !table.settings.iter().any(|setting| setting.variable() == name) {
            let nearest = file::nearest_key(table, &section.to_lowercase(), key);
            let at = table.settings.iter().find(|setting| setting.key() == nearest);
            let nearest = at.map(table::Setting::variable).unwrap_or_default();
            faults.push(format!(
                "{}: there is no such setting: did you mean {nearest}?",
                crate::cli::text::escaped(name)
            ));
        }
    }
    if faults.is_empty() { Ok(given) } else { Err(faults) }
}

impl Layers {
    /// The keys whose values differ.
    pub(super) fn changed(&self, other: &Layers) -> Vec<String> {
        let pairs = self.values.iter().zip(&other.values).zip(&self.table.settings);
        pairs.filter(|((one, other), _)| one.texts != other.texts).map(|(_, setting)| setting.key()).collect()
    }

    /// Has this key's value be that of `other`.
    pub(super) fn take(&mut self, key: &str, other: &Layers) {
        let at = self.table.settings.iter().position(|setting| setting.key() == key);
        if let Some(at) = at {
            self.values[at] = other.values[at].clone();
        }
    }

    /// How many are set by the file.
    pub(super) fn of_the_file(&self) -> usize {
        self.values.iter().filter(|given| matches!(given.source, Source::File { .. })).count()
    }

    /// Where the setting behind a field of the library was set, and by which name, unless by a flag or by default.
    pub(super) fn place_of(&self, field: &str) -> Option<String> {
        // `deflate.level` is `deflate_level`, and a field of the action layer is named as it is.
        let (whole, last) = (field.replace('.', "_"), field.rsplit('.').next().unwrap_or_default());
        let named = |name: &str| self.table.settings.iter().position(|setting| setting.name == name);
        let at = named(&whole).or_else(|| named(last))?;
        let source = &self.values[at].source;
        let is_told = matches!(source, Source::File { .. } | Source::Environment { .. });
        is_told.then(|| format!("{source}: {}", self.table.settings[at].key()))
    }
}

/// Names the file.
const CONFIG: &str = "SOCKEYE_CONFIG";

/// Variables without a section, and the keys that they are.
const OLDER: [(&str, &str); 2] =
    [("SOCKEYE_ADMIN_PASSWORD", "auth.admin_password"), ("SOCKEYE_ADMIN_TOKEN", "auth.admin_token")];

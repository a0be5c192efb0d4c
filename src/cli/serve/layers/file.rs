//! A file of settings: TOML, a table a section. What is wrong with it is told all at once, each with its line.

use super::{
    Given, Source,
    table::{Kind, Setting, Table},
};
use crate::cli::text::escaped;
use std::{fs, path::Path};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// What a file says, by the places of the settings in the table.
pub(super) fn read(table: &Table, path: &Path) -> Result<Vec<(usize, Given)>, Vec<String>> {
    let text = fs::read_to_string(path).map_err(|error| vec![format!("{}: {error}", path.display())])?;
    let mut file = File { table, path, text: &text, given: Vec::new(), faults: Vec::new() };
    match DeTable::parse(&text) {
        Ok(root) => file.take_sections(root.get_ref()),
        Err(error) => {
            let at = error.span().map_or(text.len(), |span| span.start);
            file.fault(line_at(&text, at), &format!("this is no TOML: {}", error.message()));
        }
    }
    if file.faults.is_empty() { Ok(file.given) } else { Err(file.faults) }
}

struct File<'a> {
    table: &'a Table,
    path: &'a Path,
    text: &'a str,
    given: Vec<(usize, Given)>,
    faults: Vec<String>,
}

impl File<'_> {
    fn take_sections(&mut self, root: &DeTable<'_>) {
        for (key, value) in in_order(root) {
            let (name, line) = (key.get_ref(), line_at(self.text, key.span().start));
            if !self.table.sections().contains(&name.as_ref()) {
                let nearest = match value.get_ref().as_table() {
                    Some(_) => format!("[{}]", nearest(name, self.table.sections().into_iter())),
                    None => nearest_key(self.table, "", name),
                };
                self.fault(line, &format!("there is no {}: did you mean {nearest}?", shown(name)));
                continue;
            }
            match value.get_ref().as_table() {
                Some(section) => self.take_section(name, section),
                None => self.fault(line, &format!("{name} is a section: begin it with [{name}]")),
            }
        }
    }

    fn take_section(&mut self, section: &str, entries: &DeTable<'_>) {
        for (key, value) in in_order(entries) {
            let (name, line) = (key.get_ref(), line_at(self.text, key.span().start));
            let Some(at) = self.table.find(section, name) else {
                let nearest = nearest_key(self.table, section, name);
                self.fault(line, &format!("there is no {section}.{}: did you mean {nearest}?", shown(name)));
                continue;
            };
            match self.texts(at, value) {
                Ok(texts) => self
                    .given
                    .push((at, Given { texts, source: Source::File { path: self.path.to_owned(), line } })),
                Err(why) => {
                    let setting = &self.table.settings[at];
                    let value = if setting.is_secret {
                        "…"
                    } else {
                        self.text.get(value.span()).unwrap_or_default()
                    };
                    self.fault(line, &format!("{} = {}: {why}", setting.key(), shown(value)));
                }
            }
        }
    }

    /// A value as the flag would be given it.
    fn texts(&self, at: usize, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
        let setting = &self.table.settings[at];
        let texts = match value.get_ref() {
            DeValue::Array(values) if setting.is_list => {
                values.iter().map(|value| text(setting, value.get_ref())).collect::<Result<_, _>>()?
            }
            value => vec![text(setting, value)?],
        };
        self.table.check(at, &texts).map_err(|wrong| wrong.0)?;
        Ok(texts)
    }

    fn fault(&mut self, line: usize, what: &str) {
        self.faults.push(format!("{}:{line}: {what}", self.path.display()));
    }
}

/// One value, if it is of the type that is wanted.
fn text(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    match (value, setting.kind) {
        (DeValue::Boolean(is_set), Kind::Toggle) => Ok(is_set.to_string()),
        (DeValue::String(text), Kind::Number | Kind::Text) => Ok(text.clone().into_owned()),
        (DeValue::Integer(number), Kind::Number) => {
            match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Ok(number.to_string()),
                // What is wrong with it the flag's parser says.
                Err(_) => Ok(number.as_str().to_owned()),
            }
        }
        _ => Err(format!("this is {} (expected: {})", with_article(value.type_str()), setting.expected())),
    }
}

/// `an integer`, `a string`.
fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// What of the file is shown in an error: on one line, and not much.
fn shown(text: &str) -> String {
    let text = escaped(text);
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Characters of a key or value that an error shows.
const SHOWN_MAX: usize = 64;

/// The key that looks most like this one: in its section, or anywhere if its name is one of another.
pub(super) fn nearest_key(table: &Table, section: &str, name: &str) -> String {
    let name = name.to_lowercase();
    // `level` in `[log]` means `log_level`.
    let with_section = format!("{section}_{name}");
    let far = |setting: &&Setting| {
        let elsewhere = usize::from(setting.section != section);
        let [short, long] =
            [&name, &with_section].map(|name| strsim::damerau_levenshtein(&setting.name, name));
        // A name that is somewhere else letter for letter is nearer than one that is alike here.
        (2 * short.min(long) + elsewhere, setting.name.len())
    };
    table.settings.iter().min_by_key(far).map(Setting::key).unwrap_or_default()
}

/// Which of these names looks most like one that is none of them.
pub(in crate::cli::serve) fn nearest<'n>(name: &str, of: impl Iterator<Item = &'n str>) -> &'n str {
    let name = name.to_lowercase();
    of.min_by_key(|known| strsim::damerau_levenshtein(known, &name)).unwrap_or_default()
}

/// The entries of a table as they stand in the file, so that what is wrong first is told first.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_that_of_the_section_or_the_same_name_elsewhere() {
        let table = Table::new();
        for (section, name, nearest) in [
            ("limits", "mesage_bytes_max", "limits.message_bytes_max"),
            ("limits", "Message_Bytes_Max", "limits.message_bytes_max"),
            ("server", "message_bytes_max", "limits.message_bytes_max"),
            ("", "listen", "server.listen"),
            ("log", "level", "log.log_level"),
            ("deflate", "level", "deflate.deflate_level"),
        ] {
            assert_eq!(nearest_key(&table, section, name), nearest, "{section}.{name}");
        }
    }
}

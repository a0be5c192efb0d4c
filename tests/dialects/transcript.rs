//! The files of `tests/vectors/`: which transcripts are in them. What their lines mean is in `tests/vectors/README.md`.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::{collections::BTreeMap, fmt::Display, fs, path::Path};

/// One line: an object whose fields are taken one by one, so that a misspelt one is noticed.
#[derive(Debug)]
pub struct Line {
    /// Where it stands in its file, from 1.
    pub number: usize,
    fields: BTreeMap<String, Box<RawValue>>,
}

/// A server, and what is said to and by it.
#[derive(Debug)]
pub struct Transcript {
    pub name: String,
    /// The sentences of the specification that it shows.
    pub says: String,
    /// The dialect of each listener; the empty one is not named in the flag.
    pub listen: Vec<String>,
    pub flags: Vec<String>,
    pub variables: BTreeMap<String, String>,
    pub users: Option<String>,
    pub steps: Vec<Line>,
}

/// Flags that every server has unless its transcript has a `zone` or a password of its own.
const FLAGS: [(&str, &str); 2] = [("--zone", "UTC"), ("--admin-password", "secret")];

/// The transcripts of `tests/vectors/NAME.jsonl`.
pub fn load(name: &str) -> Vec<Transcript> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{name}.jsonl"));
    parse(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The transcripts of a text. Empty lines separate, and lines beginning with `//` explain.
pub fn parse(text: &str) -> Vec<Transcript> {
    let mut transcripts: Vec<Transcript> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with("//") {
            continue;
        }
        let number = at + 1;
        let fields =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("line {number}: {error}: {line}"));
        let mut line = Line { number, fields };
        if line.has("transcript") {
            transcripts.push(Transcript::head(&mut line));
            line.finish();
        } else {
            transcripts.last_mut().expect("a transcript begins with its name").steps.push(line);
        }
    }
    transcripts
}

impl Transcript {
    fn head(line: &mut Line) -> Transcript {
        let mut flags: Vec<String> = line.take("serve").unwrap_or_default();
        let own_password = flags.iter().any(|flag| flag == "--admin-password-file")
            || line.has("variables") && line.raw("variables").contains("PASSWORD");
        for (flag, value) in FLAGS {
            let given = flags.iter().any(|given| given == flag);
            let unwanted = own_password && flag == "--admin-password";
            if !given && !unwanted {
                flags.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        Transcript {
            name: line.need("transcript"),
            says: line.need("says"),
            listen: line.take("listen").unwrap_or_else(|| vec![String::new()]),
            flags,
            variables: line.take("variables").unwrap_or_default(),
            users: if line.has("users") { Some(users(line)) } else { None },
            steps: Vec::new(),
        }
    }
}

/// A users file, as it is written, or of these names: the token of `alice` is `token-alice`, her id `u-alice`.
pub fn users(line: &mut Line) -> String {
    if line.raw("users").starts_with('"') {
        return line.need("users");
    }
    let names: Vec<String> = line.need("users");
    let user = |name: &String| {
        format!("[[user]]\ntoken = \"token-{name}\"\nid = \"u-{name}\"\nname = \"{name}\"\ngroup = \"\"\n")
    };
    names.iter().map(user).collect()
}

impl Line {
    pub fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// The field as it is written; it stays.
    #[track_caller]
    pub fn raw(&self, key: &str) -> &str {
        self.fields.get(key).unwrap_or_else(|| self.fault(format_args!("no {key}"))).get()
    }

    /// The field as it is written, if there is one.
    pub fn take_raw(&mut self, key: &str) -> Option<String> {
        self.fields.remove(key).map(|raw| raw.get().to_owned())
    }

    #[track_caller]
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let raw = self.fields.remove(key)?;
        Some(
            serde_json::from_str(raw.get())
                .unwrap_or_else(|error| self.fault(format_args!("{key}: {error}"))),
        )
    }

    #[track_caller]
    pub fn need<T: DeserializeOwned>(&mut self, key: &str) -> T {
        self.take(key).unwrap_or_else(|| self.fault(format_args!("no {key}")))
    }

    /// A name, or several.
    #[track_caller]
    pub fn names(&mut self, key: &str) -> Vec<String> {
        if self.raw(key).starts_with('[') { self.need(key) } else { vec![self.need(key)] }
    }

    /// A copy in which `$#` is a number.
    pub fn numbered(&self, n: usize) -> Line {
        let fields = self.fields.iter().map(|(key, raw)| {
            let text = raw.get().replace("$#", &n.to_string());
            (key.clone(), RawValue::from_string(text).expect("a number does not break JSON"))
        });
        Line { number: self.number, fields: fields.collect() }
    }

    /// Every field has been taken.
    #[track_caller]
    pub fn finish(&self) {
        if let Some(key) = self.fields.keys().next() {
            self.fault(format_args!("{key} means nothing here"));
        }
    }

    #[track_caller]
    fn fault(&self, what: impl Display) -> ! {
        panic!("the transcript itself is wrong in line {}: {what}", self.number)
    }
}

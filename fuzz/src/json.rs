//! JSON as the dialects' targets make it and look at it: a text out of a fuzzer's bytes, and a tree that keeps every
//! member of an object, whereas sockeye keeps none of it.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sockeye::dialect::Bounds;
use std::fmt;

/// A text: bytes below 0x80 stand for themselves, all others for one of `tokens`, so that a mutation of one byte makes
/// another key of the same object.
pub fn text_of(bytes: &[u8], tokens: &[&str]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            0..0x80 => text.push(char::from(byte)),
            _ => text.push_str(tokens[usize::from(byte - 0x80) % tokens.len()]),
        }
    }
    text
}

/// What JSON of any dialect is made of, for [`text_of`].
pub const TOKENS: [&str; 24] = [
    "{\"",
    "\":\"",
    "\",\"",
    "\"}",
    "\":",
    ",\"",
    "[{\"",
    "\"}]",
    "},{\"",
    "\\ud800",
    "\\udc00",
    "\\u0000",
    "\\u0061",
    "\\n",
    "é",
    "𝄞",
    "null",
    "true",
    "1e999",
    "-0",
    "18446744073709551616",
    "\u{1}",
    "\u{feff}",
    "[[[[",
];

/// Bounds as they are by default, or so low that most of them are met.
pub fn bounds(low: bool) -> Bounds {
    match low {
        false => Bounds {
            message_bytes_max: 1 << 20,
            depth_max: 32,
            actions_max: 256,
            name_bytes_max: 1_024,
            recipients_max: 4_096,
        },
        true => Bounds {
            message_bytes_max: 200,
            depth_max: 3,
            actions_max: 2,
            name_bytes_max: 8,
            recipients_max: 2,
        },
    }
}

/// Whether serde_json takes `text` for JSON.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A value. Objects have all their members, in order.
#[derive(Debug)]
pub enum Tree<'a> {
    /// A string, a number, true, false or null, as it was written.
    Scalar(&'a str),
    /// An array.
    List(Vec<Tree<'a>>),
    /// An object.
    Object(Vec<(String, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    /// `None`: it is no JSON, or a key in it cannot be written in UTF-8, or it is deeper than 100 levels.
    pub fn parse(json: &'a str) -> Option<Tree<'a>> {
        let raw: &RawValue = serde_json::from_str(json).ok()?;
        Tree::of(raw.get(), 100)
    }

    fn of(json: &'a str, levels: u32) -> Option<Tree<'a>> {
        if levels == 0 {
            return None;
        }
        Some(match json.as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(json).ok()?;
                let members = members.into_iter();
                let trees = members.map(|(key, raw)| Some((key, Tree::of(raw.get(), levels - 1)?)));
                Tree::Object(trees.collect::<Option<_>>()?)
            }
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
                let trees = elements.into_iter().map(|raw| Tree::of(raw.get(), levels - 1));
                Tree::List(trees.collect::<Option<_>>()?)
            }
            _ => Tree::Scalar(json),
        })
    }

    /// Levels of arrays and objects.
    pub fn depth(&self) -> u32 {
        match self {
            Tree::Scalar(_) => 0,
            Tree::List(elements) => 1 + elements.iter().map(Tree::depth).max().unwrap_or(0),
            Tree::Object(members) => 1 + members.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
        }
    }

    /// The keys of an object, in order.
    ///
    /// # Panics
    /// When it is none.
    pub fn keys(&self) -> Vec<&str> {
        let Tree::Object(members) = self else { panic!("no object: {self:?}") };
        members.iter().map(|(key, _)| key.as_str()).collect()
    }

    /// The last value of a key, whether it is written like `key` or, where `any_case`, only alike.
    pub fn field(&self, key: &str, any_case: bool) -> Option<&Tree<'a>> {
        let Tree::Object(members) = self else { return None };
        let is_it = |name: &str| name == key || (any_case && name.eq_ignore_ascii_case(key));
        members.iter().rev().find(|(name, _)| is_it(name)).map(|(_, value)| value)
    }

    /// What a string says; `None` where this is none, or says what UTF-8 cannot.
    pub fn text(&self) -> Option<String> {
        match self {
            Tree::Scalar(json) => serde_json::from_str(json).ok(),
            _ => None,
        }
    }

    /// What a number is; `None` where this is none.
    pub fn number(&self) -> Option<u64> {
        match self {
            Tree::Scalar(json) => json.parse().ok(),
            _ => None,
        }
    }

    /// The elements of an array.
    ///
    /// # Panics
    /// When it is none.
    pub fn elements(&self) -> &[Tree<'a>] {
        let Tree::List(elements) = self else { panic!("no array: {self:?}") };
        elements
    }

    /// Whether no object, on any level, has a key twice.
    fn has_no_duplicates(&self) -> bool {
        match self {
            Tree::Scalar(_) => true,
            Tree::List(elements) => elements.iter().all(Tree::has_no_duplicates),
            Tree::Object(members) => {
                let mut keys = self.keys();
                keys.sort_unstable();
                keys.windows(2).all(|pair| pair[0] != pair[1])
                    && members.iter().all(|(_, value)| value.has_no_duplicates())
            }
        }
    }
}

/// The tree of what sockeye wrote.
///
/// # Panics
/// When that is no JSON, or a key in it is there twice.
pub fn written(json: &str) -> Tree<'_> {
    let Some(tree) = Tree::parse(json) else { panic!("what was written is no JSON: {json:?}") };
    assert!(tree.has_no_duplicates(), "a key is there twice: {json:?}");
    tree
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Of)
    }
}

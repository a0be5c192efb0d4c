//! JSON that is looked at without a tree: texts and the parts of objects stay where they came, until somebody wants
//! them. Of duplicate keys the last counts.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Whether `text` is JSON, however deep.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Whether arrays and objects stand at most `depth_max` deep in each other. Says nothing of what is no JSON.
pub(crate) fn is_shallow(text: &str, depth_max: u32) -> bool {
    let bytes = text.as_bytes();
    // A count of what opens is a bound on the depth, and all there is to do for nearly every message.
    let opening = bytes.iter().filter(|&&byte| byte == b'[' || byte == b'{').count();
    if opening <= depth_max as usize {
        return true;
    }
    let (mut depth, mut in_string, mut at) = (0u32, false, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            return false;
        }
        at += 1;
    }
    true
}

/// The content of a JSON string; `None` where `raw` is none. A lone surrogate, which JavaScript can send and no UTF-8
/// can hold, becomes U+FFFD.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    if json.starts_with('"') { content(json) } else { None }
}

/// The content of a JSON string, quotes and all.
fn content(json: &str) -> Option<Cow<'_, str>> {
    let inside = &json[1..json.len() - 1];
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str::<Text<'_>>(json).ok().map(|Text(text)| text)
}

/// A number that is a whole one, and not negative.
pub(crate) fn whole(raw: &RawValue) -> Option<u64> {
    let json = raw.get();
    json.parse().ok().or_else(|| {
        let number: f64 = json.parse().ok()?;
        (number >= 0.0 && number <= 2f64.powi(53) && number.fract() == 0.0).then_some(number as u64)
    })
}

/// Whether a value is there and not null.
pub(crate) fn given(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}

/// A string that is borrowed where it has no escapes.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'de>, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
                Ok(Text(String::from_utf8_lossy(bytes)))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(lossy(bytes))))
            }
        }
        // As bytes, because only so are lone surrogates let through.
        deserializer.deserialize_bytes(Of)
    }
}

/// UTF-8 of it, each lone surrogate one U+FFFD.
fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return text;
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                text.push(char::REPLACEMENT_CHARACTER);
                // A surrogate has three bytes: ED, A0 to BF, and one more.
                let is_surrogate = matches!(after, [0xed, 0xa0..=0xbf, _, ..]);
                rest = &after[if is_surrogate { 3 } else { 1 }..];
            }
        }
    }
}

/// The members of an object in the order they came, each key once, with its last value.
#[derive(Clone, Debug, Default)]
pub struct Object<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Takes an object apart; `None` where `json` is none.
    pub(crate) fn parse(json: &'a str) -> Option<Object<'a>> {
        members(json).map(|members| Object(last_of_each(members)))
    }

    /// The value of `key`.
    pub(crate) fn field(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }
}

/// All members of an object, in order; `None` where `json` is none. For who compares keys otherwise than byte by byte:
/// which one is the last says their place.
pub(crate) fn members(json: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    let mut members = Vec::new();
    visit_members(json, &mut |key, value| members.push((key, value))).then_some(members)
}

/// Shows each member of an object, in the order they came and duplicates too, and keeps none; false where `json` is no
/// object, which may turn out behind members that were shown.
pub(crate) fn visit_members<'a>(json: &'a str, visit: &mut dyn FnMut(Cow<'a, str>, &'a RawValue)) -> bool {
    struct Of<'v, 'a>(&'v mut dyn FnMut(Cow<'a, str>, &'a RawValue));
    impl<'a> Visitor<'a> for Of<'_, 'a> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
            // A key is raw, too: as bytes it might hold control characters, and as a string no lone surrogates.
            while let Some(key) = map.next_key::<&RawValue>()? {
                let value = map.next_value()?;
                if let Some(key) = text(key) {
                    (self.0)(key, value);
                }
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Of(visit)).is_ok() && deserializer.end().is_ok()
}

/// Of several members with the same key the last one, where the first one stood.
fn last_of_each<'a, T>(mut members: Vec<(Cow<'a, str>, T)>) -> Vec<(Cow<'a, str>, T)> {
    const FEW: usize = 16;
    if members.len() <= FEW {
        let mut at = 0;
        while at < members.len() {
            match members[..at].iter().position(|(key, _)| *key == members[at].0) {
                Some(first) => members[first].1 = members.remove(at).1,
                None => at += 1,
            }
        }
        return members;
    }
    let mut first: std::collections::HashMap<Cow<'a, str>, usize> = std::collections::HashMap::new();
    let mut kept: Vec<(Cow<'a, str>, T)> = Vec::with_capacity(members.len());
    for (key, value) in members {
        match first.get(&key) {
            Some(&place) => kept[place].1 = value,
            None => {
                first.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

/// The elements of an array; `None` where `json` is none.
pub(crate) fn elements(json: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json).ok()
}

/// Writes a value that a peer sent on to others: compact, and without duplicate keys on any level.
///
/// Recurses as deep as the value is, which the caller has bounded with [`is_shallow`].
pub(crate) fn put_value(raw: &RawValue, out: &mut String) {
    Walk { json: raw.get(), at: 0 }.put(out);
}

/// One way through a value, however deep it is. That it is JSON is known: only where its parts end is looked for.
struct Walk<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    fn put(&mut self, out: &mut String) {
        match self.peek() {
            Some(b'{') => self.put_object(out),
            Some(b'[') => self.put_array(out),
            Some(b'"') => match self.string() {
                // A surrogate may be a lone one, which not every parser takes.
                string if string.contains("\\u") => put_text(&content(string).unwrap_or_default(), out),
                string => out.push_str(string),
            },
            _ => out.push_str(self.take_until(|byte| b",]} \t\r\n".contains(&byte))),
        }
    }

    fn put_array(&mut self, out: &mut String) {
        self.step('[', out);
        loop {
            match self.peek() {
                Some(b']') | None => return self.step(']', out),
                Some(b',') => self.step(',', out),
                Some(_) => self.put(out),
            }
        }
    }

    fn put_object(&mut self, out: &mut String) {
        self.step('{', out);
        let inside = out.len();
        let mut members = Vec::new();
        while let Some(b'"' | b',') = self.peek() {
            if self.json[self.at..].starts_with(',') {
                self.step(',', out);
                continue;
            }
            let (key, start) = (content(self.string()).unwrap_or_default(), out.len());
            put_text(&key, out);
            self.peek();
            self.step(':', out);
            self.put(out);
            members.push((key, start..out.len()));
        }
        let count = members.len();
        let kept = last_of_each(members);
        if kept.len() < count {
            let kept: Vec<&str> = kept.into_iter().map(|(_, place)| &out[place]).collect();
            let kept = kept.join(",");
            out.truncate(inside);
            out.push_str(&kept);
        }
        self.step('}', out);
    }

    /// The next byte that is no white space, which is stepped over.
    fn peek(&mut self) -> Option<u8> {
        self.take_until(|byte| !b" \t\r\n".contains(&byte));
        self.json.as_bytes().get(self.at).copied()
    }

    /// Steps over a sign, and writes it.
    fn step(&mut self, sign: char, out: &mut String) {
        self.at += 1;
        out.push(sign);
    }

    /// The string that begins here, quotes and all.
    fn string(&mut self) -> &'a str {
        let start = self.at;
        self.at += 1;
        loop {
            self.take_until(|byte| byte == b'"' || byte == b'\\');
            match self.json.as_bytes().get(self.at) {
                Some(b'\\') => self.at += 2,
                _ => break,
            }
        }
        self.at += 1;
        &self.json[start..self.at]
    }

    fn take_until(&mut self, is_end: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.json[self.at..];
        let len = rest.bytes().position(is_end).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }
}

/// Writes a JSON string.
pub(crate) fn put_text(text: &str, out: &mut String) {
    out.push('"');
    put_inside(text, out);
    out.push('"');
}

/// Writes the inside of a JSON string. RFC 8259 §7
pub(crate) fn put_inside(text: &str, out: &mut String) {
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => {
                out.push_str(&text[done..at]);
                out.push_str("\\u00");
                for digit in [byte >> 4, byte & 15] {
                    out.push(
                        char::from_digit(u32::from(digit), 16).expect("a hexadecimal digit is below 16"),
                    );
                }
                done = at + 1;
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[done..at]);
        out.push_str(escape);
        done = at + 1;
    }
    out.push_str(&text[done..]);
}

/// Writes a number.
pub(crate) fn put_number(number: u64, out: &mut String) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings_and_up_to_the_limit() {
        assert!(is_shallow("[[[]]]", 3) && !is_shallow("[[[[]]]]", 3));
        assert!(is_shallow("[[],[],{},[[]]]", 3));
        assert!(is_shallow(r#"["[[[[\"[[[[","\\",[]]"#, 2));
        assert!(!is_shallow(r#"["\\",[[]]]"#, 2));
        assert!(!is_shallow(&"[".repeat(1 << 20), 32));
    }

    #[test]
    fn of_duplicate_keys_the_last_value_stands_where_the_first_one_stood() {
        for extra in [0, 40] {
            let others: String = (0..extra).map(|i| format!(r#","k{i}":{i}"#)).collect();
            let text = format!(r#"{{"a":1,"b":2,"\u0061":3{others},"b":4}}"#);
            let object = Object::parse(&text).unwrap();
            let members: Vec<_> = object.0.iter().map(|(key, value)| (&**key, value.get())).collect();
            assert_eq!((members.len(), &members[..2]), (2 + extra, &[("a", "3"), ("b", "4")][..]));
        }
    }

    #[test]
    fn an_object_is_json_to_its_end_and_in_its_keys() {
        for json in [r#"{"a":1}"#, " {\n} ", r#"{"\ud800\u0061":[{}],"":null}"#] {
            assert!(Object::parse(json).is_some(), "{json}");
        }
        for json in [
            "",
            "[]",
            "{\"a\n\":1}",
            "{\"a\0\":1}",
            "{a:1}",
            "{1:1}",
            r#"{"a":1}}"#,
            r#"{"a":1,}"#,
            r#"{"\x":1}"#,
        ] {
            assert!(Object::parse(json).is_none(), "{json}");
        }
    }

    #[test]
    fn strings_go_out_as_they_came_in() {
        let every: String = (0u8..0x80).map(char::from).chain("é€\u{2028}😀".chars()).collect();
        let mut out = String::new();
        put_text(&every, &mut out);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), every);
    }

    #[test]
    fn what_is_sent_on_has_no_duplicate_keys_and_no_lone_surrogates_on_any_level() {
        let json = r#" { "a" : [ {"b":1, "b" : "\ud800x"}, "\u00e9" ], "\udfff":null, "a\u0000":-0.0e+5 } "#;
        let mut out = String::new();
        put_value(serde_json::from_str(json).unwrap(), &mut out);
        assert_eq!(out, "{\"a\":[{\"b\":\"\u{fffd}x\"},\"é\"],\"\u{fffd}\":null,\"a\\u0000\":-0.0e+5}");
    }

    #[test]
    fn what_is_sent_on_is_what_it_was_whatever_it_is() {
        let sent_on = |json: &str| {
            let mut out = String::new();
            put_value(serde_json::from_str(json).unwrap(), &mut out);
            out
        };
        for json in [
            "0",
            "-1.5E+7",
            "true",
            "null",
            r#""""#,
            r#""\\""#,
            r#""\"[,\\\"}:""#,
            "[]",
            "{}",
            r#"[[],{},[0,[1]],"]"]"#,
            r#"{"":{"a":[{}]},"}":"{","\\":null,",:[":[",","é]"]}"#,
        ] {
            assert_eq!(sent_on(json), json);
        }
        let spaced = " { \"a\" : [ 1 , { } , [ ] ] ,\n\"b\"\t:{\"c\":1, \"c\":[2 ]} , \"a\" :\r0 } ";
        assert_eq!(sent_on(spaced), r#"{"a":0,"b":{"c":[2]}}"#);
        let deep = format!("{}[0 , 1]{}", "{\"a\":[".repeat(31), "]}".repeat(31));
        assert_eq!(sent_on(&deep), deep.replace(' ', ""));
    }

    #[test]
    fn whole_numbers_are_whole_and_not_negative() {
        let number = |json| whole(serde_json::from_str::<&RawValue>(json).unwrap());
        assert_eq!((number("0"), number("7.0"), number("1e3")), (Some(0), Some(7), Some(1_000)));
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        for json in ["-1", "0.5", "1e999", "\"1\"", "true", "-1e999"] {
            assert_eq!(number(json), None, "{json}");
        }
        let mut out = String::new();
        for value in [0, 9, 10, u64::MAX] {
            out.clear();
            put_number(value, &mut out);
            assert_eq!(out, value.to_string());
        }
    }
}

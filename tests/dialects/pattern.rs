//! Texts of a transcript: what is written short in a file and long on the wire, JSON in one spelling, and the
//! placeholders of what cannot be known beforehand.

use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

/// What the placeholders of a transcript stood for, by their whole name (`id:alice`), as JSON.
#[derive(Debug, Default)]
pub struct Captures(pub BTreeMap<String, String>);

/// How far a time of the server's may be from ours, in milliseconds.
const CLOCK_MS: u64 = 60_000;

/// Writes out `$(TEXT*N)`: TEXT, N times.
pub fn expand(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("$(") {
        let (inside, tail) = after.split_once(')').expect("$( is closed by )");
        let (unit, count) = inside.rsplit_once('*').expect("$(TEXT*N)");
        out.push_str(before);
        out.push_str(&unit.repeat(count.parse().expect("$(TEXT*N), with a number")));
        rest = tail;
    }
    out + rest
}

/// JSON in one spelling: no white space, strings with no escape that can be helped; order and numbers as they are.
/// Says whether there was white space to remove.
pub fn canonical(text: &str) -> Result<(String, bool), String> {
    serde_json::from_str::<&RawValue>(text).map_err(|error| format!("no JSON ({error}): {}", cut(text)))?;
    let (mut out, mut rest, mut spaced) = (String::with_capacity(text.len()), text, false);
    while let Some(first) = rest.chars().next() {
        let len = if first == '"' { string_len(rest) } else { first.len_utf8() };
        let (token, tail) = rest.split_at(len);
        match first {
            '"' => {
                let string: String =
                    serde_json::from_str(token).map_err(|error| format!("{error} in {}", cut(token)))?;
                out.push_str(&serde_json::to_string(&string).expect("a string is JSON"));
            }
            ' ' | '\t' | '\r' | '\n' => spaced = true,
            _ => out.push(first),
        }
        rest = tail;
    }
    Ok((out, spaced))
}

/// Bytes of the string that `text` begins with.
fn string_len(text: &str) -> usize {
    let mut escaped = true; // The quotation mark that opens it does not close it.
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

impl Captures {
    /// `text` with `"$NAME"` replaced by what the name stands for, where it stands for something.
    pub fn filled(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("\"${name}\""), value))
    }

    /// `actual` is `expected`, both in one spelling. Learns what new placeholders stand for.
    pub fn compare(&mut self, expected: &str, actual: &str) -> Result<(), String> {
        let (mut wanted, mut got) = (expected, actual);
        loop {
            if let Some((name, rest)) = wanted.strip_prefix("\"$").and_then(|rest| rest.split_once('"')) {
                let (value, tail) = first_value(got)?;
                self.hold(name, value).map_err(|fault| format!("{fault}\n  in {}", cut(actual)))?;
                (wanted, got) = (rest, tail);
            } else if let Some(rest) = wanted.strip_prefix("$hhmm") {
                let (minutes, rest) = offset(rest);
                let clock = got.get(..5).unwrap_or_default();
                if !is_clock(clock, minutes) {
                    return Err(format!(
                        "{clock:?} is not the time {minutes} minutes east, in {}",
                        cut(actual)
                    ));
                }
                (wanted, got) = (rest, &got[5..]);
            } else {
                let (first, other) = (wanted.chars().next(), got.chars().next());
                match first {
                    None if other.is_none() => return Ok(()),
                    Some(first) if other == Some(first) => {
                        (wanted, got) = (&wanted[first.len_utf8()..], &got[first.len_utf8()..]);
                    }
                    _ => {
                        let at = actual.len() - got.len();
                        return Err(format!(
                            "heard {}\n  instead {}\n  from byte {at} on: {} instead of {}",
                            cut(actual),
                            cut(expected),
                            cut(got),
                            cut(wanted)
                        ));
                    }
                }
            }
        }
    }

    /// As [`compare`](Self::compare), where the elements of `data` may come in any order.
    pub fn compare_unordered(&mut self, expected: &str, actual: &str) -> Result<(), String> {
        let (before, items, after) = around_data(expected)?;
        let mut fault = String::new();
        for order in orders(items.len()) {
            let data: Vec<_> = order.iter().map(|&at| items[at].as_str()).collect();
            let mut captures = Captures(self.0.clone());
            match captures.compare(&format!("{before}{}{after}", data.join(",")), actual) {
                Ok(()) => {
                    *self = captures;
                    return Ok(());
                }
                Err(error) => fault = error,
            }
        }
        Err(fault)
    }

    /// `value` is what `"$NAME"` may stand for.
    fn hold(&mut self, name: &str, value: &str) -> Result<(), String> {
        let (kind, label) = name.split_once(':').unwrap_or((name, ""));
        let right = match kind {
            "any" => true,
            "string" | "name" => value.starts_with('"') && value.len() > 2,
            "epoch" => value.starts_with('"') && value.len() > 2,
            "number" => value.parse::<f64>().is_ok(),
            "seq" => value.parse::<u64>().is_ok(),
            "id" => value.parse::<u64>().is_ok_and(|id| id.abs_diff(unix_ms()) < CLOCK_MS),
            "time" => value.parse::<u64>().is_ok_and(|time| time.abs_diff(unix_ms()) < CLOCK_MS),
            _ => panic!("there is no placeholder ${kind}"),
        };
        if !right {
            return Err(format!("{} is no ${kind}", cut(value)));
        }
        if label.is_empty() {
            return Ok(());
        }
        let known = self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        if known == value { Ok(()) } else { Err(format!("${name} was {known} and is now {}", cut(value))) }
    }
}

/// The value that `text` begins with, and what comes after it.
fn first_value(text: &str) -> Result<(&str, &str), String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(value)) => Ok((value.get(), &text[values.byte_offset()..])),
        _ => Err(format!("no value where there should be one: {}", cut(text))),
    }
}

/// `expected` around the elements of its `data`, and these.
fn around_data(expected: &str) -> Result<(&str, Vec<String>, &str), String> {
    let at = expected.find("\"data\":[").ok_or("no data to be in any order")? + "\"data\":".len();
    let (array, after) = first_value(&expected[at..])?;
    let items: Vec<Box<RawValue>> = serde_json::from_str(array).map_err(|error| error.to_string())?;
    let before = &expected[..=at];
    let after = &expected[expected.len() - after.len() - 1..];
    Ok((before, items.iter().map(|item| item.get().to_owned()).collect(), after))
}

/// All orders of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    assert!(count <= 5, "the orders of {count} elements are too many");
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(count - 1) {
        for at in 0..count {
            let mut order = shorter.clone();
            order.insert(at, count - 1);
            all.push(order);
        }
    }
    all
}

/// The `+MINUTES` that `text` begins with, if it does.
fn offset(text: &str) -> (u64, &str) {
    let Some(rest) = text.strip_prefix('+') else { return (0, text) };
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    (rest[..len].parse().expect("$hhmm+MINUTES"), &rest[len..])
}

/// Whether it is `clock` now, or was just now, so many minutes east of Greenwich.
fn is_clock(clock: &str, east: u64) -> bool {
    let minute = unix_ms() / 60_000 + east;
    [minute, minute - 1].iter().any(|m| clock == format!("{:02}:{:02}", m / 60 % 24, m % 60))
}

pub fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("1970 is past");
    u64::try_from(now.as_millis()).expect("the year is not that far")
}

/// Text for a human.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(700) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

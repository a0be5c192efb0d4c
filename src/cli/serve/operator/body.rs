//! What a request says beside its path: a JSON object, or a query. Strict: what is not known is an error that names what
//! is nearest to it, and so is what has another type than it should.

use super::problem::Problem;
use crate::cli::serve::layers::nearest;
use serde_json::{Map, Value};
use sockeye::HttpRequest;
use std::{borrow::Cow, ops::RangeInclusive};

/// Whether a body of at most `bytes_max` may come. The engine would say the same of its length, but not in JSON. A body
/// that `is_optional` need not be there. RFC 9112 §6.3
pub(super) fn check_head(
    request: &HttpRequest<'_>,
    bytes_max: u32,
    is_optional: bool,
) -> Result<(), Problem> {
    let is_chunked = request.lines("Transfer-Encoding").next().is_some();
    let mut lengths = request.lines("Content-Length");
    let bytes = match (lengths.next(), lengths.next(), is_chunked) {
        (None, _, false) if is_optional => Some(0),
        (None, ..) => {
            return Err(Problem::new(411, "length_required", "send the body with its Content-Length"));
        }
        (Some(digits), None, false) => whole(digits),
        _ => None,
    };
    let Some(bytes) = bytes else {
        let message = "there is to be one Content-Length, of digits, and no Transfer-Encoding beside it";
        return Err(Problem::new(400, "invalid_length", message));
    };
    if bytes > u64::from(bytes_max) {
        let message =
            format!("a body of {bytes} bytes is too long: at most {bytes_max} (json_message_bytes_max)");
        return Err(Problem::new(413, "too_large", message));
    }
    let kind = request.header("Content-Type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if bytes > 0 && !kind.eq_ignore_ascii_case("application/json") {
        let message = "the body is to be JSON: Content-Type: application/json";
        return Err(Problem::new(415, "unsupported_media_type", message));
    }
    Ok(())
}

fn whole(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let append = |n: u64, digit: &u8| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    is_number.then(|| digits.iter().fold(0, append))
}

/// The fields of an object, all of them known.
#[derive(Debug)]
pub(super) struct Fields {
    map: Map<String, Value>,
    /// The path to the object in front of each name.
    prefix: &'static str,
}

impl Fields {
    /// A body; an empty one has no field.
    pub(super) fn parse(body: &[u8], known: &[&str]) -> Result<Fields, Problem> {
        if body.is_empty() {
            return Ok(Fields { map: Map::new(), prefix: "" });
        }
        let value = serde_json::from_slice(body)
            .map_err(|error| Problem::new(400, "invalid_json", format!("the body is no JSON: {error}")))?;
        match value {
            Value::Object(map) => Fields::of(map, "", known),
            _ => Err(Problem::new(400, "invalid_body", "the body is to be a JSON object")),
        }
    }

    fn of(map: Map<String, Value>, prefix: &'static str, known: &[&str]) -> Result<Fields, Problem> {
        match map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(unknown(prefix, name, known, "unknown_field")),
            None => Ok(Fields { map, prefix }),
        }
    }

    fn name(&self, field: &str) -> String {
        format!("{}{field}", self.prefix)
    }

    fn wrong(&self, field: &str, expected: &str) -> Problem {
        let name = self.name(field);
        Problem::of(&name, "invalid_value", format!("{name} is to be {expected}"))
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.map.contains_key(field)
    }

    /// A text of at most `bytes_max`, if it is there.
    pub(super) fn text(&self, field: &str, bytes_max: u32) -> Result<Option<&str>, Problem> {
        match self.map.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= bytes_max as usize => Ok(Some(text)),
            Some(Value::String(text)) => {
                let (name, len) = (self.name(field), text.len());
                let message = format!("{name} has {len} bytes, and may have {bytes_max}");
                Err(Problem::of(&name, "too_long", message))
            }
            Some(_) => Err(self.wrong(field, "a string")),
        }
    }

    pub(super) fn number(&self, field: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, Problem> {
        let Some(value) = self.map.get(field) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(field, &between(&range))),
        }
    }

    /// An object in it, whose fields are named with `prefix`.
    pub(super) fn object(
        &self,
        field: &str,
        prefix: &'static str,
        known: &[&str],
    ) -> Result<Option<Fields>, Problem> {
        match self.map.get(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Fields::of(map.clone(), prefix, known).map(Some),
            Some(_) => Err(self.wrong(field, "an object")),
        }
    }

    /// Which one of these fields is there.
    pub(super) fn exactly_one<'n>(&self, fields: &[&'n str]) -> Result<&'n str, Problem> {
        let mut given = fields.iter().filter(|field| self.has(field));
        match (given.next(), given.next()) {
            (Some(field), None) => Ok(field),
            (first, second) => {
                let message = format!("give exactly one of {}", fields.join(", "));
                let field = second.or(first).unwrap_or(&fields[0]);
                Err(Problem::of(field, if first.is_some() { "conflict" } else { "missing_field" }, message))
            }
        }
    }
}

/// The parameters of a query, all of them known, each there at most once.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(super) fn parse(query: Option<&'a str>, known: &[&str]) -> Result<Query<'a>, Problem> {
        let mut parameters: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(unknown("", &name, known, "unknown_parameter"));
            }
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(Problem::of(&name, "conflict", format!("{name} is there more than once")));
            }
            parameters.push((name, value));
        }
        Ok(Query(parameters))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(super) fn number(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = whole(text.as_bytes()).and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::of(name, "invalid_value", format!("{name} is to be {}", between(&range)))),
        }
    }
}

fn between(range: &RangeInclusive<u32>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

fn unknown(prefix: &str, name: &str, known: &[&str], code: &'static str) -> Problem {
    let shown: String = name.chars().take(SHOWN_MAX).collect();
    let message = match known {
        [] => format!("there is no {prefix}{shown}, nor any other"),
        known => {
            format!(
                "there is no {prefix}{shown}: did you mean {prefix}{}?",
                nearest(&shown, known.iter().copied())
            )
        }
    };
    Problem::of(&format!("{prefix}{shown}"), code, message)
}

/// Characters of a name that was made up that are said again.
const SHOWN_MAX: usize = 64;

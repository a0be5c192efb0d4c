//! Numbered streams: whoever speaks numbers what it says, and whoever hears it knows what must come next.
//!
//! What is said is `SPEAKER|STREAM|NUMBER|FILLER`. The numbers of one speaker in one stream count from 1 without a gap, and
//! reach each listener in that order, once, from the first that it hears on.

use std::collections::HashMap;

/// What somebody has heard of each stream.
#[derive(Debug, Default)]
pub struct Following {
    last: HashMap<String, u64>,
}

/// A numbered text, taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Said<'a> {
    pub speaker: &'a str,
    pub stream: &'a str,
    pub number: u64,
}

/// How a numbered text is written.
pub fn numbered(speaker: &str, stream: &str, number: u64, filler: &str) -> String {
    format!("{speaker}|{stream}|{number}|{filler}")
}

impl<'a> Said<'a> {
    pub fn parse(text: &'a str) -> Result<Said<'a>, String> {
        let mut parts = text.splitn(4, '|');
        let mut part = || parts.next().ok_or_else(|| format!("a text that nobody says: {}", cut(text)));
        let (speaker, stream, number) = (part()?, part()?, part()?);
        let number = number.parse().map_err(|_| format!("a text without a number: {}", cut(text)))?;
        Ok(Said { speaker, stream, number })
    }
}

impl Following {
    /// The next of a stream: not the one before again, and none left out.
    pub fn hear(&mut self, said: &Said<'_>) -> Result<(), String> {
        let key = format!("{}|{}", said.speaker, said.stream);
        match self.last.insert(key, said.number) {
            Some(before) if before + 1 != said.number => Err(format!(
                "{} says number {} in {} behind number {before}",
                said.speaker, said.number, said.stream
            )),
            _ => Ok(()),
        }
    }

    /// A stream is not listened to any more: it may go on anywhere.
    pub fn forget(&mut self, stream: &str) {
        self.last.retain(|key, _| key.split('|').nth(1) != Some(stream));
    }
}

/// A text for a human, cut short.
pub fn cut(text: &str) -> String {
    let mut end = text.len().min(200);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{:?}{}", &text[..end], if end < text.len() { "…" } else { "" })
}

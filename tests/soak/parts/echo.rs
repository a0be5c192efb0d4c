//! Says anything, of any size, and hears it back, in that order.

use super::Part;
use crate::{dice::Dice, following::cut};
use sockeye::{Message, OwnedMessage};
use std::collections::VecDeque;

pub struct Echo {
    /// By the path, or by what it says first.
    is_told: bool,
    /// Says hardly anything: pings keep the connection.
    is_idle: bool,
    expected: VecDeque<OwnedMessage>,
    pace_ms: usize,
}

/// Messages on their way at a time.
const FLYING_MAX: usize = 40;

impl Echo {
    pub fn new(dice: &mut Dice, is_idle: bool) -> Echo {
        let pace_ms = if is_idle { dice.between(6_000, 15_000) } else { dice.between(20, 300) };
        Echo { is_told: !dice.one_in(4), is_idle, expected: VecDeque::new(), pace_ms }
    }

    fn message(dice: &mut Dice) -> OwnedMessage {
        let len = match dice.below(200) {
            0 => dice.below(600_000),
            1..=10 => dice.below(70_000),
            11..=30 => dice.below(4_000),
            31 => 0,
            _ => dice.below(300),
        };
        let text = dice.filler(len);
        if dice.one_in(2) { OwnedMessage::Text(text) } else { OwnedMessage::Binary(text.into_bytes()) }
    }
}

impl Part for Echo {
    fn target(&self) -> String {
        if self.is_told { "/echo" } else { "/" }.to_owned()
    }

    fn talk(&mut self, dice: &mut Dice, says: &mut Vec<OwnedMessage>) {
        for _ in 0..dice.between(1, 6) {
            if self.expected.len() < FLYING_MAX {
                let message = Echo::message(dice);
                self.expected.push_back(message.clone());
                says.push(message);
            }
        }
    }

    fn hear(&mut self, message: Message<'_>) -> Result<u64, String> {
        match self.expected.pop_front() {
            Some(expected) if expected.as_message() == message => Ok(1),
            Some(expected) => {
                Err(format!("expected {}, and heard {}", show(expected.as_message()), show(message)))
            }
            None => Err(format!("heard what it did not say: {}", show(message))),
        }
    }

    fn waits_for(&self) -> Option<String> {
        let next = self.expected.front()?;
        Some(format!("{} messages, the next is {}", self.expected.len(), show(next.as_message())))
    }

    fn pace_ms(&self) -> usize {
        self.pace_ms
    }

    fn name(&self) -> &'static str {
        if self.is_idle { "idle" } else { "echo" }
    }
}

fn show(message: Message<'_>) -> String {
    match message {
        Message::Text(text) => format!("a text of {} bytes, {}", text.len(), cut(text)),
        Message::Binary(bytes) => {
            format!(
                "{} bytes, {}",
                bytes.len(),
                cut(&String::from_utf8_lossy(&bytes[..bytes.len().min(300)]))
            )
        }
    }
}

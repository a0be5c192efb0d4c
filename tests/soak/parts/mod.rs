//! What an honest visitor says and must hear, one file a dialect. Nothing here knows of connections or time.

mod actions;
mod chat;
mod echo;
pub mod envelope;
mod room;

use crate::dice::Dice;
use sockeye::{Message, OwnedMessage};

/// A visitor's part: what it asks for, says, and holds what it hears against.
pub trait Part {
    /// Path and query of the handshake.
    fn target(&self) -> String;

    /// What it says first.
    fn greet(&mut self, _: &mut Dice, _: &mut Vec<OwnedMessage>) {}

    /// What it says next.
    fn talk(&mut self, dice: &mut Dice, says: &mut Vec<OwnedMessage>);

    /// A message came: how many things of it were held against what had to come, or what is wrong with it.
    fn hear(&mut self, message: Message<'_>) -> Result<u64, String>;

    /// What it still waits for; `None` where all that it said was answered.
    fn waits_for(&self) -> Option<String>;

    /// About how long it is silent between two times that it talks, in milliseconds.
    fn pace_ms(&self) -> usize {
        150
    }

    /// What it is called in the report.
    fn name(&self) -> &'static str;
}

/// Names of channels, groups and rooms there are, less one: few, so that there is company in each.
pub const PLACES: usize = 6;

/// A new visitor, `number` of all, and one after the other of each kind.
pub fn cast(dice: &mut Dice, kind: u64, number: u64) -> Box<dyn Part> {
    match kind % 8 {
        0 | 1 => Box::new(echo::Echo::new(dice, false)),
        2 => Box::new(echo::Echo::new(dice, true)),
        3 | 4 => Box::new(actions::Actions::new(dice, number)),
        5 => Box::new(envelope::Envelope::new(dice, number)),
        6 => Box::new(chat::Chat::new(kind, number)),
        _ => Box::new(room::Room::new(dice, number)),
    }
}

/// Who says numbered things: no two visitors are called the same.
fn speaker(number: u64) -> String {
    format!("h{number}")
}

fn expect_text(message: Message<'_>) -> Result<&str, String> {
    match message {
        Message::Text(text) => Ok(text),
        Message::Binary(bytes) => Err(format!("{} bytes, where only text is sent", bytes.len())),
    }
}

/// Length of what is said besides its number: long enough to be compressed, often.
fn filler(dice: &mut Dice) -> String {
    let len = dice.among(&[0, 10, 40, 100, 300, 700]);
    dice.filler(len)
}

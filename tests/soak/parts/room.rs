//! `room`: what one says goes to all, as it is, its sender included.

use super::{PLACES, Part, filler, speaker};
use crate::{
    dice::Dice,
    following::{Following, Said, numbered},
};
use sockeye::{Message, OwnedMessage};
use std::collections::VecDeque;

pub struct Room {
    speaker: String,
    room: String,
    number: u64,
    /// Its own that it did not hear yet.
    own: VecDeque<OwnedMessage>,
    following: Following,
}

impl Room {
    pub fn new(dice: &mut Dice, number: u64) -> Room {
        let room = format!("r{}", dice.below(PLACES));
        Room {
            speaker: speaker(number),
            room,
            number: 0,
            own: VecDeque::new(),
            following: Following::default(),
        }
    }
}

impl Part for Room {
    fn target(&self) -> String {
        format!("/room/{}", self.room)
    }

    fn talk(&mut self, dice: &mut Dice, says: &mut Vec<OwnedMessage>) {
        self.number += 1;
        let text = numbered(&self.speaker, &self.room, self.number, &filler(dice));
        let message =
            if dice.one_in(3) { OwnedMessage::Binary(text.into_bytes()) } else { OwnedMessage::Text(text) };
        self.own.push_back(message.clone());
        says.push(message);
    }

    fn hear(&mut self, message: Message<'_>) -> Result<u64, String> {
        let text = std::str::from_utf8(message.as_bytes()).map_err(|_| "no text in a room".to_owned())?;
        let said = Said::parse(text)?;
        if said.stream != self.room {
            return Err(format!("is in the room {} and hears of {}", self.room, said.stream));
        }
        self.following.hear(&said)?;
        if said.speaker == self.speaker {
            let own = self.own.pop_front();
            if own.as_ref().map(OwnedMessage::as_message) != Some(message) {
                return Err(format!("said {own:?}, and hears {message:?}"));
            }
        }
        Ok(1)
    }

    fn waits_for(&self) -> Option<String> {
        Some(format!("its own {} messages", self.own.len())).filter(|_| !self.own.is_empty())
    }

    fn name(&self) -> &'static str {
        "room"
    }
}

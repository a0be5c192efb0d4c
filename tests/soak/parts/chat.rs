//! `chat`: takes a name, of which some are wanted by many, and talks to all.

use super::{Part, expect_text, filler, speaker};
use crate::{
    dice::Dice,
    following::{Following, Said, cut, numbered},
};
use serde_json::{Value, json};
use sockeye::{Message, OwnedMessage};
use std::collections::VecDeque;

pub struct Chat {
    speaker: String,
    wanted: String,
    id: Option<u64>,
    /// What it is called, once the server has said so.
    name: Option<String>,
    has_claimed: bool,
    is_named: bool,
    number: u64,
    own: VecDeque<String>,
    pings: usize,
    following: Following,
}

impl Chat {
    pub fn new(kind: u64, number: u64) -> Chat {
        Chat {
            speaker: speaker(number),
            wanted: format!("guest{}-", kind / 8 % 3),
            id: None,
            name: None,
            has_claimed: false,
            is_named: false,
            number: 0,
            own: VecDeque::new(),
            pings: 0,
            following: Following::default(),
        }
    }

    fn hear_message(&mut self, object: &Value) -> Result<(), String> {
        let text = object["text"].as_str().ok_or("a message without text")?;
        let said = Said::parse(text)?;
        self.following.hear(&said)?;
        if said.speaker == self.speaker {
            let own = self.own.pop_front();
            if own.as_deref() != Some(text) {
                return Err(format!("said {own:?}, and hears {}", cut(text)));
            }
            if object["name"].as_str() != self.name.as_deref() {
                return Err(format!("is called {:?}, and is shown as {}", self.name, object["name"]));
            }
        }
        Ok(())
    }
}

impl Part for Chat {
    fn target(&self) -> String {
        "/chat".to_owned()
    }

    fn talk(&mut self, dice: &mut Dice, says: &mut Vec<OwnedMessage>) {
        if !self.is_named {
            // As MDN's client does: its claim has its id in it, by which it knows its own again.
            if let Some(id) = self.id.filter(|_| !std::mem::replace(&mut self.has_claimed, true)) {
                says.push(json!({"type": "username", "name": self.wanted, "id": id}).to_string().into());
            }
            return;
        }
        if dice.one_in(10) {
            self.pings += 1;
            says.push("ping".into());
        }
        self.number += 1;
        let text = numbered(&self.speaker, "chat", self.number, &filler(dice));
        says.push(json!({"type": "message", "text": text}).to_string().into());
        self.own.push_back(text);
    }

    fn hear(&mut self, message: Message<'_>) -> Result<u64, String> {
        let text = expect_text(message)?;
        if text == "pong" {
            self.pings = self.pings.checked_sub(1).ok_or("a pong that nobody asked for")?;
            return Ok(1);
        }
        let object: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {}", cut(text)))?;
        let kind = object["type"].as_str().unwrap_or_default();
        if (kind == "id") != self.id.is_none() {
            return Err(format!("the id comes first, and once, and here came {}", cut(text)));
        }
        match kind {
            "id" => self.id = object["id"].as_u64(),
            "rejectusername" => self.name = object["name"].as_str().map(str::to_owned),
            "username" if object["id"].as_u64() == self.id => {
                let name = object["name"].as_str().unwrap_or_default();
                if !name.starts_with(&self.wanted) || self.name.as_deref().is_some_and(|given| given != name)
                {
                    return Err(format!("wanted the name {}, and got {name}", self.wanted));
                }
                self.name = Some(name.to_owned());
                self.is_named = true;
            }
            "username" => {}
            "userlist" => {
                let users = object["users"].as_array().ok_or("a list without users")?;
                let own = |user: &&Value| user.as_str() == self.name.as_deref();
                if self.is_named && users.iter().filter(own).count() != 1 {
                    return Err(format!("{:?} is not once on the list {}", self.name, cut(text)));
                }
            }
            "message" => self.hear_message(&object)?,
            _ => return Err(format!("nobody sends {}", cut(text))),
        }
        Ok(1)
    }

    fn waits_for(&self) -> Option<String> {
        if self.has_claimed && !self.is_named {
            return Some("its name".to_owned());
        }
        let (own, pings) = (self.own.len(), self.pings);
        (own + pings > 0).then(|| format!("its own {own} messages and {pings} pongs"))
    }

    fn pace_ms(&self) -> usize {
        400
    }

    fn name(&self) -> &'static str {
        "chat"
    }
}

//! `envelope`: talks to its group, to two, to all, to one user, and to all but one; hears what was said before it came.

use super::{PLACES, Part, expect_text, filler, speaker};
use crate::{
    dice::Dice,
    following::{Following, Said, cut, numbered},
};
use serde_json::{Value, json};
use sockeye::{Message, OwnedMessage};
use std::collections::{HashMap, VecDeque};

pub struct Envelope {
    speaker: String,
    group: usize,
    /// Users that were heard, the latest last.
    others: VecDeque<String>,
    numbers: HashMap<String, u64>,
    own: VecDeque<String>,
    following: Following,
}

/// What a stream's name says of who hears it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Audience {
    Group(usize),
    Two(usize, usize),
    All,
    User(String),
    /// All of a group but this user.
    Without(usize, String),
}

impl Audience {
    pub fn stream(&self) -> String {
        match self {
            Audience::Group(group) => format!("g{group}"),
            Audience::Two(one, other) => format!("g{one}+g{other}"),
            Audience::All => "all".to_owned(),
            Audience::User(user) => format!("u-{user}"),
            Audience::Without(group, user) => format!("g{group}-{user}"),
        }
    }

    pub fn parse(stream: &str) -> Option<Audience> {
        let group = |text: &str| text.strip_prefix('g')?.parse().ok();
        Some(match stream.split_once(['+', '-']) {
            None if stream == "all" => Audience::All,
            None => Audience::Group(group(stream)?),
            Some(("u", user)) => Audience::User(user.to_owned()),
            Some((one, other)) if stream.contains('+') => Audience::Two(group(one)?, group(other)?),
            Some((all, user)) => Audience::Without(group(all)?, user.to_owned()),
        })
    }

    fn has(&self, own_group: usize, own_user: &str) -> bool {
        match self {
            Audience::Group(group) => *group == own_group,
            Audience::Two(one, other) => [*one, *other].contains(&own_group),
            Audience::All => true,
            Audience::User(user) => user == own_user,
            Audience::Without(group, user) => *group == own_group && user != own_user,
        }
    }

    /// The message itself.
    pub fn post(&self, text: &str, user: &str) -> Value {
        let group = |group: &usize| json!({"type": "group", "value": format!("g{group}")});
        let recipients = match self {
            Audience::Group(_) => json!([]),
            Audience::Two(one, other) => json!([group(one), group(other)]),
            Audience::All => json!([{"type": "all", "value": ""}]),
            Audience::User(user) => json!([{"type": "user", "value": user}]),
            Audience::Without(all, user) => json!([group(all), {"type": "excludeUser", "value": user}]),
        };
        let group = if let Audience::Group(group) = self { format!("g{group}") } else { String::new() };
        json!({"action": "say", "message": text, "groupId": group, "userId": user, "recipients": recipients})
    }
}

impl Envelope {
    pub fn new(dice: &mut Dice, number: u64) -> Envelope {
        Envelope {
            speaker: speaker(number),
            group: dice.below(PLACES),
            others: VecDeque::new(),
            numbers: HashMap::new(),
            own: VecDeque::new(),
            following: Following::default(),
        }
    }

    fn audience(&self, dice: &mut Dice) -> Audience {
        let others: Vec<String> = self.others.iter().cloned().collect();
        match dice.below(10) {
            0 | 1 => {
                let one = dice.below(PLACES);
                Audience::Two(one, (one + 1 + dice.below(PLACES - 1)) % PLACES)
            }
            2 => Audience::All,
            3 | 4 if !others.is_empty() => Audience::User(dice.among(&others)),
            5 if !others.is_empty() => Audience::Without(self.group, dice.among(&others)),
            _ => Audience::Group(self.group),
        }
    }

    fn follow(&mut self, object: &Value, is_live: bool) -> Result<(), String> {
        let text = object["message"].as_str().ok_or("no message")?;
        let said = Said::parse(text)?;
        let audience = Audience::parse(said.stream).ok_or_else(|| format!("a stream {}", said.stream))?;
        if !audience.has(self.group, &self.speaker) {
            return Err(format!("is {} in g{}, and hears {}", self.speaker, self.group, cut(text)));
        }
        if object["userId"] != *said.speaker {
            return Err(format!("hears of {} as {}", said.speaker, object["userId"]));
        }
        self.following.hear(&said)?;
        if said.speaker == self.speaker {
            let own = self.own.pop_front();
            if own.as_deref() != Some(text) {
                return Err(format!("said {own:?}, and hears {}", cut(text)));
            }
        } else if is_live && said.speaker.starts_with('h') {
            self.others.push_back(said.speaker.to_owned());
            if self.others.len() > 8 {
                self.others.pop_front();
            }
        }
        Ok(())
    }
}

impl Part for Envelope {
    fn target(&self) -> String {
        format!("/envelope?groupid=g{}&userid={}", self.group, self.speaker)
    }

    fn talk(&mut self, dice: &mut Dice, says: &mut Vec<OwnedMessage>) {
        let audience = self.audience(dice);
        let stream = audience.stream();
        let number = self.numbers.entry(stream.clone()).or_insert(0);
        *number += 1;
        let text = numbered(&self.speaker, &stream, *number, &filler(dice));
        says.push(audience.post(&text, &self.speaker).to_string().into());
        if audience.has(self.group, &self.speaker) {
            self.own.push_back(text);
        }
    }

    fn hear(&mut self, message: Message<'_>) -> Result<u64, String> {
        let text = expect_text(message)?;
        let object: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {}", cut(text)))?;
        if object["action"] != "initialmessages" {
            return self.follow(&object, true).map(|()| 1);
        }
        let earlier = object["message"].as_str().unwrap_or_default();
        let earlier: Vec<Value> =
            serde_json::from_str(earlier).map_err(|error| format!("{error}: {}", cut(earlier)))?;
        earlier.iter().try_for_each(|object| self.follow(object, false))?;
        Ok(earlier.len() as u64)
    }

    fn waits_for(&self) -> Option<String> {
        Some(format!("its own {} messages", self.own.len())).filter(|_| !self.own.is_empty())
    }

    fn name(&self) -> &'static str {
        "envelope"
    }
}

//! `actions`: joins channels, comes back to them, and writes there and to users.

use super::{PLACES, Part, expect_text, filler, speaker};
use crate::{
    dice::Dice,
    files::USERS,
    following::{Following, Said, cut, numbered},
};
use serde_json::{Value, json};
use sockeye::{Message, OwnedMessage};
use std::collections::{BTreeMap, HashMap, VecDeque};

pub struct Actions {
    speaker: String,
    /// Which user it authenticates as, if it does.
    user: Option<usize>,
    channels: BTreeMap<String, Membership>,
    /// How far it has counted in each stream.
    numbers: HashMap<String, u64>,
    /// Its own in channels that it did not hear yet.
    own: VecDeque<String>,
    /// A private message that was neither heard nor refused yet: to whom.
    private: Option<usize>,
    /// Answers that are due.
    asked: usize,
    following: Following,
}

#[derive(Clone, Debug)]
enum Membership {
    Joining {
        since: Option<u64>,
    },
    /// The number that the channel's next message must have.
    In {
        next: u64,
        epoch: String,
    },
    Leaving {
        next: u64,
        epoch: String,
    },
    /// It may come back, and wants what it missed.
    Out {
        next: u64,
        epoch: String,
    },
}

/// Own messages on their way at a time.
const FLYING_MAX: usize = 20;

impl Actions {
    pub fn new(dice: &mut Dice, number: u64) -> Actions {
        let user = (!dice.one_in(4)).then(|| dice.below(USERS));
        let joining = Membership::Joining { since: None };
        let channels =
            (0..dice.between(1, 3)).map(|_| (format!("c{}", dice.below(PLACES)), joining.clone())).collect();
        Actions {
            speaker: speaker(number),
            user,
            channels,
            numbers: HashMap::new(),
            own: VecDeque::new(),
            private: None,
            asked: 0,
            following: Following::default(),
        }
    }

    fn next_text(&mut self, dice: &mut Dice, stream: &str) -> String {
        let number = self.numbers.entry(stream.to_owned()).or_insert(0);
        *number += 1;
        numbered(&self.speaker, stream, *number, &filler(dice))
    }

    fn write(&mut self, dice: &mut Dice) -> Option<Value> {
        let is_in = |(name, state): (&String, &Membership)| {
            matches!(state, Membership::In { .. }).then(|| name.clone())
        };
        let channels: Vec<_> = self.channels.iter().filter_map(is_in).collect();
        if channels.is_empty() || self.own.len() >= FLYING_MAX {
            return None;
        }
        let channel = dice.among(&channels);
        let text = self.next_text(dice, &channel);
        let mut action = json!({"action": "message_channel", "channel_name": channel, "message": text});
        if dice.one_in(3) {
            action["id"] = json!({"of": text});
        }
        self.own.push_back(text);
        Some(action)
    }

    fn write_privately(&mut self, dice: &mut Dice) -> Option<Value> {
        let (user, to) = (self.user?, dice.below(USERS));
        if self.private.is_some() || to == user {
            return None;
        }
        self.private = Some(to);
        let text = self.next_text(dice, &format!("pm-u{to}"));
        Some(json!({"action": "message_user", "uuid": format!("u{to}"), "message": text, "id": "private"}))
    }

    /// Leaves one of its channels, or comes back.
    fn move_on(&mut self, dice: &mut Dice) -> Option<Value> {
        let names: Vec<String> = self.channels.keys().cloned().collect();
        let name = dice.among(&names);
        let state = self.channels.get_mut(&name)?;
        match state.clone() {
            Membership::In { next, epoch } => {
                *state = Membership::Leaving { next, epoch };
                Some(json!({"action": "leave_channel", "channel_name": name, "id": ["leave", name]}))
            }
            Membership::Out { next, epoch } => {
                let since = next - 1;
                *state = Membership::Joining { since: Some(since) };
                Some(
                    json!({"action": "join_channel", "channel_name": name, "since": since, "epoch": epoch, "id": "join"}),
                )
            }
            _ => None,
        }
    }

    /// A reply without data: to what.
    fn acknowledged(&mut self, id: &Value) -> Result<(), String> {
        if id == "authenticate" {
            return self.answered();
        }
        let left = (id[0] == "leave").then(|| id[1].as_str()).flatten();
        let state = left.and_then(|name| self.channels.get_mut(name));
        match state {
            Some(state) => match state.clone() {
                Membership::Leaving { next, epoch } => {
                    *state = Membership::Out { next, epoch };
                    Ok(())
                }
                other => Err(format!("is told that it left, and is {other:?}")),
            },
            None => Err(format!("an answer to nothing that it asked, {id}")),
        }
    }

    fn answered(&mut self) -> Result<(), String> {
        self.asked = self.asked.checked_sub(1).ok_or("an answer to nothing that it asked")?;
        Ok(())
    }

    fn joined(&mut self, told: &Value) -> Result<(), String> {
        let name = told["channel_name"].as_str().unwrap_or_default();
        let (seq, epoch) = (told["seq"].as_u64().ok_or("no seq")?, told["epoch"].as_str().ok_or("no epoch")?);
        let Some(state) = self.channels.get_mut(name) else { return Err(format!("never asked for {name}")) };
        let Membership::Joining { since } = *state else { return Err(format!("joins {name} twice")) };
        let is_recovered = told["recovered"].as_bool().ok_or("no recovered")?;
        let next = match since {
            Some(since) if is_recovered => since + 1,
            None if is_recovered => return Err("recovers where nothing was lost".to_owned()),
            _ => {
                self.following.forget(name);
                seq + 1
            }
        };
        *state = Membership::In { next, epoch: epoch.to_owned() };
        Ok(())
    }

    fn hear_said(&mut self, told: &Value, id: Option<&Value>) -> Result<(), String> {
        let channel = told["channel_name"].as_str().unwrap_or_default();
        let (text, seq) = (told["text"].as_str().ok_or("no text")?, told["seq"].as_u64().ok_or("no seq")?);
        let said = Said::parse(text)?;
        let is_own = said.speaker == self.speaker;
        if let Some(ends) = channel.strip_prefix("pm:") {
            let own = self.user.map(|user| format!("u{user}"));
            if !ends.split('+').any(|end| Some(end) == own.as_deref()) {
                return Err(format!("is {own:?}, and hears what is said in {channel}"));
            }
            self.following.hear(&said)?;
            if is_own && self.private.take().is_none() {
                return Err(format!("hears {} twice", cut(text)));
            }
            return Ok(());
        }
        if said.stream != channel {
            return Err(format!("hears in {channel} what was said in {}", said.stream));
        }
        let (next, epoch) = match self.channels.get_mut(channel) {
            Some(Membership::In { next, epoch } | Membership::Leaving { next, epoch }) => (next, epoch),
            other => return Err(format!("hears number {seq} of {channel}, where it is {other:?}")),
        };
        if *next != seq {
            return Err(format!("hears number {seq} of {channel} (epoch {epoch}) where {next} is next"));
        }
        *next += 1;
        self.following.hear(&said)?;
        if is_own {
            let own = self.own.pop_front();
            if own.as_deref() != Some(text) {
                return Err(format!("said {own:?}, and hears {}", cut(text)));
            }
            if let Some(id) = id.filter(|id| id["of"] != *text) {
                return Err(format!("said {}, and hears it as the answer to {id}", cut(text)));
            }
        } else if id.is_some() {
            return Err(format!("hears {} as an answer", cut(text)));
        }
        Ok(())
    }
}

impl Part for Actions {
    fn target(&self) -> String {
        "/actions".to_owned()
    }

    fn greet(&mut self, _: &mut Dice, says: &mut Vec<OwnedMessage>) {
        let mut greeting = Vec::new();
        if let Some(user) = self.user {
            self.asked += 1;
            greeting.push(
                json!({"action": "authenticate", "token": format!("token-{user}"), "id": "authenticate"}),
            );
        }
        for name in self.channels.keys() {
            greeting
                .push(json!({"action": "join_channel", "channel_name": name, "since": null, "id": "join"}));
        }
        says.push(Value::Array(greeting).to_string().into());
    }

    fn talk(&mut self, dice: &mut Dice, says: &mut Vec<OwnedMessage>) {
        let mut actions = Vec::new();
        for _ in 0..dice.between(1, 3) {
            actions.extend(match dice.below(20) {
                0 | 1 => self.move_on(dice),
                2..=5 => self.write_privately(dice),
                6 => {
                    self.asked += 1;
                    Some(json!({"action": "list_channels", "id": "list"}))
                }
                _ => self.write(dice),
            });
        }
        if !actions.is_empty() {
            says.push(Value::Array(actions).to_string().into());
        }
    }

    fn hear(&mut self, message: Message<'_>) -> Result<u64, String> {
        let text = expect_text(message)?;
        let reply: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {}", cut(text)))?;
        let id = reply.get("id");
        if reply["status"] != "ok" {
            // Whom it wrote to has gone: nobody heard it, and its number is free again.
            let to = self.private.filter(|_| id.is_some_and(|id| id == "private"));
            let Some(to) = to else { return Err(format!("is refused: {}", cut(text))) };
            self.private = None;
            if let Some(number) = self.numbers.get_mut(&format!("pm-u{to}")) {
                *number -= 1;
            }
            return Ok(1);
        }
        let data = reply["data"].as_array().ok_or_else(|| format!("no data: {}", cut(text)))?;
        if id.is_some_and(|id| id == "list") {
            self.answered()?;
            return Ok(1);
        }
        if data.is_empty() {
            self.acknowledged(id.unwrap_or(&Value::Null))?;
        }
        let is_join = id.is_some_and(|id| id == "join");
        for told in data {
            match told["action"].as_str().unwrap_or_default() {
                "join_channel" if is_join => self.joined(told)?,
                "new_message" if is_join => self.hear_said(told, None)?,
                "new_message" => self.hear_said(told, id)?,
                _ => return Err(format!("nobody sends {}", cut(text))),
            }
        }
        if let Some(told) = data.first().filter(|_| is_join) {
            let name = told["channel_name"].as_str().unwrap_or_default();
            let is_there = matches!(self.channels.get(name),
                Some(Membership::In { next, .. }) if Some(*next - 1) == told["seq"].as_u64());
            if !is_there {
                return Err(format!("comes back to {name}, and is not told all: {}", cut(text)));
            }
        }
        Ok(data.len().max(1) as u64)
    }

    fn waits_for(&self) -> Option<String> {
        let moving = self
            .channels
            .values()
            .find(|state| matches!(state, Membership::Joining { .. } | Membership::Leaving { .. }));
        let waits = !self.own.is_empty() || self.private.is_some() || self.asked > 0 || moving.is_some();
        waits.then(|| {
            let (own, private, asked) = (self.own.len(), self.private, self.asked);
            format!(
                "its own {own} messages, the private one to {private:?}, {asked} answers, and is {moving:?}"
            )
        })
    }

    fn name(&self) -> &'static str {
        "actions"
    }
}

//! The chat: names, and who has them.

use super::{
    core::{Core, Part},
    gathering::{Seat, Space},
};
use crate::{
    dialect::{Dialect, Object, action::Notice, json},
    engine::{ConnId, Context},
};
use std::collections::{BTreeMap, HashSet};

/// Who is called what in the chat.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In the order in which they came; those without a name are not here.
    by_number: BTreeMap<u64, Box<str>>,
    taken: HashSet<Box<str>>,
    /// How many there were.
    came: u64,
}

impl Names {
    fn of(&self, number: u64) -> &str {
        self.by_number.get(&number).map_or("", |name| name)
    }

    /// Gives somebody the name that is wanted, or where another one has it the same with the smallest number behind it that
    /// nobody has.
    fn give(&mut self, number: u64, wanted: &str) -> &str {
        let own = self.release(number);
        let mut name = Box::from(wanted);
        for suffix in 1u64.. {
            if !self.taken.contains(&name) {
                break;
            }
            name = format!("{wanted}{suffix}").into();
        }
        drop(own);
        self.taken.insert(name.clone());
        self.by_number.entry(number).or_insert(name)
    }

    /// A name is free again.
    fn release(&mut self, number: u64) -> Option<Box<str>> {
        let name = self.by_number.remove(&number)?;
        self.taken.remove(&name);
        Some(name)
    }

    /// All of them, as JSON strings.
    fn put(&self, out: &mut String) {
        for (i, name) in self.by_number.values().enumerate() {
            if i > 0 {
                out.push(',');
            }
            json::put_text(name, out);
        }
    }
}

impl Core {
    /// Somebody has come.
    pub(super) fn enter_chat(&mut self, cx: &mut Context<'_>, id: ConnId) {
        let number = self.started_at(cx) + self.names.came;
        self.names.came += 1;
        if let Some(client) = self.client_mut(id) {
            client.part = Part::Chat(number);
        }
        let set = self.gatherings.find_or_create(Space::Chat, "");
        self.gatherings.join(set, Seat { id, is_admin: false });
        self.tell(cx, id, &Notice::ChatId(number), None);
    }

    /// Somebody is gone, and is no member any more.
    pub(super) fn left_chat(&mut self, cx: &mut Context<'_>, id: ConnId) {
        if let Some(Part::Chat(number)) = self.client(id).map(|client| &client.part) {
            let number = *number;
            self.names.release(number);
        }
        if let Some(set) = self.gatherings.find(Space::Chat, "") {
            self.tell_names(cx, set);
        }
    }

    /// Somebody wants a name.
    pub(super) fn claim(&mut self, cx: &mut Context<'_>, id: ConnId, wanted: &str, object: &Object<'_>) {
        let Some((number, set)) = self.place_in_chat(id) else { return };
        // All names go to all members: that is worth as many actions as there are names.
        let names = self.names.by_number.len();
        if let Some(client) = self.client_mut(id) {
            client.bucket.charge(names);
        }
        let name = self.names.give(number, wanted).to_owned();
        if name != wanted {
            self.tell(cx, id, &Notice::NameTaken { id: number, name: &name }, None);
        }
        self.tell_names(cx, set);
        let notice = Notice::Relayed { object, text: None, id: number, name: Some(&name), sender: &name };
        self.tell_all(cx, set, Dialect::Chat, &notice);
    }

    /// Somebody says something, or has something else relayed.
    pub(super) fn relay(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        object: &Object<'_>,
        text: Option<&str>,
    ) {
        let Some((number, set)) = self.place_in_chat(id) else { return };
        let sender = self.names.of(number).to_owned();
        // What is said is given a name; anything else only where it claims one.
        let name = text.map(|_| &*sender);
        let notice = Notice::Relayed { object, text, id: number, name, sender: &sender };
        self.tell_all(cx, set, Dialect::Chat, &notice);
    }

    fn place_in_chat(&self, id: ConnId) -> Option<(u64, u32)> {
        match self.client(id)?.part {
            Part::Chat(number) => Some((number, self.gatherings.find(Space::Chat, "")?)),
            _ => None,
        }
    }

    fn tell_names(&mut self, cx: &mut Context<'_>, set: u32) {
        let mut names = std::mem::take(&mut self.data);
        names.clear();
        self.names.put(&mut names);
        self.tell_all(cx, set, Dialect::Chat, &Notice::ChatNames(&names));
        self.data = names;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_gets_the_smallest_number_and_a_released_one_is_free() {
        let mut names = Names::default();
        assert_eq!(names.give(1, "Bob"), "Bob");
        assert_eq!(names.give(2, "Bob"), "Bob1");
        assert_eq!(names.give(3, "Bob"), "Bob2");
        assert_eq!(names.give(2, "Bob1"), "Bob1", "one's own name is no clash");
        names.release(2);
        assert_eq!(names.give(4, "Bob"), "Bob1");
        let mut list = String::new();
        names.put(&mut list);
        assert_eq!(list, r#""Bob","Bob2","Bob1""#, "in the order in which they came");
    }
}

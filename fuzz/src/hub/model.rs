//! Who is connected, where they are, and what each is to be sent next.

use super::{channels::Channel, script::Speaks};
use crate::Delivered;
use std::collections::{BTreeMap, BTreeSet};

/// All that is known of the hub from outside.
#[derive(Debug, Default)]
pub struct Model {
    /// By number; those who are gone too.
    pub members: Vec<Member>,
    /// Those that have members.
    pub channels: BTreeMap<&'static str, Channel>,
    /// Who is to hear what, in its order for each.
    hears: BTreeMap<usize, Vec<Hear>>,
    /// Who is to be told of whom: the watcher, what, where, who. In which order is not said.
    pub presence: Vec<(usize, &'static str, &'static str, String)>,
    /// What watchers are told depends on an order that is not said.
    pub disorder: bool,
    /// What is in the histories of groups, perhaps: the group, the message, who is not to hear it.
    pub kept: Vec<(String, String, BTreeSet<String>)>,
}

/// A connection.
#[derive(Debug)]
pub struct Member {
    /// Whether it is still there.
    pub is_open: bool,
    /// How it speaks.
    pub speaks: Speaks,
    /// What its cookie says.
    pub session: &'static str,
    /// `actions`: who it is; `envelope`: who sends what it sends, once that is known.
    pub user: Option<String>,
    /// `envelope`: that was known when it came, and not first when it said something.
    pub is_known: bool,
    /// It is the server's admin.
    pub is_admin: bool,
    /// `envelope`: where it is, and whether its URL said so.
    pub group: (String, bool),
    /// `envelope`: it has sent something.
    pub has_written: bool,
    /// `chat`: its number.
    pub number: u64,
    /// `chat`: its name.
    pub name: String,
}

impl Default for Member {
    /// One of whom nothing is known yet.
    fn default() -> Member {
        Member {
            is_open: true,
            speaks: Speaks::Echo,
            session: "",
            user: None,
            is_known: false,
            is_admin: false,
            group: (String::new(), false),
            has_written: false,
            number: 0,
            name: String::new(),
        }
    }
}

impl Member {
    /// The user's id; empty for the anonymous.
    pub fn uuid(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }
}

/// What somebody is to be sent.
#[derive(Clone, Debug)]
pub enum Hear {
    /// This, byte for byte.
    Exactly(Delivered),
    /// An error without an id.
    Error,
    /// The answer to the action of this id.
    Answer {
        /// Its id.
        id: u64,
        /// Whether it was done.
        ok: bool,
        /// What came of it.
        data: Data,
    },
    /// A `new_message`.
    Said {
        /// It is the answer to the action of this id.
        id: Option<u64>,
        /// Where.
        channel: String,
        /// By whom.
        uuid: String,
        /// What.
        text: String,
        /// Its number, where that is known.
        seq: Option<u64>,
    },
    /// It was taken out of a channel.
    Expelled {
        /// Which.
        channel: String,
        /// Its own.
        uuid: String,
        /// Why.
        reason: &'static str,
    },
    /// A message of the `envelope` dialect.
    Post {
        /// What.
        message: String,
        /// From whom.
        user: String,
        /// To which group.
        group: String,
    },
}

/// What comes of an action.
#[derive(Clone, Debug)]
pub enum Data {
    /// Nothing.
    Nothing,
    /// One object of this action.
    One(&'static str),
    /// Objects of this action, one for each of these users.
    Members(&'static str, Vec<String>),
    /// Channels, and how many are in them.
    Channels(Vec<(String, usize)>),
    /// The end of what was said in a channel.
    Said(String, Vec<String>),
    /// What a channel is, and perhaps all that was missed.
    Joined {
        /// Which.
        channel: String,
        /// All that was said there.
        said: Vec<String>,
        /// The last that is known.
        since: u64,
        /// The epoch that was sent is the channel's.
        is_same: bool,
    },
}

/// A message to groups and users.
#[derive(Clone, Debug)]
pub struct Post {
    /// What it is about.
    pub action: &'static str,
    /// What it says.
    pub message: String,
    /// Its group.
    pub group: &'static str,
    /// Who it says sent it.
    pub user: &'static str,
    /// Kinds and names.
    pub recipients: Vec<(&'static str, &'static str)>,
}

impl Post {
    /// As it is sent.
    pub fn json(&self) -> String {
        let recipients: Vec<String> = self
            .recipients
            .iter()
            .map(|(kind, value)| format!(r#"{{"Type":{kind},"value":"{value}"}}"#))
            .collect();
        format!(
            r#"{{"ACTION":"{}","action":"{}","message":"{}","groupId":"{}","userid":"{}","recipients":[{}]}}"#,
            self.message,
            self.action,
            self.message,
            self.group,
            self.user,
            recipients.join(",")
        )
    }
}

/// Kinds of recipients, in JSON: those that are groups, users, not users, all, and none.
pub const KINDS: [&str; 10] = [
    "\"group\"",
    "1",
    "\"USER\"",
    "2",
    "0",
    "\"allButUser\"",
    "\"ExcludeUser\"",
    "\"all\"",
    "\"nobody\"",
    "3",
];

impl Model {
    /// Somebody is to be sent something.
    pub fn hear(&mut self, of: usize, hear: Hear) {
        if self.members[of].is_open {
            self.hears.entry(of).or_default().push(hear);
        }
    }

    /// What somebody is to have been sent by now.
    pub fn take(&mut self, of: usize) -> Vec<Hear> {
        self.hears.remove(&of).unwrap_or_default()
    }

    /// All who are there and speak so.
    pub fn all(&self, speaks: Speaks) -> Vec<usize> {
        let is_one = |member: &Member| member.is_open && member.speaks == speaks;
        (0..self.members.len()).filter(|&of| is_one(&self.members[of])).collect()
    }

    /// All who speak so are to hear the same.
    pub fn hear_all(&mut self, speaks: Speaks, text: &str) {
        for of in self.all(speaks) {
            self.hear(of, Hear::Exactly(Delivered::Text(text.to_owned())));
        }
    }

    // ------------------------------------------------------------------ envelope

    /// A connection sends a message.
    pub fn post(&mut self, of: usize, post: &Post) {
        let member = &mut self.members[of];
        if !std::mem::replace(&mut member.has_written, true) {
            if member.user.is_none() {
                member.user = Some(post.user.to_owned());
            }
            if !member.group.1 && !post.group.is_empty() {
                member.group.0 = post.group.to_owned();
            }
        }
        let user = member.user.clone().unwrap_or_default();
        if post.action != "initialmessages" {
            self.push(post, &user);
        }
    }

    /// Somebody sends a message, from within or by POST; how many hear it.
    pub fn push(&mut self, post: &Post, user: &str) -> usize {
        let audience = self.audience(post);
        for &of in &audience {
            let (message, user, group) = (post.message.clone(), user.to_owned(), post.group.to_owned());
            self.hear(of, Hear::Post { message, user, group });
        }
        self.keep(post);
        audience.len()
    }

    fn audience(&self, post: &Post) -> Vec<usize> {
        let names = |kinds: &[&str]| post.recipients.iter().any(|(kind, _)| kinds.contains(kind));
        let is_default = !names(&KINDS[..4]) && !names(&KINDS[7..]);
        let hears = |member: &Member| {
            let is_named = post.recipients.iter().any(|(kind, value)| match *kind {
                "\"group\"" | "1" => member.group.0 == *value,
                "\"USER\"" | "2" => !value.is_empty() && member.uuid() == *value,
                "\"all\"" => true,
                _ => false,
            });
            let is_out = post.recipients.iter().any(|(kind, value)| {
                KINDS[4..7].contains(kind) && !value.is_empty() && member.uuid() == *value
            });
            (is_named || (is_default && member.group.0 == post.group)) && !is_out
        };
        self.all(Speaks::Envelope).into_iter().filter(|&of| hears(&self.members[of])).collect()
    }

    fn keep(&mut self, post: &Post) {
        let of = |kinds: &[&str]| -> Vec<&str> {
            let named = post.recipients.iter().filter(|(kind, _)| kinds.contains(kind));
            named.map(|(_, value)| *value).collect()
        };
        let mut groups = of(&KINDS[..2]);
        if !of(&KINDS[2..4]).is_empty() {
            return;
        }
        if groups.is_empty() {
            groups.push(post.group);
        }
        let excluded: BTreeSet<String> = of(&KINDS[4..7]).into_iter().map(str::to_owned).collect();
        for group in groups {
            self.kept.push((group.to_owned(), post.message.clone(), excluded.clone()));
        }
    }

    // ------------------------------------------------------------------ chat

    /// Somebody wants a name.
    pub fn claim(&mut self, of: usize, wanted: &str, date: u8) {
        let is_taken = |name: &str| {
            let mut others = self.all(Speaks::Chat).into_iter().filter(|&other| other != of);
            others.any(|other| self.members[other].name == name)
        };
        let names = std::iter::once(wanted.to_owned()).chain((1..).map(|n| format!("{wanted}{n}")));
        let name = names.into_iter().find(|name| !is_taken(name)).expect("there is no end of numbers");
        let number = self.members[of].number;
        if name != wanted {
            let rejected = format!(r#"{{"type":"rejectusername","id":{number},"name":"{name}"}}"#);
            self.hear(of, Hear::Exactly(Delivered::Text(rejected)));
        }
        self.members[of].name.clone_from(&name);
        self.hear_names();
        let text = format!(r#"{{"type":"username","name":"{name}","id":{number},"date":{date}}}"#);
        self.hear_all(Speaks::Chat, &text);
    }

    /// All in the chat are told who is there.
    pub fn hear_names(&mut self) {
        let names = self.all(Speaks::Chat).into_iter().map(|of| &*self.members[of].name);
        let names: Vec<String> =
            names.filter(|name| !name.is_empty()).map(|name| format!("\"{name}\"")).collect();
        self.hear_all(Speaks::Chat, &format!(r#"{{"type":"userlist","users":[{}]}}"#, names.join(",")));
    }

    // ------------------------------------------------------------------ the end

    /// Somebody is gone.
    pub fn gone(&mut self, of: usize) {
        self.members[of].is_open = false;
        self.hears.remove(&of);
        let names: Vec<&'static str> = self.channels.keys().copied().collect();
        for name in names {
            if self.channels[name].members.iter().any(|(member, _)| *member == of) {
                self.take_out(of, name);
            }
        }
        self.presence.retain(|(watcher, ..)| *watcher != of);
        if self.members[of].speaks == Speaks::Chat {
            self.hear_names();
        }
    }
}

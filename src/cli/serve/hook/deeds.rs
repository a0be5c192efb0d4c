//! What an answer has sent besides its reply.

use serde_json::value::RawValue;
use sockeye::{
    ConnId, Message,
    hub::{HubContext, Person, Post, Recipient, RecipientKind},
};

/// One message, and whom it is for.
#[derive(Debug, PartialEq)]
pub(super) struct Deed {
    pub(super) to: Target,
    pub(super) text: String,
    /// In the `envelope` dialect.
    pub(super) action: String,
    pub(super) from_id: String,
    pub(super) from_name: String,
}

/// Whom a message is for.
#[derive(Debug, PartialEq)]
pub(super) enum Target {
    Channel(String),
    Group(String),
    User(String),
    Room(String),
    Connection(ConnId),
}

impl Deed {
    /// Whoever is not there hears nothing.
    pub(super) fn carry_out(&self, cx: &mut HubContext<'_, '_>) {
        let by = Person { uuid: &self.from_id, username: &self.from_name };
        // Whom recipients of the `envelope` dialect know by an id.
        let sender = if self.from_id.is_empty() { &self.from_name } else { &self.from_id };
        match &self.to {
            Target::Channel(channel) => {
                cx.say(channel, by, &self.text);
            }
            Target::Group(group) => {
                cx.post(&Post::to_group(group, &self.action, &self.text), sender);
            }
            Target::User(user) => {
                // Whoever is known by this name, in whichever dialect: a connection speaks one.
                cx.tell(user, by, &self.text);
                let written: &RawValue =
                    serde_json::from_str("\"user\"").expect("a string without escapes is JSON");
                let recipient = Recipient { kind: RecipientKind::User, written, value: user.as_str().into() };
                let mut post = Post::to_group("", &self.action, &self.text);
                post.recipients.push(recipient);
                cx.post(&post, sender);
            }
            Target::Room(room) => {
                cx.send_to_room(room, Message::Text(&self.text));
            }
            Target::Connection(id) => {
                cx.send(*id, Message::Text(&self.text));
            }
        }
    }
}

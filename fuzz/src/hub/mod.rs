//! A hub as its clients see it: several connections over an engine without sockets, and beside it a model that says,
//! before anything is looked at, what each of them is to be sent.

pub mod channels;
pub mod model;
pub mod play;
pub mod script;
pub mod told;
pub mod world;

use sockeye::{
    Config, ConnId, Now,
    hub::{
        Application, Caller, Hub, HubContext, Place, Settings,
        auth::{Identity, Secret},
    },
};
use std::collections::BTreeSet;

/// Names of users; the token of each is its name.
pub const USERS: [&str; 4] = ["u0", "u1", "u2", "admin"];
/// What the server's admin says.
pub const ADMIN: &str = "admin:sesame";
/// Channels a connection may be in.
pub const CHANNELS_MAX: usize = 2;
/// Actions in a message.
pub const ACTIONS_MAX: usize = 4;

/// An application that knows three users and keeps a book of who is where.
#[derive(Debug, Default)]
pub struct Counting {
    /// Who is where, as far as it was told.
    pub book: BTreeSet<(ConnId, String)>,
}

impl Application for Counting {
    fn authenticate(&mut self, _: Now, token: &str) -> Option<Identity> {
        let is_known = USERS[..3].contains(&token);
        is_known.then(|| Identity {
            uuid: token.to_owned(),
            name: format!("<{token}>"),
            group: String::new(),
        })
    }

    fn on_join(&mut self, _: &mut HubContext<'_, '_>, caller: &Caller<'_>, place: Place<'_>) {
        assert!(self.book.insert((caller.id, format!("{place:?}"))), "{} joined {place:?} twice", caller.id);
    }

    fn on_leave(&mut self, _: &mut HubContext<'_, '_>, caller: &Caller<'_>, place: Place<'_>) {
        let was_there = self.book.remove(&(caller.id, format!("{place:?}")));
        assert!(was_there, "{} left {place:?} and was not there", caller.id);
    }
}

/// A hub and what its engine is configured with. Histories are short or none; of all else there is enough.
pub fn hub(keeps: bool) -> (Config, Hub<Counting>) {
    let mut config = Hub::config("");
    config.keepalive.ping_after_ms = 0;
    let limits = &mut config.limits.actions;
    limits.channels_per_connection_max = CHANNELS_MAX as u32;
    limits.actions_per_message_max = ACTIONS_MAX as u32;
    limits.history_messages_max = if keeps { 3 } else { 0 };
    limits.history_total_messages_max = 8;
    limits.history_age_ms_max = 60_000;
    let settings = Settings { admin_password: Secret::new("sesame"), ..Settings::default() };
    let hub = Hub::with(&config, settings, Counting::default());
    (config, hub)
}

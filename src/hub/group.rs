//! Groups and users of the `envelope` dialect: who hears a message, and what newcomers are told.

use super::{
    Done, Hub, Outcome,
    application::{Application, Caller, EnvelopeMessage, HubContext, Place},
    core::{Core, Correspondent, Part},
    gathering::{Seat, Space},
    pending::{After, Decision, Handling, Owed, OwnedPlace, Ticket},
};
use crate::{
    conn::Message,
    dialect::{
        Dialect,
        action::{Notice, Post, Problem, RecipientKind},
        envelope::INITIAL_MESSAGES,
    },
    engine::{ConnId, Context, Fanout},
};

impl<A: Application> Hub<A> {
    /// A connection takes its place: in the group that its URL names, or in the one without a name. Where a first message
    /// decided on the dialect, what was said before is told when that has said which group it is.
    pub(super) fn enter_groups(&mut self, cx: &mut Context<'_>, id: ConnId, has_written: bool) {
        if self.core.enters_later(id) {
            return; // when it is known who it is
        }
        let everybody = self.core.gatherings.find_or_create(Space::Everybody, "");
        self.core.gatherings.join(everybody, Seat { id, is_admin: false });
        let Some(correspondent) = self.core.correspondent(id) else { return };
        correspondent.is_greeted = !has_written;
        let (group, user) = (correspondent.group.clone().unwrap_or_default(), correspondent.user.clone());
        let session = correspondent.session.take();
        if let Some(client) = self.core.client_mut(id) {
            client.user = session;
        }
        if let Some(user) = user {
            self.core.go_by(id, &user);
        }
        let entry = Entry { name: &group, greets: !has_written, moves: false };
        if self.enter_group(cx, id, &entry) == Entered::Yes && !has_written {
            self.core.tell_earlier(cx, id);
        }
    }

    /// A message came, in this text.
    pub(super) fn posted<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        post: &Post<'_>,
        json: &str,
    ) -> Outcome<'a> {
        let entered = self.introduce(cx, id, post);
        if entered == Entered::Later {
            return Ok(Done::Held);
        }
        let asks = post.action.eq_ignore_ascii_case(INITIAL_MESSAGES);
        let Some(correspondent) = self.core.correspondent(id) else { return Ok(Done::Answered) };
        let is_greeted = std::mem::replace(&mut correspondent.is_greeted, true);
        if entered == Entered::Yes || asks || !is_greeted {
            self.core.tell_earlier(cx, id);
        }
        if asks {
            return Ok(Done::Answered);
        }
        let (caller, message) = (self.core.caller(id), Message::Text(&post.message));
        let may_send = |group| self.application.may_send(&caller, Place::Group(group), message);
        if !groups_of(post).into_iter().all(may_send) {
            self.core.counters.ignored += 1;
            return Ok(Done::Answered);
        }
        let ticket = self.core.ticket(id)?;
        match self.show(cx, id, post, json, ticket) {
            Handling::Distribute => self.core.distribute(cx, id, post),
            Handling::Taken => {}
            Handling::Error(why) => return Err(Problem::Other(why.into())),
            Handling::Later => self.core.owe(cx, ticket, Owed::Post { text: json.into() }),
        }
        Ok(Done::Answered)
    }

    /// Shows a message to the application.
    fn show(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        post: &Post<'_>,
        json: &str,
        ticket: Ticket,
    ) -> Handling {
        let user = self.core.client(id).and_then(|client| client.user.clone());
        let caller = Caller { user: user.as_deref(), ..self.core.caller(id) };
        let sender = self.core.correspondent(id).and_then(|correspondent| correspondent.user.take());
        let message = EnvelopeMessage { post, sender: sender.as_deref().unwrap_or_default(), json };
        let mut context = HubContext { core: &mut self.core, cx };
        let handling = self.application.on_envelope(&mut context, &caller, &message, ticket);
        if let Some(correspondent) = self.core.correspondent(id) {
            correspondent.user = sender;
        }
        handling
    }

    /// The first message says what the URL did not. Whether the connection is in another group now.
    fn introduce(&mut self, cx: &mut Context<'_>, id: ConnId, post: &Post<'_>) -> Entered {
        let Some(correspondent) = self.core.correspondent(id) else { return Entered::No };
        if std::mem::replace(&mut correspondent.has_written, true) {
            return Entered::No;
        }
        let names_group = correspondent.group.is_none() && !post.group.is_empty();
        if correspondent.user.is_none() {
            let user: Box<str> = (*post.user).into();
            correspondent.user = Some(user.clone());
            self.core.go_by(id, &user);
        }
        if !names_group {
            return Entered::No;
        }
        let before: Vec<_> = self.core.gatherings.of(id, Space::Group).collect();
        let entered = self.enter_group(cx, id, &Entry { name: &post.group, greets: false, moves: true });
        for set in before.into_iter().filter(|_| entered == Entered::Yes) {
            let name = self.core.gatherings.get(set).name.clone();
            self.core.gatherings.leave(set, id);
            self.left(cx, id, Place::Group(&name));
        }
        entered
    }

    fn enter_group(&mut self, cx: &mut Context<'_>, id: ConnId, entry: &Entry<'_>) -> Entered {
        let &Entry { name, greets, moves } = entry;
        let ticket = self.core.first_ticket(id);
        let place = Place::Group(name);
        let decision = match self.core.has_room_for(name) {
            true => self.ask_join(cx, id, place, ticket),
            false => Decision::Now(false),
        };
        match decision {
            Decision::Now(true) => {
                self.core.take_group(id, name);
                self.joined(cx, id, place);
                Entered::Yes
            }
            Decision::Now(false) => {
                self.core.counters.refused += 1;
                Entered::No
            }
            Decision::Failed(why) => {
                self.core.answer(cx, id, Err(Problem::Other(why.into())), None);
                Entered::No
            }
            Decision::Later => {
                self.core.owe(cx, ticket, Owed::Group { name: name.into(), greets, moves });
                Entered::Later
            }
        }
    }
}

/// A group that is to be entered.
struct Entry<'a> {
    name: &'a str,
    /// It is told then what was said before, if the answer comes later.
    greets: bool,
    /// From the group that it was in before.
    moves: bool,
}

/// What became of that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Entered {
    Yes,
    No,
    Later,
}

impl Core {
    /// What this dialect knows of a connection.
    pub(super) fn correspondent(&mut self, id: ConnId) -> Option<&mut Correspondent> {
        let client = self.client_mut(id)?;
        if !matches!(client.part, Part::Envelope(_)) {
            client.part = Part::Envelope(Correspondent::default());
        }
        match &mut client.part {
            Part::Envelope(correspondent) => Some(correspondent),
            _ => None,
        }
    }

    /// Whether there is a group of this name, or may be one more.
    fn has_room_for(&self, group: &str) -> bool {
        self.gatherings.find(Space::Group, group).is_some()
            || self.gatherings.count(Space::Group) < self.limits.channels_max as usize
    }

    fn take_group(&mut self, id: ConnId, name: &str) {
        let set = self.gatherings.find_or_create(Space::Group, name);
        self.gatherings.join(set, Seat { id, is_admin: false });
    }

    /// The application has allowed it.
    pub(super) fn enter_group_late(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        name: &str,
        greets: bool,
        moves: bool,
    ) {
        if !self.has_room_for(name) {
            self.counters.refused += 1;
            return;
        }
        let before: Vec<_> = self.gatherings.of(id, Space::Group).collect();
        self.take_group(id, name);
        self.after.push_back(After::Joined(id, OwnedPlace::Group(name.into())));
        for set in before.into_iter().filter(|_| moves) {
            let name = self.gatherings.get(set).name.clone();
            self.gatherings.leave(set, id);
            self.after.push_back(After::Left(id, OwnedPlace::Group((*name).into())));
        }
        if greets {
            self.tell_earlier(cx, id);
        } else if let Some(correspondent) = self.correspondent(id).filter(|_| moves) {
            correspondent.is_greeted = false; // the message that waits will see to it
        }
    }

    /// From now on a connection hears what is sent to `user`.
    fn go_by(&mut self, id: ConnId, user: &str) {
        let is_full = self.gatherings.count(Space::Person) >= self.limits.channels_max as usize;
        if !user.is_empty() && !is_full {
            let set = self.gatherings.find_or_create(Space::Person, user);
            self.gatherings.join(set, Seat { id, is_admin: false });
        }
    }

    /// Tells somebody what was said in its group before, if there is any of that.
    fn tell_earlier(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.gatherings.expire(cx.now().unix_ms);
        let Some(set) = self.gatherings.of(id, Space::Group).next() else { return };
        let user =
            self.correspondent(id).and_then(|correspondent| correspondent.user.clone()).unwrap_or_default();
        let mut posts = String::new();
        for json in self.gatherings.get(set).history.heard_by(&user) {
            if !posts.is_empty() {
                posts.push(',');
            }
            posts.push_str(json);
        }
        if !posts.is_empty() {
            let group = self.gatherings.get(set).name.clone();
            self.tell(cx, id, &Notice::Earlier { group: &group, posts: &posts }, None);
        }
    }

    /// Sends a connection's message to whom it is for.
    pub(super) fn distribute(&mut self, cx: &mut Context<'_>, id: ConnId, post: &Post<'_>) {
        let user = self.correspondent(id).and_then(|correspondent| correspondent.user.take());
        self.post(cx, post, user.as_deref().unwrap_or_default());
        if let Some(correspondent) = self.correspondent(id) {
            correspondent.user = user;
        }
    }

    /// Sends a message to whom it is for, and keeps it for those who come later.
    pub(super) fn post(&mut self, cx: &mut Context<'_>, post: &Post<'_>, user: &str) -> Fanout {
        let mut text = std::mem::take(&mut self.data);
        text.clear();
        Dialect::Envelope.encode(&Notice::Post { post, user }, None, &mut text);
        let audience = self.audience(post);
        let fanout = match &audience {
            Audience::Set(set) => cx.broadcast(self.gatherings.ids(*set), text.as_str()),
            Audience::Ids(ids) => cx.broadcast(ids.iter().copied(), text.as_str()),
            Audience::Nobody => Fanout::default(),
        };
        self.keep_post(post, cx.now().unix_ms, &text);
        self.data = text;
        fanout
    }

    fn audience(&self, post: &Post<'_>) -> Audience {
        let of = |kind, space| {
            let recipients = post.recipients.iter().filter(move |recipient| recipient.kind == kind);
            recipients.filter_map(move |recipient| self.gatherings.find(space, &recipient.value))
        };
        let has = |kind| post.recipients.iter().any(|recipient| recipient.kind == kind);
        let is_named = has(RecipientKind::Group) || has(RecipientKind::User) || has(RecipientKind::All);
        let mut sets: Vec<u32> = of(RecipientKind::Group, Space::Group).collect();
        sets.extend(of(RecipientKind::User, Space::Person));
        if has(RecipientKind::All) {
            sets.extend(self.gatherings.find(Space::Everybody, ""));
        }
        // Who names nobody means the group; who names somebody unknown does not.
        if !is_named && !post.malformed_recipients && !has(RecipientKind::Unknown) {
            sets.extend(self.gatherings.find(Space::Group, &post.group));
        }
        // The same set twice is looked at once, so that the cost is that of all members and not of all recipients.
        sets.sort_unstable();
        sets.dedup();
        let mut excluded: Vec<u32> = of(RecipientKind::Excluded, Space::Person).collect();
        excluded.sort_unstable();
        excluded.dedup();
        match (&sets[..], &excluded[..]) {
            ([], _) => Audience::Nobody,
            (&[set], []) => Audience::Set(set),
            _ => {
                let mut out: Vec<ConnId> =
                    excluded.iter().flat_map(|&set| self.gatherings.ids(set)).collect();
                out.sort_unstable();
                let mut ids: Vec<ConnId> = sets.iter().flat_map(|&set| self.gatherings.ids(set)).collect();
                ids.sort_unstable();
                ids.dedup();
                ids.retain(|id| out.binary_search(id).is_err());
                Audience::Ids(ids)
            }
        }
    }

    /// Keeps a message in the histories of the groups it was for. What is for a user is in none.
    fn keep_post(&mut self, post: &Post<'_>, unix_ms: u64, text: &str) {
        let has = |kind| post.recipients.iter().any(|recipient| recipient.kind == kind);
        let is_for_nobody = post.malformed_recipients || has(RecipientKind::Unknown);
        let names_groups = has(RecipientKind::Group);
        if has(RecipientKind::User) || (is_for_nobody && !names_groups && !has(RecipientKind::All)) {
            return;
        }
        let groups = groups_of(post);
        // Each has a copy of its own, and a message may name thousands.
        if text.len().saturating_mul(groups.len()) > self.limits.history_bytes_max as usize {
            return;
        }
        for group in groups {
            self.keep_in(group, post, unix_ms, text);
        }
        self.gatherings.expire(unix_ms);
    }

    fn keep_in(&mut self, group: &str, post: &Post<'_>, unix_ms: u64, text: &str) {
        let is_new = self.gatherings.find(Space::Group, group).is_none();
        let is_full = self.gatherings.count(Space::Group) >= self.limits.channels_max as usize;
        if group.len() > self.limits.name_bytes_max as usize || (is_new && is_full) {
            return;
        }
        let excluded = post.recipients.iter().filter(|recipient| recipient.kind == RecipientKind::Excluded);
        let excluded = excluded.map(|recipient| Box::from(&*recipient.value)).collect();
        let set = self.gatherings.find_or_create(Space::Group, group);
        let (gathering, archive) = self.gatherings.with_archive(set);
        gathering.seq += 1;
        archive.record(&mut gathering.history, set, gathering.seq, unix_ms, text, excluded);
        self.gatherings.end_if_over(set);
    }
}

/// The groups that a message names, each once, and else the one that it is for without that.
fn groups_of<'p>(post: &'p Post<'_>) -> Vec<&'p str> {
    let named = post.recipients.iter().filter(|recipient| recipient.kind == RecipientKind::Group);
    let mut groups: Vec<&str> = named.map(|recipient| &*recipient.value).collect();
    if groups.is_empty() {
        groups.push(&post.group);
    }
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Who hears a message.
enum Audience {
    /// All members of a gathering.
    Set(u32),
    /// These.
    Ids(Vec<ConnId>),
    Nobody,
}

//! What an application answers later: which answers are owed to a connection, what waits behind them, and what is done
//! when they come.
//!
//! An answer to an action, or about a message of the `envelope` dialect, keeps nobody waiting. One about who a connection
//! is, or whether it may join, does: what the connection says behind its question is held until it is answered, because
//! it would mean something else before. So an array of `authenticate`, `join_channel` and `message_channel` is done in
//! order, however long each takes. Meanwhile the connection is not read, so that what is held is what one read brought.

use super::{
    Done, Hub, Outcome,
    application::{Application, HubContext, Place, Reply},
    auth::Identity,
    channel::Wish,
    core::Core,
};
use crate::{
    conn::Message,
    dialect::{
        action::{Notice, Post, Problem},
        envelope, json,
    },
    engine::{ConnId, Context},
    wire::close::CloseCode,
};
use serde_json::value::RawValue;
use std::collections::VecDeque;

/// Which question is meant, for who answers it later with [`HubContext::answer`]. It may go to other threads and back; it
/// is no use to another hub, or a second time.
///
/// ```
/// use sockeye::hub::Ticket;
/// fn may_go_anywhere<T: Copy + Send + 'static>() {}
/// may_go_anywhere::<Ticket>();
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ticket {
    pub(super) id: ConnId,
    pub(super) number: u64,
}

impl Ticket {
    /// Whose question it is.
    pub fn connection(self) -> ConnId {
        self.id
    }
}

/// What an application says to a question: at once, or that it will.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision<T> {
    /// This.
    Now(T),
    /// That it cannot say: why, for whoever asked. As [`Late::Failed`]; at a handshake it is refused with 503.
    Failed(String),
    /// It will say so with [`HubContext::answer`] and the ticket that came with the question. Until then what the
    /// connection says is held, and it is not read.
    Later,
}

/// What is to be done with a message of the `envelope` dialect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Handling {
    /// What its recipients say.
    Distribute,
    /// Nothing more: the application has seen to it.
    Taken,
    /// Nothing, and its sender is told why: by a message whose `action` is `error`.
    Error(String),
    /// The application will say so with [`HubContext::answer`]. What the connection says meanwhile is not held.
    Later,
}

/// An answer to a question that was put off.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Late {
    /// To an action, or to a message of the `envelope` dialect, which is not distributed then. There each of the objects
    /// of [`Reply::Data`] is a message, and what went wrong is one whose `action` is `error`. [`Reply::Later`] is no
    /// answer.
    Reply(Reply),
    /// Who a token is, if anybody.
    Identity(Option<Identity>),
    /// Whether somebody may join; whether a message of the `envelope` dialect is to be distributed as it came.
    Allowed(bool),
    /// Nothing can be said: why, for whoever asked. Nobody is anybody, joins or is heard by it.
    Failed(String),
}

/// An answer that a connection waits for.
#[derive(Debug)]
pub(super) enum Owed {
    /// To an action of the application's own.
    Action { request: Option<Box<RawValue>> },
    /// Whether to distribute this message.
    Post { text: Box<str> },
    /// Who somebody is that has asked to be known.
    Identity { request: Option<Box<RawValue>> },
    /// Who the session of a handshake is. `enters`: its groups, which waits for that.
    Session { enters: bool },
    /// Whether it may join a channel.
    Channel { wish: Wish<'static>, request: Option<Box<RawValue>> },
    /// Whether it may join a group. `greets`: it is told then what was said before. `moves`: from its group before.
    Group { name: Box<str>, greets: bool, moves: bool },
    /// Whether it may join the room that its path names.
    Room,
}

impl Owed {
    /// Whether what the connection says waits until it is answered.
    fn holds(&self) -> bool {
        !matches!(self, Owed::Action { .. } | Owed::Post { .. })
    }
}

/// What a connection waits for, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    owed: Vec<(u64, Owed)>,
    held: VecDeque<Held>,
    held_bytes: usize,
    is_paused: bool,
}

impl Waiting {
    /// Bytes of what waits.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// For one answer.
    pub(super) fn of(ticket: Ticket, owed: Owed) -> Box<Waiting> {
        Box::new(Waiting { owed: vec![(ticket.number, owed)], ..Waiting::default() })
    }
}

/// A message that is to be handled later, or the rest of one.
#[derive(Debug)]
struct Held {
    text: Result<Box<str>, Box<[u8]>>,
    /// How many of its requests are done.
    done: usize,
}

impl Held {
    fn bytes(&self) -> usize {
        let len = self.text.as_ref().map_or_else(|bytes| bytes.len(), |text| text.len());
        len + size_of::<Held>()
    }
}

/// What is to be done when the application, which has just answered, can be called again.
#[derive(Debug)]
pub(super) enum After {
    /// It is told of a join.
    Joined(ConnId, OwnedPlace),
    /// It is told of a leave.
    Left(ConnId, OwnedPlace),
    /// A connection takes its place among the groups, now that it is known who it is.
    Enter(ConnId),
    /// What a connection said meanwhile is handled.
    Release(ConnId),
}

/// A [`Place`] that owns its name.
#[derive(Debug)]
pub(super) enum OwnedPlace {
    Channel(Box<str>),
    Group(Box<str>),
    Room(Box<str>),
}

impl OwnedPlace {
    fn place(&self) -> Place<'_> {
        match self {
            OwnedPlace::Channel(name) => Place::Channel(name),
            OwnedPlace::Group(name) => Place::Group(name),
            OwnedPlace::Room(name) => Place::Room(name),
        }
    }
}

impl HubContext<'_, '_> {
    /// Answers a question that was put off: what follows from it is done now, in the words of the connection's dialect and
    /// with the `id` of its request. [`Application::on_join`] and `on_leave` that follow from it, and what the connection
    /// has said since, come when this call of the application has returned.
    ///
    /// False where nobody waits for it any more: the connection has ended, or it was answered before; and where it answers
    /// another question than that, for which the caller is told that the application failed.
    pub fn answer(&mut self, ticket: Ticket, answer: Late) -> bool {
        self.core.answer_late(self.cx, ticket, answer)
    }
}

impl<A: Application> Hub<A> {
    /// Does what was left to be done when the application had returned, until there is nothing left.
    #[inline]
    pub(super) fn catch_up(&mut self, cx: &mut Context<'_>) {
        if !self.core.after.is_empty() {
            self.do_what_is_left(cx);
        }
    }

    #[cold]
    fn do_what_is_left(&mut self, cx: &mut Context<'_>) {
        while let Some(after) = self.core.after.pop_front() {
            match after {
                After::Joined(id, place) => self.joined(cx, id, place.place()),
                After::Left(id, place) => self.left(cx, id, place.place()),
                After::Enter(id) => self.enter_groups(cx, id, false),
                After::Release(id) => self.release(cx, id),
            }
        }
    }

    /// Handles what a connection said while it waited, until it waits again.
    fn release(&mut self, cx: &mut Context<'_>, id: ConnId) {
        while !self.core.is_holding(id) {
            let Some(waiting) = self.core.waiting(id) else { return };
            let Some(held) = waiting.held.pop_front() else {
                if std::mem::take(&mut waiting.is_paused) {
                    cx.resume(id);
                }
                return;
            };
            waiting.held_bytes -= held.bytes();
            self.core.held_bytes -= held.bytes();
            let message = match &held.text {
                Ok(text) => Message::Text(text),
                Err(bytes) => Message::Binary(bytes),
            };
            self.handle(cx, id, message, held.done);
        }
    }
}

impl Core {
    /// The number of a question, before it is asked. A connection to which as many answers are owed as may be has none
    /// to ask.
    pub(super) fn ticket(&mut self, id: ConnId) -> Result<Ticket, Problem<'static>> {
        let limit = self.limits.pending_max;
        let owed = self.client(id).and_then(|client| client.waiting.as_ref());
        if owed.is_some_and(|waiting| waiting.owed.len() >= limit as usize) {
            return Err(Problem::TooManyPending { limit });
        }
        Ok(self.first_ticket(id))
    }

    /// The same, for one to whom no answer is owed yet.
    pub(super) fn first_ticket(&mut self, id: ConnId) -> Ticket {
        self.tickets += 1;
        Ticket { id, number: self.tickets }
    }

    /// The application will answer.
    pub(super) fn owe(&mut self, cx: &mut Context<'_>, ticket: Ticket, owed: Owed) {
        let Some(client) = self.client_mut(ticket.id) else { return };
        let waiting = client.waiting.get_or_insert_default();
        if owed.holds() && !waiting.is_paused {
            waiting.is_paused = true;
            cx.pause(ticket.id);
        }
        waiting.owed.push((ticket.number, owed));
    }

    fn waiting(&mut self, id: ConnId) -> Option<&mut Waiting> {
        self.client_mut(id)?.waiting.as_deref_mut()
    }

    /// Whether what a connection says is to be held.
    #[inline]
    pub(super) fn is_holding(&self, id: ConnId) -> bool {
        let waiting = self.client(id).and_then(|client| client.waiting.as_deref());
        waiting.is_some_and(|waiting| waiting.owed.iter().any(|(_, owed)| owed.holds()))
    }

    /// A connection that has just opened is not read if it waits already.
    pub(super) fn pause_if_holding(&mut self, cx: &mut Context<'_>, id: ConnId) {
        if self.is_holding(id)
            && let Some(waiting) = self.waiting(id)
            && !std::mem::replace(&mut waiting.is_paused, true)
        {
            cx.pause(id);
        }
    }

    /// Whether an answer about the session of a handshake is awaited: then the groups are entered behind it.
    pub(super) fn enters_later(&mut self, id: ConnId) -> bool {
        let owed = self.waiting(id).into_iter().flat_map(|waiting| &mut waiting.owed);
        let mut sessions = owed.filter_map(|(_, owed)| match owed {
            Owed::Session { enters } => Some(enters),
            _ => None,
        });
        sessions.next().map(|enters| *enters = true).is_some()
    }

    /// Keeps a message, of which so many requests are done, for when the connection no longer waits. `is_next`: it is
    /// the rest of the one that has just been handled, and stands in front of the others.
    #[cold]
    pub(super) fn hold(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        message: Message<'_>,
        done: usize,
        is_next: bool,
    ) {
        let limit = self.limits.json_message_bytes_max as usize;
        let budget = cx.limits().buffered_bytes_max;
        let others = cx.held_bytes() + self.held_bytes as u64;
        let Some(waiting) = self.waiting(id) else { return };
        let text = match message {
            Message::Text(text) => Ok(text.into()),
            Message::Binary(bytes) => Err(bytes.into()),
        };
        let held = Held { text, done };
        let bytes = held.bytes();
        // What was sent as a few compressed bytes may be held as millions.
        if !is_next && budget > 0 && others + bytes as u64 > budget {
            cx.close(id, CloseCode::TRY_AGAIN, "too much waits for the application (buffered_bytes_max)");
            return;
        }
        // The last one may be as large as it is: it has been accepted, and nothing more is read.
        if !is_next && waiting.held_bytes > limit {
            cx.close(
                id,
                CloseCode::POLICY,
                "too much behind an answer that is awaited (json_message_bytes_max)",
            );
            return;
        }
        waiting.held_bytes += bytes;
        if is_next {
            waiting.held.push_front(held)
        } else {
            waiting.held.push_back(held)
        }
        self.held_bytes += bytes;
    }

    fn answer_late(&mut self, cx: &mut Context<'_>, ticket: Ticket, answer: Late) -> bool {
        let Ticket { id, number } = ticket;
        let found = self.waiting(id).and_then(|waiting| {
            let at = waiting.owed.iter().position(|(known, _)| *known == number)?;
            Some(waiting.owed.remove(at).1)
        });
        // The place of one that has ended may be another's, who has other numbers.
        let Some(owed) = found else { return false };
        let holds = owed.holds();
        let fits = self.carry_out(cx, id, owed, answer);
        if holds {
            self.after.push_back(After::Release(id));
        }
        self.trim();
        fits
    }

    /// Does what follows from an answer; false where it is none to this question.
    fn carry_out(&mut self, cx: &mut Context<'_>, id: ConnId, owed: Owed, answer: Late) -> bool {
        let failed = |text: String| Err(Problem::Other(text.into()));
        let (outcome, request, fits): (Outcome<'_>, _, _) = match (owed, answer) {
            (Owed::Action { request }, Late::Reply(reply)) if reply != Reply::Later => {
                (outcome_of(reply), request, true)
            }
            (Owed::Post { text }, answer) => return self.post_late(cx, id, &text, answer),
            (Owed::Identity { request }, Late::Identity(user)) => {
                (self.authenticated(cx, id, user, false), request, true)
            }
            (Owed::Session { enters }, answer) => return self.session_known(cx, id, enters, answer),
            (Owed::Channel { wish, request }, Late::Allowed(true)) => {
                (self.join_late(cx, id, wish), request, true)
            }
            (Owed::Channel { wish, request }, Late::Allowed(false)) => {
                (Err(Problem::MayNotJoin(wish.name)), request, true)
            }
            (Owed::Group { name, greets, moves }, answer) => {
                let (is_allowed, why, fits) = permission(answer, "This group may not be joined");
                if is_allowed {
                    self.enter_group_late(cx, id, &name, greets, moves);
                } else {
                    self.counters.refused += 1;
                    self.tell(cx, id, &Notice::Problem(&Problem::Other(why.into())), None);
                }
                return fits;
            }
            (Owed::Room, answer) => {
                let (is_allowed, why, fits) = permission(answer, "this room may not be joined");
                if !is_allowed {
                    self.counters.refused += 1;
                    cx.close(id, CloseCode::POLICY, &why);
                } else if let Some(name) = self.take_room(id) {
                    self.after.push_back(After::Joined(id, OwnedPlace::Room(name)));
                }
                return fits;
            }
            (
                Owed::Action { request } | Owed::Identity { request } | Owed::Channel { request, .. },
                answer,
            ) => match answer {
                Late::Failed(text) => (failed(text), request, true),
                _ => (failed(FAILED.to_owned()), request, false),
            },
        };
        self.answer(cx, id, outcome, request.as_deref());
        fits
    }

    /// What becomes of a message of the `envelope` dialect.
    fn post_late(&mut self, cx: &mut Context<'_>, id: ConnId, text: &str, answer: Late) -> bool {
        let error = match answer {
            Late::Allowed(false) => return true,
            Late::Allowed(true) => {
                if let Some(post) = envelope::parse(text, &self.bounds) {
                    self.distribute(cx, id, &post);
                }
                return true;
            }
            Late::Reply(Reply::Data(messages)) => {
                let bounds = self.bounds;
                let posts: Option<Vec<Post<'_>>> =
                    messages.iter().map(|message| envelope::parse(message, &bounds)).collect();
                match posts {
                    Some(posts) => {
                        for post in &posts {
                            self.tell(cx, id, &Notice::Post { post, user: &post.user }, None);
                        }
                        return true;
                    }
                    None => {
                        log::error!(connection:% = id; "the application answered with what is no message");
                        FAILED.to_owned()
                    }
                }
            }
            Late::Reply(Reply::Done | Reply::Silent) => return true,
            Late::Reply(Reply::Error(text)) | Late::Failed(text) => text,
            Late::Reply(Reply::Unknown) => Problem::UnknownAction.to_string(),
            Late::Reply(Reply::Later) | Late::Identity(_) => {
                self.answer(cx, id, Err(Problem::Other(FAILED.into())), None);
                return false;
            }
        };
        self.answer(cx, id, Err(Problem::Other(error.into())), None);
        true
    }

    /// Who the session of a handshake is: it is known before anything else of the connection is looked at.
    fn session_known(&mut self, cx: &mut Context<'_>, id: ConnId, enters: bool, answer: Late) -> bool {
        let (user, error, fits) = match answer {
            Late::Identity(user) => (user, None, true),
            Late::Failed(text) => (None, Some(text), true),
            _ => (None, Some(FAILED.to_owned()), false),
        };
        if let (Some(user), Some(correspondent)) =
            (user.filter(|user| self.is_acceptable(user)), self.correspondent(id))
        {
            correspondent.user = Some(user.uuid.as_str().into());
            correspondent.session = Some(Box::new(user));
        }
        if let Some(text) = error {
            self.answer(cx, id, Err(Problem::Other(text.into())), None);
        }
        if enters {
            self.after.push_back(After::Enter(id));
        }
        fits
    }
}

/// What a caller is told where the application made a mistake.
pub(super) const FAILED: &str = "The application failed";

/// Whether somebody may join, what to say where not, and whether it is an answer to that.
fn permission(answer: Late, refusal: &str) -> (bool, String, bool) {
    match answer {
        Late::Allowed(is_allowed) => (is_allowed, refusal.to_owned(), true),
        Late::Failed(text) => (false, text, true),
        _ => (false, FAILED.to_owned(), false),
    }
}

/// What an application's reply comes to.
pub(super) fn outcome_of<'a>(reply: Reply) -> Outcome<'a> {
    match reply {
        Reply::Unknown => Err(Problem::UnknownAction),
        Reply::Done => Ok(Done::Plain),
        Reply::Silent | Reply::Later => Ok(Done::Answered),
        Reply::Error(text) => Err(Problem::Other(text.into())),
        Reply::Data(objects) if objects.iter().all(|object| json::Object::parse(object).is_some()) => {
            Ok(Done::Data(objects.join(",")))
        }
        Reply::Data(_) => {
            log::error!("the application answered with what is no JSON object");
            Err(Problem::Other(FAILED.into()))
        }
    }
}

#[cfg(test)]
mod tests;

//! Who is let in, and what the handshake says of a connection.

use super::{
    Hub,
    application::{Application, Caller, HubContext, Place},
    auth::Identity,
    core::{Client, Correspondent, Part, cookie, query},
    gathering::Space,
    pending::{Decision, Owed, Ticket, Waiting},
};
use crate::{
    conn::Upgrade,
    dialect::{Dialect, choose, room_of},
    engine::{ConnId, Context, Refused},
    wire::handshake::{Refusal, Request},
};
use std::{fmt, net::SocketAddr};

/// Where a connection comes from, as a log says it.
pub(super) struct Address(pub(super) Option<SocketAddr>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// Says that somebody is not let in, whoever decided so.
pub(super) fn tell_refused(cx: &Context<'_>, id: ConnId, refused: &Refused<'_>) {
    let address = Address(cx.peer(id).and_then(|peer| peer.address));
    match *refused {
        Refused::Http { refusal, path } => {
            let status = refusal.status();
            match path {
                Some(path) => log::info!(
                    connection:% = id, address:% = address, path, status, reason:% = refusal; "handshake refused"
                ),
                None => log::info!(
                    connection:% = id, address:% = address, status, reason:% = refusal; "handshake refused"
                ),
            }
        }
        Refused::Tls { why } => {
            log::info!(connection:% = id, address:% = address, reason = why; "TLS handshake failed");
        }
    }
}

impl<A: Application> Hub<A> {
    /// Decides on a request: by which dialect, and whether at all.
    pub(super) fn admit(&mut self, cx: &mut Context<'_>, id: ConnId, request: &Request<'_>) -> Upgrade {
        let peer = cx.peer(id);
        let listener = peer.and_then(|peer| self.core.settings.listeners.get(usize::from(peer.listener)));
        let choice =
            choose(request.path(), request.host(), request.subprotocols(), listener.copied().flatten());
        let address = Address(peer.and_then(|peer| peer.address));
        let client = match self.client_of(cx, id, request, choice.dialect, choice.by_path) {
            Ok(client) => client,
            Err(refusal) => {
                let http = Refused::Http { refusal: &refusal, path: Some(request.path()) };
                tell_refused(cx, id, &http);
                return Upgrade::refuse(refusal);
            }
        };
        let dialect = choice.dialect.map_or("auto", Dialect::name);
        log::info!(
            connection:% = id, address:% = address, path = request.path(), dialect;
            "connection opened"
        );
        self.core.enter(id, choice.dialect, client);
        let mut upgrade = Upgrade::accept();
        upgrade.subprotocol = choice.subprotocol.map(str::to_owned);
        upgrade
    }

    /// What is to be known of a connection; nothing, where nothing is.
    fn client_of(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        request: &Request<'_>,
        dialect: Option<Dialect>,
        by_path: bool,
    ) -> Result<Option<Client>, Refusal> {
        if self.core.settings.paths_strict && !by_path && request.path() != "/" {
            return Err(Refusal::with_status(404, "there is nothing at this path"));
        }
        let mut client = self.core.client_for(cx);
        match dialect {
            Some(Dialect::Echo) => return Ok(None),
            Some(Dialect::Chat) => {}
            Some(Dialect::Room) => {
                let (name, waiting) = self.room_for(cx, id, request, by_path)?;
                (client.part, client.waiting) = (Part::Room(name), waiting);
            }
            Some(Dialect::Actions) => client.session = self.session(cx, request),
            Some(Dialect::Envelope) | None => {
                client.session = self.session(cx, request);
                let session = client.session.as_deref();
                let (correspondent, waiting) = self.correspondent_of(cx, id, request, session)?;
                client.waiting = waiting;
                let says_nothing = correspondent.group.is_none() && correspondent.user.is_none();
                client.part = Part::Envelope(correspondent);
                if dialect.is_none() && says_nothing && client.session.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(client))
    }

    /// The room that a path leads to, and the answer that is to come before it is joined.
    fn room_for(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        request: &Request<'_>,
        by_path: bool,
    ) -> Result<(Box<str>, Option<Box<Waiting>>), Refusal> {
        let path = if by_path { request.path() } else { "/" };
        let name = room_of(path).ok_or(Refusal::Malformed("the room's name is not UTF-8"))?;
        let limits = &self.core.limits;
        if name.len() > limits.name_bytes_max as usize {
            let limit = limits.name_bytes_max;
            let reason = format!("the room's name has more than {limit} bytes (name_bytes_max)");
            return Err(Refusal::with_status(414, reason));
        }
        let is_new = self.core.gatherings.find(Space::Room, &name).is_none();
        if is_new && self.core.gatherings.count(Space::Room) >= limits.channels_max as usize {
            return Err(Refusal::Unavailable("there are as many rooms as there may be (channels_max)"));
        }
        let caller = Caller { id, dialect: Dialect::Room, user: None, is_admin: false };
        let ticket = self.core.first_ticket(id);
        let mut context = HubContext { core: &mut self.core, cx };
        match self.application.decide_join(&mut context, &caller, Place::Room(&name), ticket) {
            Decision::Now(true) => Ok((name.into(), None)),
            Decision::Now(false) => Err(Refusal::with_status(403, "this room may not be joined")),
            Decision::Failed(why) => Err(Refusal::with_status(503, why)),
            Decision::Later => Ok((name.into(), Some(Waiting::of(ticket, Owed::Room)))),
        }
    }

    /// The session that the browser's cookie says, unless a page of another site had it sent: such a page may connect, and
    /// is nobody until it says a token.
    fn session(&self, cx: &Context<'_>, request: &Request<'_>) -> Option<Box<str>> {
        let name = &self.core.settings.session_cookie;
        let found = request.lines("Cookie").find_map(|line| cookie(std::str::from_utf8(line).ok()?, name));
        let found = found.filter(|value| !value.is_empty())?;
        if !cx.trusts_origin(request) {
            log::info!(origin = request.origin().unwrap_or_default(); "cookie of a page of another site ignored");
            return None;
        }
        Some(found.into())
    }

    /// The group and the user that the URL names; who has a session is who it says, once that is known.
    fn correspondent_of(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        request: &Request<'_>,
        session: Option<&str>,
    ) -> Result<(Correspondent, Option<Box<Waiting>>), Refusal> {
        let limit = self.core.limits.name_bytes_max as usize;
        let named = |key: &str| -> Option<Box<str>> {
            let value = query(request.query()?, key)?;
            (!value.is_empty() && value.len() <= limit).then(|| (*value).into())
        };
        let ticket = self.core.first_ticket(id);
        let (session, waiting) = match session.map(|token| self.identity_of(cx, token, ticket)) {
            None => (None, None),
            Some(Decision::Now(user)) => (user.map(Box::new), None),
            Some(Decision::Failed(why)) => return Err(Refusal::with_status(503, why)),
            Some(Decision::Later) => (None, Some(Waiting::of(ticket, Owed::Session { enters: false }))),
        };
        let user = session.as_ref().map(|user| user.uuid.as_str().into()).or_else(|| named("userid"));
        let correspondent =
            Correspondent { group: named("groupid"), user, session, ..Correspondent::default() };
        Ok((correspondent, waiting))
    }

    /// Who the session of a handshake is.
    fn identity_of(
        &mut self,
        cx: &mut Context<'_>,
        token: &str,
        ticket: Ticket,
    ) -> Decision<Option<Identity>> {
        let (id, dialect) = (ticket.connection(), Dialect::Envelope);
        let caller = Caller { id, dialect, user: None, is_admin: false };
        let mut context = HubContext { core: &mut self.core, cx };
        match self.application.find_identity(&mut context, &caller, token, ticket) {
            Decision::Now(user) => Decision::Now(user.filter(|user| self.core.is_acceptable(user))),
            decision => decision,
        }
    }
}

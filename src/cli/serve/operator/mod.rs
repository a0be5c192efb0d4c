//! The handler of `serve`: the hub, and around it what those need who look after the server. Probes, metrics and an API
//! are answered on a listener of their own, `--admin`; every message goes straight to the hub.

mod api;
mod body;
mod guard;
mod health;
mod listing;
mod metrics;
mod problem;

use self::{guard::Guard, health::Probe, problem::Problem};
use super::{hook::HookCounters, logging::Voice, secrets::Token, signals::Ending};
use sockeye::{
    Answer, Closed, ConnId, Context, DialError, Handler, HttpRequest, HttpResponse, Limits, Message,
    PeerInfo, Refusal, Refused, Request, Response, TurnedAway, Upgrade,
    hub::{Application, Hub},
};

/// The hub, and what is said of it to those who look after it.
pub(super) struct Operator<A> {
    hub: Hub<A>,
    /// Which listener is theirs.
    listener: Option<u16>,
    public: Public,
    guard: Guard,
    /// By the index of a connection: when it was opened, in seconds since 1970. Empty where nobody can ask.
    opened: Vec<u32>,
    reins: Option<Reins>,
    /// What became of the questions of the application hook, where there is one.
    hook: fn(&A) -> Option<HookCounters>,
}

/// What is answered on all listeners.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Public {
    pub(super) health: bool,
    pub(super) metrics: bool,
}

/// How the server is stopped, and has its files read again: there only once it is bound.
pub(super) struct Reins {
    pub(super) ending: Ending,
    /// There is a file to be read again.
    pub(super) reads_again: bool,
    pub(super) voice: Voice,
}

impl<A: Application> Operator<A> {
    /// `listener` is the place of `--admin` among the listeners; without `token` the API is off.
    pub(super) fn new(
        hub: Hub<A>,
        listener: Option<u16>,
        public: Public,
        token: Option<Token>,
        hook: fn(&A) -> Option<HookCounters>,
    ) -> Operator<A> {
        Operator { hub, listener, public, guard: Guard::new(token), opened: Vec::new(), reins: None, hook }
    }

    /// The program's part of the hub.
    pub(super) fn application(&self) -> &A {
        self.hub.application()
    }

    /// From now on it can be stopped from here.
    pub(super) fn take_reins(&mut self, reins: Reins) {
        self.reins = Some(reins);
    }

    /// Whether a connection came by the listener for administration.
    fn is_admin(&self, cx: &Context<'_>, id: ConnId) -> bool {
        self.listener.is_some() && cx.peer(id).map(|peer| peer.listener) == self.listener
    }

    /// What is asked on the listener for administration.
    fn administer(&mut self, cx: &mut Context<'_>, id: ConnId, request: &HttpRequest<'_>) -> Answer {
        if let Some(probe) = Probe::at(request.path()) {
            return Answer::Respond(self.probe(cx, id, probe, request));
        }
        if request.path().starts_with(api::ROOT) {
            return self.call_api(cx, id, request);
        }
        let known = "there is nothing here but /healthz, /readyz, /metrics and what is below /api/v1/";
        Answer::Respond(Problem::new(404, "not_found", known).into())
    }
}

impl<A: Application> Handler for Operator<A> {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, id: ConnId, request: &Request<'_>) -> Upgrade {
        if self.is_admin(cx, id) {
            return Upgrade::refuse(Refusal::with_status(404, "this listener is for administration alone"));
        }
        self.hub.on_upgrade(cx, id, request)
    }

    fn on_http(&mut self, cx: &mut Context<'_>, id: ConnId, request: &HttpRequest<'_>) -> Answer {
        if self.is_admin(cx, id) {
            return self.administer(cx, id, request);
        }
        match Probe::at(request.path()).filter(|probe| probe.is_public(self.public)) {
            Some(probe) => Answer::Respond(self.probe(cx, id, probe, request)),
            None => self.hub.on_http(cx, id, request),
        }
    }

    fn on_request(&mut self, id: ConnId, head: &[u8]) {
        self.hub.on_request(id, head);
    }

    fn on_response(&mut self, cx: &mut Context<'_>, id: ConnId, response: &Response<'_>) {
        self.hub.on_response(cx, id, response);
    }

    fn on_refusal(&mut self, cx: &mut Context<'_>, id: ConnId, response: &Response<'_>) {
        self.hub.on_refusal(cx, id, response);
    }

    fn on_dial_failed(&mut self, cx: &mut Context<'_>, id: ConnId, error: &DialError) {
        self.hub.on_dial_failed(cx, id, error);
    }

    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        if self.listener.is_some() {
            if self.opened.len() <= id.index() {
                self.opened.resize(id.index() + 1, 0);
            }
            self.opened[id.index()] = u32::try_from(cx.now().unix_ms / 1_000).unwrap_or(u32::MAX);
        }
        self.hub.on_open(cx, id);
    }

    #[inline(always)] // as the hub's own
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.hub.on_message(cx, id, message);
    }

    #[inline]
    fn on_read_end(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.hub.on_read_end(cx, id);
    }

    fn on_drain(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.hub.on_drain(cx, id);
    }

    fn on_pong(&mut self, cx: &mut Context<'_>, id: ConnId, payload: &[u8]) {
        self.hub.on_pong(cx, id, payload);
    }

    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        self.hub.on_close(cx, id, closed);
    }

    fn on_refused(&mut self, cx: &mut Context<'_>, id: ConnId, refused: &Refused<'_>) {
        self.hub.on_refused(cx, id, refused);
    }

    fn on_turned_away(&mut self, cx: &mut Context<'_>, info: &PeerInfo, why: TurnedAway) {
        self.hub.on_turned_away(cx, info, why);
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        self.hub.on_wake(cx);
    }

    fn on_limits(&mut self, cx: &mut Context<'_>, limits: &Limits) {
        self.hub.on_limits(cx, limits);
    }

    fn on_tick(&mut self, cx: &mut Context<'_>) {
        self.hub.on_tick(cx);
    }
}

/// An answer that nobody keeps.
fn fresh(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> HttpResponse {
    HttpResponse::new(status)
        .header("Content-Type", kind)
        .header("Cache-Control", "no-store")
        .header("X-Content-Type-Options", "nosniff")
        .body(body.into())
}

/// The same, of JSON.
fn json(status: u16, value: &serde_json::Value) -> HttpResponse {
    fresh(status, "application/json", value.to_string())
}

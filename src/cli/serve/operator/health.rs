//! Whether the server lives (`/healthz`), whether more connections should be sent to it (`/readyz`), and its numbers
//! (`/metrics`). The loop itself answers, so that an answer says that it turns.

use super::{Operator, Public, fresh, json, metrics, problem::Problem};
use serde_json::{Value, json};
use sockeye::{ConnId, Context, HttpRequest, HttpResponse, hub::Application};

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Probe {
    Health,
    Readiness,
    Metrics,
}

impl Probe {
    pub(super) fn at(path: &str) -> Option<Probe> {
        match path {
            "/healthz" => Some(Probe::Health),
            "/readyz" => Some(Probe::Readiness),
            "/metrics" => Some(Probe::Metrics),
            _ => None,
        }
    }

    pub(super) fn is_public(self, public: Public) -> bool {
        match self {
            Probe::Health | Probe::Readiness => public.health,
            Probe::Metrics => public.metrics,
        }
    }
}

impl<A: Application> Operator<A> {
    pub(super) fn probe(
        &self,
        cx: &Context<'_>,
        id: ConnId,
        probe: Probe,
        request: &HttpRequest<'_>,
    ) -> HttpResponse {
        if !matches!(request.method(), "GET" | "HEAD") {
            return Problem::method("GET, HEAD").into();
        }
        match probe {
            Probe::Health => json(200, &json!({ "status": "ok" })),
            Probe::Readiness => {
                let reasons = self.reasons(cx, id);
                let (status, word) = if reasons.is_empty() { (200, "ready") } else { (503, "not ready") };
                json(status, &json!({ "status": word, "reasons": reasons }))
            }
            Probe::Metrics => {
                let hook = (self.hook)(self.application());
                fresh(200, metrics::CONTENT_TYPE, metrics::exposition(cx, &self.hub, hook))
            }
        }
    }

    /// Why it is better that nobody more comes.
    fn reasons(&self, cx: &Context<'_>, id: ConnId) -> Vec<Value> {
        let limits = cx.limits();
        let mut reasons = Vec::new();
        let mut add = |code: &str, message: String| reasons.push(json!({ "code": code, "message": message }));
        if cx.is_draining() {
            add("draining", "the server drains: new connections are for others".to_owned());
        }
        // Who asks on a public listener takes one place, and leaves it when answered.
        let own = u32::from(!self.is_admin(cx, id));
        if cx.connections_left().saturating_add(own) == 0 {
            let limit = limits.connections_max;
            add(
                "connections",
                format!("there are {limit} connections, and no more may be (connections_max)"),
            );
        }
        // Past all of it somebody is closed for it at once, so that it is never seen for long.
        let (held, limit) = (cx.held_bytes(), limits.buffered_bytes_max);
        if limit > 0 && held > limit / 10 * 9 {
            let message = format!("{held} bytes are buffered, and {limit} may be (buffered_bytes_max)");
            add("buffered_bytes", message);
        }
        reasons
    }
}

//! Why something that was asked for is not done, as JSON: `{"error": {"code", "message", "field"}}`.

use serde_json::json;
use sockeye::HttpResponse;

/// Why it is not done.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// For programs: stays as it is.
    code: &'static str,
    /// For people.
    message: String,
    /// What of the request it is about.
    field: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Problem {
        Problem { status, code, message: message.into(), field: None, headers: Vec::new() }
    }

    /// A field, or a parameter, that is not as it should be.
    pub(super) fn of(field: &str, code: &'static str, message: impl Into<String>) -> Problem {
        Problem { field: Some(field.to_owned()), ..Problem::new(400, code, message) }
    }

    #[must_use]
    pub(super) fn status(self, status: u16) -> Problem {
        Problem { status, ..self }
    }

    #[must_use]
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Problem {
        self.headers.push((name, value.into()));
        self
    }

    /// Any method but these.
    pub(super) fn method(allowed: &str) -> Problem {
        Problem::new(405, "method_not_allowed", format!("only {allowed} is understood here"))
            .header("Allow", allowed)
    }
}

impl From<Problem> for HttpResponse {
    fn from(problem: Problem) -> HttpResponse {
        let Problem { status, code, message, field, headers } = problem;
        let body = json!({ "error": { "code": code, "message": message, "field": field } });
        headers
            .iter()
            .fold(super::json(status, &body), |response, (name, value)| response.header(name, value))
    }
}

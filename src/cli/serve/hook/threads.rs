//! The threads that ask: each takes the questions of its connections one after the other.

use super::{answer::Answer, arguments::Settings, counters::Failure, question::Asks};
use aws_lc_rs::hmac;
use sockeye::{Remote, hub::Ticket};
use std::{
    fmt::Write as _,
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use ureq::{
    Agent,
    tls::{TlsConfig, TlsProvider},
};
use url::Url;

/// A question on its way.
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) asks: Asks,
    pub(super) event: String,
    pub(super) body: String,
    pub(super) asked_at: Instant,
}

/// A question on its way back.
pub(super) struct Answered {
    pub(super) ticket: Ticket,
    pub(super) asks: Asks,
    /// Of the question.
    pub(super) bytes: usize,
    pub(super) answer: Result<Answer, Failure>,
}

/// Answers that wait for the loop; past it a thread waits with the next, so that they take no memory.
const ANSWERS_MAX: usize = 64;
/// How long a connection to the application is kept for the next question. Most servers keep theirs as long or longer:
/// one that ends while a question is on its way fails it, because nothing is asked twice.
const IDLE_AGE: Duration = Duration::from_secs(4);
/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Threads to be started, or running.
pub(in crate::cli::serve) struct Threads {
    workers: Vec<Worker>,
    timeout: Duration,
    /// Ends when all of them have.
    ended: Receiver<()>,
}

/// What one of them has.
struct Worker {
    agent: Agent,
    url: Url,
    timeout: Duration,
    answer_bytes_max: u64,
    key: Option<hmac::Key>,
    jobs: Receiver<Job>,
    answers: SyncSender<Answered>,
    /// Dropped at its end.
    _ended: Sender<()>,
}

impl Threads {
    /// The threads, the way to each, and the way back.
    pub(super) fn new(settings: &Settings) -> (Threads, Vec<Sender<Job>>, Receiver<Answered>) {
        let (answers, answered) = mpsc::sync_channel(ANSWERS_MAX);
        let (end, ended) = mpsc::channel();
        let mut queues = Vec::new();
        let workers = (0..settings.threads).map(|_| {
            let (queue, jobs) = mpsc::channel();
            queues.push(queue);
            Worker {
                agent: agent(settings),
                url: settings.url.clone(),
                timeout: settings.timeout,
                answer_bytes_max: settings.answer_bytes_max,
                key: settings.secret.as_deref().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret)),
                jobs,
                answers: answers.clone(),
                _ended: end.clone(),
            }
        });
        let workers = workers.collect();
        (Threads { workers, timeout: settings.timeout, ended }, queues, answered)
    }

    /// Starts them, now that there is a loop to wake.
    pub(in crate::cli::serve) fn start(&mut self, remote: &Remote) -> io::Result<()> {
        for worker in self.workers.drain(..) {
            let remote = remote.clone();
            thread::Builder::new().name("hook".to_owned()).spawn(move || worker.work(&remote))?;
        }
        Ok(())
    }

    /// Once the loop has ended, and with it the way to them: lets them ask what they were given before, for no longer than
    /// one answer may take.
    pub(in crate::cli::serve) fn finish(self) {
        debug_assert!(self.workers.is_empty());
        if self.ended.recv_timeout(self.timeout) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the hook was still asking at the end");
        }
    }
}

/// One thread's client: no proxy, no redirect, nothing asked twice, and connections that are used again.
fn agent(settings: &Settings) -> Agent {
    let mut config = Agent::config_builder()
        .timeout_global(Some(settings.timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("sockeye/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        .max_response_header_size(HEAD_BYTES_MAX)
        .max_idle_connections(1)
        .max_idle_connections_per_host(1)
        .max_idle_age(IDLE_AGE);
    if let Some(roots) = &settings.roots {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots.clone())
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        config = config.tls_config(tls.build());
    }
    config.build().new_agent()
}

impl Worker {
    fn work(self, remote: &Remote) {
        while let Ok(job) = self.jobs.recv() {
            // Who has waited too long for its turn is not kept waiting for as long again.
            let answer = if job.asked_at.elapsed() >= self.timeout {
                Err(Failure::TimedOut)
            } else {
                self.try_to_ask(&job)
            };
            let answered = Answered { ticket: job.ticket, asks: job.asks, bytes: job.body.len(), answer };
            // When the loop has ended, nobody waits for the answer; what was to be asked is asked all the same.
            let _ = self.answers.send(answered);
            remote.wake();
        }
    }

    /// A mistake in what is not ours, HTTP and TLS, costs one question: who waits for the others is not forgotten.
    fn try_to_ask(&self, job: &Job) -> Result<Answer, Failure> {
        let asked = panic::catch_unwind(AssertUnwindSafe(|| self.ask(job)));
        asked.unwrap_or_else(|_| Err(Failure::Unreachable("who asked panicked".to_owned())))
    }

    fn ask(&self, job: &Job) -> Result<Answer, Failure> {
        let mut request = self
            .agent
            .post(self.url.as_str())
            .header("Content-Type", "application/json")
            .header("Sockeye-Event", &job.event);
        if let Some(key) = &self.key {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            request = request.header("Sockeye-Signature", signature(key, now, &job.body));
        }
        let response = request.send(job.body.as_str()).map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let answer = match status {
            200 => {
                let body = response.into_body().into_with_config().limit(self.answer_bytes_max);
                let json = body.read_to_vec().map_err(|error| failure(&error))?;
                Answer::parse(&json, job.asks)
            }
            204 => Answer::of_nothing(job.asks),
            status => return Err(Failure::Status(status)),
        };
        answer.map_err(Failure::Answer)
    }
}

/// `t=UNIX,v1=HEX`, over `t.body`.
fn signature(key: &hmac::Key, unix_seconds: u64, body: &str) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{unix_seconds}.").as_bytes());
    context.update(body.as_bytes());
    let mut out = format!("t={unix_seconds},v1=");
    for byte in context.sign().as_ref() {
        let _ = write!(out, "{byte:02x}"); // into a string
    }
    out
}

fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::TimedOut,
        ureq::Error::BodyExceedsLimit(limit) => {
            Failure::Answer(format!("the answer is larger than {limit} bytes (hook_answer_bytes_max)"))
        }
        ureq::Error::LargeResponseHeader(..) => {
            Failure::Answer(format!("the head of the answer is larger than {HEAD_BYTES_MAX} bytes"))
        }
        ureq::Error::Protocol(why) => Failure::Answer(format!("the answer is no HTTP: {why}")),
        ureq::Error::Http(why) => Failure::Answer(format!("the answer is no HTTP: {why}")),
        error => Failure::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_other_implementations() {
        // The key and text of RFC 4231 §4.3, with a time before it; the digest is that of Python's hmac.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let signed = signature(&key, 1_700_000_000, "what do ya want for nothing?");
        assert_eq!(
            signed,
            "t=1700000000,v1=1cdd0650c8be1cb0974b1788d458b1e781206cfef59b85faafc582d2e182c57e"
        );
    }
}

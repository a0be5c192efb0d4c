//! The application hook: what a program in another language is asked by HTTP, as the [`Application`] of the hub.
//!
//! On the loop's thread a question is written down ([`question`]) and given to the thread of its connection; that one posts
//! it, judges the answer ([`answer`]), and wakes the loop, which carries it out ([`deeds`]). All questions of a connection
//! go to one thread and come back in order. Nothing here waits on the loop's thread: what cannot be taken is refused.

mod answer;
mod arguments;
mod counters;
mod deeds;
mod question;
mod threads;

pub(super) use self::{arguments::HookArguments, counters::HookCounters, threads::Threads};

use self::{
    arguments::{Passes, Settings},
    counters::{Complaints, Failure},
    question::{Kind, Question},
    threads::{Answered, Job},
};
use super::{identities::Identities, logging::Voice};
use log::Level;
use sockeye::{
    Now,
    hub::{
        Application, Caller, CustomAction, Decision, EnvelopeMessage, Handling, HubContext, Place, Reply,
        Ticket, auth::Identity,
    },
};
use std::{
    sync::mpsc::{Receiver, Sender},
    time::Instant,
};

/// The binary's part of the hub: who a token is by the flags, and all else by the hook, if there is one.
pub(super) struct Hooked {
    identities: Identities,
    hook: Option<Hook>,
}

impl Hooked {
    /// What the flags say, and the threads that are to be started once there is a loop to wake.
    pub(super) fn new(
        identities: Identities,
        arguments: &HookArguments,
    ) -> Result<(Hooked, Option<Threads>), String> {
        let Some(settings) = arguments.settings()? else {
            return Ok((Hooked { identities, hook: None }, None));
        };
        let (threads, queues, answers) = Threads::new(&settings);
        let hook = Hook::new(settings, queues, answers);
        Ok((Hooked { identities, hook: Some(hook) }, Some(threads)))
    }

    /// What became of the questions so far; `None` without a hook.
    pub(super) fn counters(&self) -> Option<HookCounters> {
        self.hook.as_ref().map(Hook::counters)
    }
}

impl Application for Hooked {
    fn authenticate(&mut self, now: Now, token: &str) -> Option<Identity> {
        self.identities.authenticate(now, token)
    }

    fn on_action(
        &mut self,
        cx: &mut HubContext<'_, '_>,
        caller: &Caller<'_>,
        action: &CustomAction<'_>,
    ) -> Reply {
        let passes = |hook: &&mut Hook| hook.passes.action(action.name());
        let Some(hook) = self.hook.as_mut().filter(passes) else { return Reply::Unknown };
        let kind = Kind::Action { name: action.name(), json: action.json() };
        match hook.ask(cx, caller, action.ticket(), &kind) {
            Ok(()) => Reply::Later,
            Err(failure) => Reply::Error(failure.to_string()),
        }
    }

    fn on_envelope(
        &mut self,
        cx: &mut HubContext<'_, '_>,
        caller: &Caller<'_>,
        message: &EnvelopeMessage<'_>,
        ticket: Ticket,
    ) -> Handling {
        let passes = |hook: &&mut Hook| hook.passes.envelope;
        let Some(hook) = self.hook.as_mut().filter(passes) else { return Handling::Distribute };
        let kind = Kind::Message { sender: message.sender, json: message.json };
        match hook.ask(cx, caller, ticket, &kind) {
            Ok(()) => Handling::Later,
            Err(failure) => Handling::Error(failure.to_string()),
        }
    }

    fn find_identity(
        &mut self,
        cx: &mut HubContext<'_, '_>,
        caller: &Caller<'_>,
        token: &str,
        ticket: Ticket,
    ) -> Decision<Option<Identity>> {
        let found = self.authenticate(cx.now(), token);
        let passes = |hook: &&mut Hook| hook.passes.authenticate && found.is_none();
        let Some(hook) = self.hook.as_mut().filter(passes) else { return Decision::Now(found) };
        decided(hook.ask(cx, caller, ticket, &Kind::Authenticate { token }))
    }

    fn decide_join(
        &mut self,
        cx: &mut HubContext<'_, '_>,
        caller: &Caller<'_>,
        place: Place<'_>,
        ticket: Ticket,
    ) -> Decision<bool> {
        let passes = |hook: &&mut Hook| hook.passes.join;
        let Some(hook) = self.hook.as_mut().filter(passes) else { return Decision::Now(true) };
        decided(hook.ask(cx, caller, ticket, &Kind::Join { place }))
    }

    fn on_wake(&mut self, cx: &mut HubContext<'_, '_>) {
        if let Some(hook) = &mut self.hook {
            hook.take_answers(cx);
        }
    }
}

fn decided<T>(asked: Result<(), Failure>) -> Decision<T> {
    match asked {
        Ok(()) => Decision::Later,
        Err(failure) => Decision::Failed(failure.to_string()),
    }
}

/// The loop's side of it.
struct Hook {
    passes: Passes,
    /// One for each thread.
    queues: Vec<Queue>,
    answers: Receiver<Answered>,
    /// Questions that may be under way on each thread.
    queue_max: usize,
    bytes_max: usize,
    /// Bytes of all questions that are under way.
    bytes: usize,
    /// What no other process's events begin with.
    run: u64,
    counters: HookCounters,
    complaints: Complaints,
}

struct Queue {
    jobs: Sender<Job>,
    /// Questions that are under way.
    len: usize,
}

impl Hook {
    fn new(settings: Settings, queues: Vec<Sender<Job>>, answers: Receiver<Answered>) -> Hook {
        let mut run = [0; 8];
        getrandom::fill(&mut run)
            .expect("the operating system has no entropy, without which nothing is safe");
        Hook {
            queue_max: settings.queue.div_ceil(queues.len()),
            queues: queues.into_iter().map(|jobs| Queue { jobs, len: 0 }).collect(),
            passes: settings.passes,
            answers,
            bytes_max: settings.queue_bytes_max,
            bytes: 0,
            run: u64::from_le_bytes(run),
            counters: HookCounters::default(),
            complaints: Complaints::default(),
        }
    }

    /// What became of the questions so far.
    fn counters(&self) -> HookCounters {
        self.counters
    }

    /// Has a question asked, unless too many are under way.
    fn ask(
        &mut self,
        cx: &mut HubContext<'_, '_>,
        caller: &Caller<'_>,
        ticket: Ticket,
        kind: &Kind<'_>,
    ) -> Result<(), Failure> {
        self.counters.asked += 1;
        let event = format!("{:016x}-{:x}", self.run, self.counters.asked);
        let address = cx.context().peer(caller.id).and_then(|peer| peer.address);
        let question = Question { event: &event, unix_ms: cx.now().unix_ms, caller, address, kind };
        let body = question.to_json();
        let at = caller.id.index() % self.queues.len();
        let queue = &mut self.queues[at];
        let bytes = body.len();
        let failure = if queue.len >= self.queue_max || self.bytes + bytes > self.bytes_max {
            Failure::Full
        } else {
            let job = Job { ticket, asks: kind.asks(), event, body, asked_at: Instant::now() };
            match queue.jobs.send(job) {
                Ok(()) => {
                    queue.len += 1;
                    self.bytes += bytes;
                    self.counters.waiting += 1;
                    return Ok(());
                }
                Err(_) => Failure::Unreachable("the threads of the hook have ended".to_owned()),
            }
        };
        self.counters.count(&failure);
        self.complaints.log(cx.now().tick, ticket.connection(), &failure);
        Err(failure)
    }

    /// Carries out what has been answered.
    fn take_answers(&mut self, cx: &mut HubContext<'_, '_>) {
        while let Ok(Answered { ticket, asks, bytes, answer }) = self.answers.try_recv() {
            let at = ticket.connection().index() % self.queues.len();
            self.queues[at].len -= 1;
            self.bytes -= bytes;
            self.counters.waiting -= 1;
            let (late, deeds) = match answer {
                Ok(answer) => {
                    self.counters.answered += 1;
                    (answer.to_late(asks), answer.deeds)
                }
                Err(failure) => {
                    self.counters.count(&failure);
                    self.complaints.log(cx.now().tick, ticket.connection(), &failure);
                    (failure.to_late(), Vec::new())
                }
            };
            if !cx.answer(ticket, late) {
                self.counters.gone += 1;
            }
            deeds.iter().for_each(|deed| deed.carry_out(cx));
        }
    }
}

/// Says at start whom it asks, and what.
pub(super) fn tell(arguments: &HookArguments, voice: Voice) {
    let Ok(Some(settings)) = arguments.settings() else { return };
    // There may be a secret in a query.
    let mut url = settings.url.clone();
    url.set_query(None);
    let (url, passes) = (url.as_str(), settings.passes.to_string());
    voice.say(
        Level::Info,
        format_args!("sockeye: the application at {url} is asked about {passes}"),
        "hook",
        &[("url", url.into()), ("about", passes.as_str().into())],
    );
}

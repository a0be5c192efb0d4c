//! The action layer with answers that take their time: `count` counts primes on another thread, and `authenticate` asks
//! that thread who a token is. The loop never waits for it.
//!
//! `cargo run --example later`, then
//! `echo '[{"action":"count","below":1000000,"id":1}]' | sockeye connect ws://127.0.0.1:4863/actions`.

use sockeye::{
    Remote, Server,
    hub::{
        Application, Caller, CustomAction, Decision, Hub, HubContext, Late, Reply, Settings, Ticket,
        auth::Identity,
    },
};
use std::{
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread,
};

enum Question {
    PrimesBelow(u64),
    WhoIs(String),
}

struct Slow {
    questions: SyncSender<(Ticket, Question)>,
    answers: Receiver<(Ticket, Late)>,
}

impl Slow {
    /// What cannot be asked is refused at once.
    fn ask(&self, ticket: Ticket, question: Question) -> Result<(), String> {
        self.questions.try_send((ticket, question)).map_err(|error| match error {
            TrySendError::Full(_) => "There is too much to do".to_owned(),
            TrySendError::Disconnected(_) => "Nobody is there to do it".to_owned(),
        })
    }
}

impl Application for Slow {
    fn on_action(&mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, action: &CustomAction<'_>) -> Reply {
        let Some(below) = action.number("below").filter(|_| action.name() == "count") else {
            return Reply::Unknown;
        };
        self.ask(action.ticket(), Question::PrimesBelow(below)).map_or_else(Reply::Error, |()| Reply::Later)
    }

    fn find_identity(
        &mut self,
        _: &mut HubContext<'_, '_>,
        _: &Caller<'_>,
        token: &str,
        ticket: Ticket,
    ) -> Decision<Option<Identity>> {
        let asked = self.ask(ticket, Question::WhoIs(token.to_owned()));
        asked.map_or_else(Decision::Failed, |()| Decision::Later)
    }

    fn on_wake(&mut self, cx: &mut HubContext<'_, '_>) {
        for (ticket, answer) in self.answers.try_iter() {
            cx.answer(ticket, answer); // whoever has gone does not wait for it
        }
    }
}

/// On a thread of its own, until the loop has ended.
fn work(questions: &Receiver<(Ticket, Question)>, answers: &mpsc::Sender<(Ticket, Late)>, remote: &Remote) {
    while let Ok((ticket, question)) = questions.recv() {
        let answer =
            match question {
                Question::PrimesBelow(below) => {
                    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
                    let count = (2..below.min(1_000_000)).filter(is_prime).count();
                    Late::Reply(Reply::Data(vec![format!(r#"{{"action":"counted","primes":{count}}}"#)]))
                }
                Question::WhoIs(token) => Late::Identity(token.strip_prefix("token-of-").map(|name| {
                    Identity { uuid: name.to_owned(), name: name.to_owned(), group: String::new() }
                })),
            };
        if answers.send((ticket, answer)).is_err() {
            return;
        }
        remote.wake();
    }
}

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4863".to_owned());
    let (questions, asked) = mpsc::sync_channel(100);
    let (answer, answers) = mpsc::channel();
    let config = Hub::config(address);
    let hub = Hub::with(&config, Settings::default(), Slow { questions, answers });
    let mut server = Server::bind(config, hub)?;
    let remote = server.remote();
    thread::spawn(move || work(&asked, &answer, &remote));
    println!("listening on {}", server.addresses()[0]);
    server.run()
}

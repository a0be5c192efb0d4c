//! Names become addresses on threads beside the loop: the operating system's resolver blocks, and nothing here may.

use super::remote::Remote;
use crate::engine::ConnId;
use std::{
    collections::VecDeque,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Threads that ask at a time. There is none while nobody is asked for.
const THREADS_MAX: usize = 4;

/// What is to be asked, and what was answered.
#[derive(Debug)]
pub(super) struct Resolver {
    shared: Arc<Mutex<Shared>>,
    /// Questions whose answer was not taken: while there are none, a turn of the loop costs no lock.
    open: usize,
    remote: Remote,
}

#[derive(Debug, Default)]
struct Shared {
    questions: VecDeque<Question>,
    answers: VecDeque<(ConnId, Answer)>,
    threads: usize,
}

#[derive(Debug)]
struct Question {
    id: ConnId,
    host: String,
    port: u16,
}

/// Addresses in the resolver's order, or what it says instead.
pub(super) type Answer = Result<Vec<SocketAddr>, String>;

impl Resolver {
    pub(super) fn new(remote: Remote) -> Resolver {
        Resolver { shared: Arc::default(), open: 0, remote }
    }

    /// Asks for the addresses of `host`; the loop is woken when [`Resolver::next`] has them.
    pub(super) fn ask(&mut self, id: ConnId, host: String, port: u16) {
        let mut shared = lock(&self.shared);
        self.open += 1;
        shared.questions.push_back(Question { id, host, port });
        if shared.threads == THREADS_MAX {
            return;
        }
        let (theirs, remote) = (Arc::clone(&self.shared), self.remote.clone());
        let spawned = thread::Builder::new()
            .name("sockeye-resolver".to_owned())
            .spawn(move || answer(&theirs, &remote));
        match spawned {
            Ok(_) => shared.threads += 1,
            // With others at work, it waits for one of them.
            Err(_) if shared.threads > 0 => {}
            Err(error) => {
                shared.questions.pop_back();
                shared.answers.push_back((id, Err(format!("there is no thread to ask: {error}"))));
                self.remote.wake();
            }
        }
    }

    /// Nobody waits for the addresses of `id` any more.
    pub(super) fn forget(&mut self, id: ConnId) {
        if self.open > 0 {
            let questions = &mut lock(&self.shared).questions;
            let before = questions.len();
            questions.retain(|question| question.id != id);
            self.open -= before - questions.len();
        }
    }

    /// The next answer.
    pub(super) fn next(&mut self) -> Option<(ConnId, Answer)> {
        if self.open == 0 {
            return None;
        }
        let answer = lock(&self.shared).answers.pop_front();
        self.open -= usize::from(answer.is_some());
        answer
    }
}

/// What a thread does: it asks as long as there is something to ask.
fn answer(shared: &Mutex<Shared>, remote: &Remote) {
    loop {
        let question = {
            let mut shared = lock(shared);
            let Some(question) = shared.questions.pop_front() else {
                shared.threads -= 1;
                return;
            };
            question
        };
        let found = (question.host.as_str(), question.port).to_socket_addrs();
        let answer: Answer = found.map(Iterator::collect).map_err(|error| error.to_string());
        let shared = &mut *lock(shared);
        // A crowd that goes to one place asks once.
        let is_same = |other: &Question| other.host == question.host && other.port == question.port;
        let (same, others): (VecDeque<_>, _) =
            std::mem::take(&mut shared.questions).into_iter().partition(is_same);
        shared.questions = others;
        shared.answers.extend(same.into_iter().map(|other| (other.id, answer.clone())));
        shared.answers.push_back((question.id, answer));
        remote.wake();
    }
}

/// A thread that panicked left whole what it pushed.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two families in turn, beginning with the one the resolver put first, each in its order. RFC 8305 §4
pub(super) fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return mixed;
        }
        for address in [pair.0, pair.1].into_iter().flatten() {
            if !mixed.contains(&address) {
                mixed.push(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r8305_4_the_families_take_turns_and_the_resolvers_first_is_first() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = interleave(of(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.1:1", "1.0.0.2:1"]));
        assert_eq!(mixed, of(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "[::3]:1", "1.0.0.2:1"]));
        assert_eq!(interleave(of(&["1.0.0.1:1", "[::1]:1"])), of(&["1.0.0.1:1", "[::1]:1"]));
        assert_eq!(interleave(Vec::new()), []);
    }
}

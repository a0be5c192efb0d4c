//! An honest neighbour of those who attack: one echo after the other on a connection of its own, each of them looked
//! at, and how long each took.

use crate::peer::{PATIENCE, Peer, frame, unmasked};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two echoes: the neighbour is to be heard, and not to be an attacker itself.
const PAUSE: Duration = Duration::from_millis(2);

/// A thread that echoes until it is to leave.
pub struct Neighbour {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Echoes that came.
    served: u64,
    is_to_pause: bool,
    is_paused: bool,
    is_to_leave: bool,
    /// It left by itself: an echo was wrong, or never came.
    is_gone: bool,
}

impl Neighbour {
    /// On a connection that is open, and served once already when this returns.
    #[track_caller]
    pub fn settle(peer: Peer) -> Neighbour {
        let shared = Arc::<Shared>::default();
        let its = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let _leaving = Leaving(&its);
            echo(peer, &its)
        });
        let neighbour = Neighbour { shared, thread: Some(thread) };
        neighbour.expect_service();
        neighbour
    }

    /// An echo that is asked for from now on comes back.
    #[track_caller]
    pub fn expect_service(&self) {
        let begun = self.shared.lock().served;
        // The first one may have been asked for before.
        self.expect("the neighbour is served", |state| state.served >= begun + 2);
    }

    /// Nothing is asked for until it resumes.
    #[track_caller]
    pub fn pause(&self) {
        self.shared.lock().is_to_pause = true;
        self.expect("the neighbour is silent", |state| state.is_paused);
    }

    pub fn resume(&self) {
        self.shared.lock().is_to_pause = false;
        self.shared.changed.notify_all();
    }

    /// How long each of its echoes took.
    #[track_caller]
    pub fn leave(mut self) -> Vec<Duration> {
        self.shared.lock().is_to_leave = true;
        self.shared.changed.notify_all();
        let thread = self.thread.take().expect("it leaves once");
        thread.join().expect("each of the neighbour's echoes is right")
    }

    #[track_caller]
    fn expect(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let waits = |state: &mut State| !is_so(state) && !state.is_gone;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE * 2, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(is_so(&state), "waited in vain until {what}");
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.shared.lock().is_to_leave = true;
        self.shared.changed.notify_all();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is to be another echo, after a pause.
    fn goes_on(&self) -> bool {
        let mut state = self.lock();
        state.served += 1;
        state.is_paused = state.is_to_pause;
        self.changed.notify_all();
        let is_to_wait = |state: &mut State| state.is_to_pause && !state.is_to_leave;
        let mut state = self.changed.wait_while(state, is_to_wait).unwrap_or_else(PoisonError::into_inner);
        state.is_paused = false;
        let is_to_stay = |state: &mut State| !state.is_to_leave;
        let paused = self.changed.wait_timeout_while(state, PAUSE, is_to_stay);
        !paused.unwrap_or_else(PoisonError::into_inner).0.is_to_leave
    }
}

/// Says so when the thread ends, however it does.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.lock().is_gone = true;
        self.0.changed.notify_all();
    }
}

/// Each payload is another one, in length too.
fn echo(mut peer: Peer, shared: &Shared) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(1 << 14);
    for n in 0_usize.. {
        let payload = format!("neighbour {n} ").repeat(1 + n % 40).into_bytes();
        let first = if n % 2 == 0 { 0x82 } else { 0x81 };
        let asked = frame(first, &payload);
        let begun = Instant::now();
        peer.send(&asked).expect(&unmasked(first, &payload));
        latencies.push(begun.elapsed());
        if !shared.goes_on() {
            break;
        }
    }
    latencies
}

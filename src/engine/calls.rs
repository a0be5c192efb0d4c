//! How the handler is called, and what its panic leads to: the end of the connection whose event it was, and of no other.
//!
//! What unwinds is only the handler's own frames and what it called of [`Context`], none of which leaves the core half
//! changed: its only calls back are of the iterator that `Context::broadcast` is given, and for that one
//! [`Core::panicked`] tidies up. So it is sound to assert that what the closure borrows is safe to go on with. What the
//! handler's own fields hold after a panic is the handler's business.

use super::{
    Cause, Context, Core, DialError, Engine, Handler,
    context::{Current, Left, NOBODY},
    core::Doom,
    peers::flag,
};
use crate::{conn::Input, time::Now, wire::close::CloseCode};
use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
};

/// What the peer is told of a panic: nothing that is not its business.
const INTERNAL_ERROR: &str = "internal error";

impl<H: Handler> Engine<H> {
    /// Somebody else has woken the loop: tells the handler.
    pub fn handle_wake(&mut self, now: Now) {
        self.call(now, NOBODY, |handler, cx| handler.on_wake(cx));
        self.settle(now);
    }

    /// Calls the handler about an event of `turn`; `None` if it panicked, for which [`Engine::settle`] fails `turn` if it
    /// is open, or was dialled.
    pub(super) fn call<R>(
        &mut self,
        now: Now,
        turn: u32,
        call: impl FnOnce(&mut H, &mut Context<'_>) -> R,
    ) -> Option<R> {
        self.call_with(now, turn, None, call).0
    }

    /// The same while a message is handled, with what the call left to be done; a reply that was taken is still sent
    /// when the handler panics behind it.
    pub(super) fn call_with<'a, R>(
        &'a mut self,
        now: Now,
        turn: u32,
        current: Option<Current<'a>>,
        call: impl FnOnce(&mut H, &mut Context<'_>) -> R,
    ) -> (Option<R>, Left) {
        let Engine { handler, core } = self;
        let mut cx = Context { core, now, turn, current };
        let called = panic::catch_unwind(AssertUnwindSafe(|| call(handler, &mut cx)));
        let left = cx.current.map_or(Left::default(), |current| current.left);
        match called {
            Ok(result) => (Some(result), left),
            Err(payload) => {
                cx.core.panicked(turn, payload);
                (None, left)
            }
        }
    }

    /// Lets `handle` take the input of a peer. It calls the handler by [`Lent`], and by nothing else that may panic; if
    /// that did, the replies so far are in the outbox, and the rest of the input is still to be taken.
    ///
    /// Catching costs some 50 instructions, a tenth of a small message: it is done once for a read.
    #[inline(always)]
    pub(super) fn caught(
        &mut self,
        index: u32,
        input: &mut Input,
        handle: impl FnOnce(&mut Engine<H>, &mut Input),
    ) -> Result<(), Panicked> {
        match panic::catch_unwind(AssertUnwindSafe(|| handle(self, input))) {
            Ok(()) => Ok(()),
            Err(payload) => {
                self.unwound(index, input, payload);
                Err(Panicked)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn unwound(&mut self, index: u32, input: &mut Input, payload: Box<dyn Any + Send>) {
        match std::mem::take(&mut self.core.unwound) {
            Unwound::No => panic::resume_unwind(payload), // no handler's: this library is wrong
            Unwound::Replied { moved } if moved => input.clear_reply(),
            Unwound::Replied { .. } => {}
        }
        self.core.panicked(index, payload);
    }

    /// Fails the connection whose event the handler panicked on.
    pub(super) fn fail_panicked(&mut self, now: Now, index: u32) {
        // It may have ended in the meantime, and be told so.
        if !self.dial_failed(now, index, &DialError::Panic) && self.core.peers[index].flags.has(flag::OPENED)
        {
            self.fail_with(now, index, CloseCode::INTERNAL, INTERNAL_ERROR, Cause::Panic);
        }
    }
}

/// The handler did.
pub(super) struct Panicked;

/// What a panic that is on its way to [`Engine::caught`] left.
#[derive(Clone, Copy, Default)]
pub(super) enum Unwound {
    /// There is none.
    #[default]
    No,
    /// The handler's; if `moved`, what the input holds of replies is in the outbox, too.
    Replied { moved: bool },
}

/// A context that is lent to the handler inside of [`Engine::caught`], for a `MESSAGE` or something else.
pub(super) struct Lent<'a, const MESSAGE: bool>(Context<'a>);

impl<'a, const MESSAGE: bool> Lent<'a, MESSAGE> {
    #[inline(always)]
    pub(super) fn new(core: &'a mut Core, now: Now, turn: u32, current: Current<'a>) -> Lent<'a, MESSAGE> {
        Lent(Context { core, now, turn, current: Some(current) })
    }

    #[inline(always)]
    pub(super) fn context(&mut self) -> &mut Context<'a> {
        &mut self.0
    }

    /// The call has returned, and left this to be done.
    #[inline(always)]
    pub(super) fn returned(self) -> Left {
        let left = self.0.current.as_ref().map_or(Left::default(), |current| current.left);
        std::mem::forget(self);
        left
    }
}

/// The call has not returned: what it would have left to be done is done in the outbox.
impl<const MESSAGE: bool> Drop for Lent<'_, MESSAGE> {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        self.0.settle_reply_of(self.0.turn);
        if let Some(current) = self.0.current.as_ref().filter(|_| MESSAGE) {
            self.0.core.tally.received(current.payload.len());
        }
        let moved = self.0.current.as_ref().is_some_and(|current| current.left.reply_moved);
        self.0.core.unwound = Unwound::Replied { moved };
    }
}

impl Core {
    #[cold]
    #[inline(never)]
    fn panicked(&mut self, turn: u32, payload: Box<dyn Any + Send>) {
        self.statistics.panics += 1;
        // The hook has reported it. A payload of the handler's own type may panic once more when it is dropped.
        if !payload.is::<&str>() && !payload.is::<String>() {
            std::mem::forget(payload);
        }
        self.end_shared();
        if self.peers.is_occupied(turn) && self.peers[turn].flags.has(flag::OPENED | flag::DIALLED) {
            self.doom(turn, Doom::Panic);
        }
    }
}

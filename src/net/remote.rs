//! Other threads' way in: commands through a bounded queue, and a wake for the loop.

use crate::{
    config::{InvalidLimit, Keepalive, Limits},
    conn::Message,
    engine::ConnId,
    wire::close::CloseCode,
};
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A handle to a running server for other threads. Nothing here blocks on the loop.
///
/// A handler has no use for it: what it sends through its `Context` goes through no queue.
///
/// ```no_run
/// # use sockeye::{Config, Server, Handler, Context, ConnId, Message};
/// # struct Quiet;
/// # impl Handler for Quiet { fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {} }
/// let mut server = Server::bind(Config::new("127.0.0.1:9001"), Quiet)?;
/// let remote = server.remote();
/// let thread = std::thread::spawn(move || server.run());
/// remote.publish("news", "it runs").expect("the queue has room for one");
/// remote.shutdown();
/// thread.join().expect("it does not panic")?;
/// # Ok::<(), sockeye::Error>(())
/// ```
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    queue: Mutex<VecDeque<RemoteCommand>>,
    commands_max: usize,
    waker: mio::Waker,
    /// A wake is on its way: the loop will look at the queue.
    woken: AtomicBool,
    /// The server is to stop, stops, or has stopped: no further command is taken.
    stop: AtomicBool,
}

/// A message that owns its payload, to be sent from another thread.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OwnedMessage {
    /// UTF-8 text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

impl OwnedMessage {
    /// The message, borrowed.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl<'a> From<&'a OwnedMessage> for Message<'a> {
    fn from(message: &'a OwnedMessage) -> Message<'a> {
        message.as_message()
    }
}

impl From<&str> for OwnedMessage {
    fn from(text: &str) -> OwnedMessage {
        OwnedMessage::Text(text.to_owned())
    }
}

impl From<String> for OwnedMessage {
    fn from(text: String) -> OwnedMessage {
        OwnedMessage::Text(text)
    }
}

impl From<Vec<u8>> for OwnedMessage {
    fn from(bytes: Vec<u8>) -> OwnedMessage {
        OwnedMessage::Binary(bytes)
    }
}

/// What a [`Remote`] asks for.
#[derive(Debug)]
pub(super) enum RemoteCommand {
    Send(ConnId, OwnedMessage),
    Publish(String, OwnedMessage),
    Close(ConnId, CloseCode, String),
    Origins(Vec<String>),
    Limits(Box<(Limits, Keepalive)>),
    /// Within so many milliseconds.
    Drain(u32),
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RemoteError {
    /// `Limits::remote_commands_max` commands wait already.
    Full {
        /// The limit.
        limit: usize,
    },
    /// The server has stopped, or has been told to.
    Stopped,
    /// A limit that was to be set makes no sense.
    Limit(InvalidLimit),
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteError::Full { limit } => {
                write!(f, "{limit} commands wait already (remote_commands_max): try again later")
            }
            RemoteError::Stopped => f.write_str("the server has stopped"),
            RemoteError::Limit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RemoteError {}

impl Remote {
    pub(super) fn new(waker: mio::Waker, commands_max: usize) -> Remote {
        Remote(Arc::new(Shared {
            queue: Mutex::new(VecDeque::new()),
            commands_max,
            waker,
            woken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }))
    }

    /// Queues a message for one connection. What becomes of it is not reported; an id that has ended is ignored.
    ///
    /// # Errors
    /// [`RemoteError::Full`] or [`RemoteError::Stopped`]: the message will not be sent.
    pub fn send(&self, id: ConnId, message: impl Into<OwnedMessage>) -> Result<(), RemoteError> {
        self.command(RemoteCommand::Send(id, message.into()))
    }

    /// Queues a message for all members of a topic.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub fn publish(
        &self,
        topic: impl Into<String>,
        message: impl Into<OwnedMessage>,
    ) -> Result<(), RemoteError> {
        self.command(RemoteCommand::Publish(topic.into(), message.into()))
    }

    /// Closes one connection, as `Context::close` does.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub fn close(&self, id: ConnId, code: CloseCode, reason: &str) -> Result<(), RemoteError> {
        self.command(RemoteCommand::Close(id, code, reason.to_owned()))
    }

    /// Has these origins connect from then on, as by `Config::origins`; none: any may. Who is connected stays.
    ///
    /// # Errors
    /// As [`Remote::send`]: the origins stay as they are.
    pub fn set_origins(&self, origins: Vec<String>) -> Result<(), RemoteError> {
        self.command(RemoteCommand::Origins(origins))
    }

    /// Has these limits and timers be in force from then on, as `Server::set_limits` does.
    ///
    /// # Errors
    /// As [`Remote::send`], and [`RemoteError::Limit`]: the limits stay as they are.
    pub fn set_limits(&self, limits: Limits, keepalive: Keepalive) -> Result<(), RemoteError> {
        limits.validate().map_err(RemoteError::Limit)?;
        self.command(RemoteCommand::Limits(Box::new((limits, keepalive))))
    }

    /// Stops the server, as `Context::shutdown` does; never refused. What was queued before is done before.
    pub fn shutdown(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Leaves new connections to a successor and closes those that are there in turn, as `Server::drain` does; never refused.
    /// What was queued before is done before.
    pub fn drain(&self, within_ms: u32) {
        let mut queue = self.queue();
        // However often it is said, it takes one place; and more time than before there is never.
        let queued = queue.iter_mut().find_map(|command| match command {
            RemoteCommand::Drain(queued_ms) => Some(queued_ms),
            _ => None,
        });
        match queued {
            Some(queued_ms) => *queued_ms = within_ms.min(*queued_ms),
            None => queue.push_back(RemoteCommand::Drain(within_ms)),
        }
        drop(queue);
        self.wake();
    }

    fn command(&self, command: RemoteCommand) -> Result<(), RemoteError> {
        if self.is_to_stop() {
            return Err(RemoteError::Stopped);
        }
        let limit = self.0.commands_max;
        let mut queue = self.queue();
        if queue.len() >= limit {
            return Err(RemoteError::Full { limit });
        }
        queue.push_back(command);
        drop(queue);
        self.wake();
        Ok(())
    }

    /// Wakes the loop: `Handler::on_wake` is called, and whoever calls `Server::turn` can look at something else. Costs
    /// nothing if it was woken already.
    pub fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            // It fails only when the loop, and so the other end, is gone.
            let _ = self.0.waker.wake();
        }
    }

    /// For the loop, when woken: from now on a new wake is needed.
    pub(super) fn take_wake(&self) {
        self.0.woken.store(false, Ordering::Release);
    }

    pub(super) fn next(&self) -> Option<RemoteCommand> {
        self.queue().pop_front()
    }

    pub(super) fn has_more(&self) -> bool {
        !self.queue().is_empty()
    }

    pub(super) fn is_to_stop(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    /// The server stops: no further command is taken.
    pub(super) fn end(&self) {
        self.0.stop.store(true, Ordering::Release);
    }

    /// A thread that panicked while it pushed left the queue whole all the same.
    fn queue(&self) -> MutexGuard<'_, VecDeque<RemoteCommand>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("queued", &self.queue().len()).finish_non_exhaustive()
    }
}

//! What connections do, made from a fuzzer's bytes: taken from the front, a few for each step.

/// A fuzzer's bytes; what is missing reads as 0.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next one.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// One of several.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Up to 31 bytes as they are.
    pub fn raw(&mut self) -> &'a [u8] {
        let len = (self.byte() & 31).into();
        let (raw, rest) = self.0.split_at(self.0.len().min(len));
        self.0 = rest;
        raw
    }
}

/// How a connection comes.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The target of its request.
    pub target: &'static str,
    /// The value of Host.
    pub host: &'static str,
    /// Offered subprotocols.
    pub offers: &'static str,
    /// How it speaks.
    pub speaks: Speaks,
    /// The group its URL names.
    pub group: Option<&'static str>,
    /// The user its URL names.
    pub user: Option<&'static str>,
}

/// A dialect, as the model has need of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speaks {
    /// What the first message says.
    Auto,
    /// `actions`
    Actions,
    /// `envelope`
    Envelope,
    /// `chat`
    Chat,
    /// `room`, and which
    Room(&'static str),
    /// `echo`
    Echo,
}

const fn way(target: &'static str, speaks: Speaks) -> Way {
    Way { target, host: "a", offers: "", speaks, group: None, user: None }
}

/// The ways to come.
pub const WAYS: [Way; 18] = [
    way("/actions", Speaks::Actions),
    way("/chat", Speaks::Chat),
    way("/envelope", Speaks::Envelope),
    Way { group: Some("g0"), ..way("/envelope?groupid=g0", Speaks::Envelope) },
    Way { group: Some("g1"), user: Some("u1"), ..way("/envelope?userId=u1&GROUPID=g%31", Speaks::Envelope) },
    way("/room/r0", Speaks::Room("r0")),
    way("/Room/r%31?x", Speaks::Room("r1")),
    way("/room", Speaks::Room("")),
    Way { offers: "x, room", ..way("/", Speaks::Room("")) },
    way("/a/echo.php", Speaks::Echo),
    Way { host: "Echo.example", ..way("/", Speaks::Echo) },
    Way { offers: "actions", ..way("/x", Speaks::Actions) },
    Way { offers: "json", ..way("/", Speaks::Chat) },
    Way { user: Some("u2"), ..way("/__InitializeWebSocket.wwt?userid=u2", Speaks::Envelope) },
    way("/", Speaks::Auto),
    Way { group: Some("g0"), ..way("/path?groupid=g0", Speaks::Auto) },
    Way { user: Some("u0"), ..way("/path?userid=u0", Speaks::Auto) },
    Way { offers: "actions", ..way("/Actions/", Speaks::Actions) },
];

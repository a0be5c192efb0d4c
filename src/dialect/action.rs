//! The vocabulary that all dialects share: what a peer can ask for, what it can be told, and what can be wrong.

use super::json::Object;
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// What a peer asks for, with the id that its answer is to carry.
#[derive(Debug)]
pub struct Request<'a> {
    /// What it asks for, or what is wrong with it.
    pub action: Result<Action<'a>, Problem<'a>>,
    /// What it called this request.
    pub id: Option<&'a RawValue>,
}

/// What a peer asks for.
#[derive(Debug)]
pub enum Action<'a> {
    /// Say who one is. Without a token the handshake's session cookie says it.
    Authenticate {
        /// A user's token, or `admin:` and the admin password.
        token: Option<Cow<'a, str>>,
    },
    /// Become a member of a channel.
    Join(Join<'a>),
    /// End a membership.
    Leave {
        /// Of which channel.
        channel: Cow<'a, str>,
    },
    /// Say something to all members of a channel.
    Say {
        /// Which.
        channel: Cow<'a, str>,
        /// What.
        text: Cow<'a, str>,
    },
    /// Say something to one user.
    Tell {
        /// Whom.
        uuid: Cow<'a, str>,
        /// What.
        text: Cow<'a, str>,
    },
    /// What only an admin of a channel may do.
    Govern {
        /// Which channel.
        channel: Cow<'a, str>,
        /// What.
        deed: Deed<'a>,
    },
    /// List the channels that are public, and one's own.
    ListChannels,
    /// List the members of a channel.
    ListMembers {
        /// Which.
        channel: Cow<'a, str>,
    },
    /// Be told who joins and leaves a channel.
    SubscribePresence {
        /// Which.
        channel: Cow<'a, str>,
    },
    /// Be told what was said in a channel.
    History {
        /// Which.
        channel: Cow<'a, str>,
        /// Only what came after the message of this number.
        since: Option<u64>,
        /// No more than so many.
        limit: Option<u64>,
    },
    /// Something that no dialect knows, and perhaps the application.
    Custom {
        /// Its name, as it was written.
        name: Cow<'a, str>,
        /// The whole object.
        object: &'a RawValue,
    },
    /// A message to groups and users.
    Post(Post<'a>),
    /// Take a name in the chat.
    Claim {
        /// Which.
        name: Cow<'a, str>,
        /// The whole message.
        object: Object<'a>,
    },
    /// Say something in the chat, or have anything else relayed there.
    Relay {
        /// The whole message.
        object: Object<'a>,
        /// What is said, where it is that.
        text: Option<Cow<'a, str>>,
    },
    /// Ask for life.
    Ping,
}

/// To become a member of a channel.
#[derive(Debug)]
pub struct Join<'a> {
    /// Which; a random one where it is not said.
    pub channel: Option<Cow<'a, str>>,
    /// Who may read and write there, if this creates it.
    pub visibility: Visibility,
    /// Whether to create it where it does not exist.
    pub or_create: bool,
    /// What was seen of it before, for who wants to know what was missed.
    pub resume: Option<Resume<'a>>,
}

/// How far a peer has read a channel.
#[derive(Debug)]
pub struct Resume<'a> {
    /// The number of the last message it has; `None` where it has seen none.
    pub since: Option<u64>,
    /// Which life of the channel that was in.
    pub epoch: Option<Cow<'a, str>>,
}

/// What an admin of a channel may do.
#[derive(Debug)]
pub enum Deed<'a> {
    /// Let a user join a private channel.
    Invite(Cow<'a, str>),
    /// Take that back.
    Uninvite(Cow<'a, str>),
    /// Take a user out.
    Kick(Cow<'a, str>),
    /// Say who may read and write.
    SetVisibility(Visibility),
    /// Take everybody out.
    Close,
}

/// Who may join a channel and write there, its admins aside.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Visibility {
    /// Everybody may do both.
    #[default]
    Public,
    /// Everybody may join, and only read.
    Protected,
    /// Those who are invited may do both.
    Private,
}

impl Visibility {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Visibility::Public => "public",
            Visibility::Protected => "protected",
            Visibility::Private => "private",
        }
    }

    /// As it is read, in any case.
    pub(crate) fn parse(text: &str) -> Option<Visibility> {
        [Visibility::Public, Visibility::Protected, Visibility::Private]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
    }
}

/// What a member of a channel may do there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Everything.
    Admin,
    /// Read and write.
    Write,
    /// Read.
    Read,
}

impl Access {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Admin => "admin",
            Access::Write => "write",
            Access::Read => "read",
        }
    }
}

/// A message to groups and users, in the `envelope` dialect.
#[derive(Debug)]
pub struct Post<'a> {
    /// What it is about.
    pub action: Cow<'a, str>,
    /// What it says.
    pub message: Cow<'a, str>,
    /// The group it is for, where no recipients are named.
    pub group: Cow<'a, str>,
    /// Who it says that sent it.
    pub user: Cow<'a, str>,
    /// Whom it is for and whom not; none: those of its group.
    pub recipients: Vec<Recipient<'a>>,
    /// There are recipients among them that are none.
    pub malformed_recipients: bool,
}

impl<'a> Post<'a> {
    /// A message to a group, whose members are those without a group where it has no name.
    ///
    /// ```
    /// let post = sockeye::hub::Post::to_group("news", "announcement", "it rains");
    /// assert!(post.recipients.is_empty());
    /// ```
    pub fn to_group(group: &'a str, action: &'a str, message: &'a str) -> Post<'a> {
        Post {
            action: action.into(),
            message: message.into(),
            group: group.into(),
            user: Cow::Borrowed(""),
            recipients: Vec::new(),
            malformed_recipients: false,
        }
    }
}

/// Whom a [`Post`] is for, or not.
#[derive(Debug)]
pub struct Recipient<'a> {
    /// What kind of recipient.
    pub kind: RecipientKind,
    /// The kind, in JSON, as it was written.
    pub written: &'a RawValue,
    /// The name.
    pub value: Cow<'a, str>,
}

/// What kind of recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecipientKind {
    /// The members of a group.
    Group,
    /// The connections of a user.
    User,
    /// Not the connections of a user.
    Excluded,
    /// Everybody.
    All,
    /// None that is known: nobody.
    Unknown,
}

/// Who is meant, where others are told of a user.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Person<'a> {
    /// The user's id; empty for the anonymous.
    pub uuid: &'a str,
    /// The user's name; empty for the anonymous.
    pub username: &'a str,
}

/// Something said in a channel, or to a user.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Where.
    pub channel: &'a str,
    /// By whom.
    pub by: Person<'a>,
    /// What.
    pub text: &'a str,
    /// Milliseconds since 1970, UTC.
    pub unix_ms: u64,
    /// Minutes since midnight where the server is.
    pub minute_of_day: u16,
    /// Its number in the channel.
    pub seq: u64,
}

/// What a peer is told.
#[derive(Debug)]
pub enum Notice<'a> {
    /// Something went wrong.
    Problem(&'a Problem<'a>),
    /// It was done.
    Done {
        /// What there is to say of it.
        message: &'a str,
    },
    /// It was done, and this came of it: JSON objects, separated by commas.
    Data(&'a str),
    /// The id that the chat gave a newcomer.
    ChatId(u64),
    /// The name that the chat gave who wanted one that is taken.
    NameTaken {
        /// Whose.
        id: u64,
        /// What it is now.
        name: &'a str,
    },
    /// Who is in the chat: JSON strings, separated by commas.
    ChatNames(&'a str),
    /// Something for all in the chat.
    Relayed {
        /// What came.
        object: &'a Object<'a>,
        /// What to put in the place of its text.
        text: Option<&'a str>,
        /// Who sent it.
        id: u64,
        /// The name to put into it; `None`: only where it has one, with `sender`.
        name: Option<&'a str>,
        /// The sender's name.
        sender: &'a str,
    },
    /// The answer to who asks for life.
    Pong,
    /// A message to groups and users.
    Post {
        /// What came.
        post: &'a Post<'a>,
        /// Who sent it.
        user: &'a str,
    },
    /// What was said in a group before: JSON objects, separated by commas.
    Earlier {
        /// Which group.
        group: &'a str,
        /// The objects.
        posts: &'a str,
    },
}

/// What is wrong with a request, in the words of the `actions` dialect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Problem<'a> {
    /// It is no array of objects.
    NotJson,
    /// There is no such action.
    UnknownAction,
    /// Nobody has this token.
    InvalidToken,
    /// There is no channel of this name.
    NoChannel(Cow<'a, str>),
    /// It may not be joined.
    MayNotJoin(Cow<'a, str>),
    /// One is no member of it.
    NotAMember(Cow<'a, str>),
    /// There is nothing in it, for a channel.
    BlankMessage,
    /// One may not write there.
    MayNotWrite,
    /// There is no such user.
    NotConnected(Cow<'a, str>),
    /// Only users may do that.
    NotAuthenticated,
    /// There is nothing in it, for a user.
    BlankPrivateMessage,
    /// Only admins of the channel may do that.
    NotAnAdmin(Cow<'a, str>),
    /// The user to be taken out is not in it.
    NotInChannel(Cow<'a, str>),
    /// A field has a value of another type.
    WrongType {
        /// Which field.
        field: &'static str,
        /// What it is to be.
        expected: &'static str,
    },
    /// A field is not there.
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A name is too long.
    TooLong {
        /// Which field.
        field: &'static str,
        /// Bytes it may have.
        limit: u32,
    },
    /// The message is too large.
    TooLarge {
        /// Bytes it may have.
        limit: u32,
    },
    /// There are too many actions in it.
    TooMany {
        /// How many there may be.
        limit: u32,
    },
    /// They come too fast.
    TooFast {
        /// How many a second.
        per_second: u32,
        /// How many at once.
        burst: u32,
    },
    /// One is in too many channels.
    TooManyChannels {
        /// The one more.
        channel: Cow<'a, str>,
        /// How many there may be.
        limit: u32,
    },
    /// There are too many channels.
    Full {
        /// The one more.
        channel: Cow<'a, str>,
        /// How many there may be.
        limit: u32,
    },
    /// Too many are invited.
    TooManyInvited {
        /// How many there may be.
        limit: u32,
    },
    /// Too many answers are awaited.
    TooManyPending {
        /// How many there may be.
        limit: u32,
    },
    /// What the application says.
    Other(Cow<'a, str>),
}

impl Problem<'_> {
    /// What is wrong, in a word that says nothing of what the peer sent: fit for a log.
    pub fn name(&self) -> &'static str {
        match self {
            Problem::NotJson => "not JSON",
            Problem::UnknownAction => "unknown action",
            Problem::InvalidToken => "invalid token",
            Problem::NoChannel(_) => "no such channel",
            Problem::MayNotJoin(_) => "may not join",
            Problem::NotAMember(_) => "not a member",
            Problem::BlankMessage | Problem::BlankPrivateMessage => "blank message",
            Problem::MayNotWrite => "may not write",
            Problem::NotConnected(_) => "user not connected",
            Problem::NotAuthenticated => "not authenticated",
            Problem::NotAnAdmin(_) => "not an admin",
            Problem::NotInChannel(_) => "user not in channel",
            Problem::WrongType { .. } => "wrong type",
            Problem::Missing { .. } => "missing field",
            Problem::TooLong { .. } => "name_bytes_max",
            Problem::TooLarge { .. } => "json_message_bytes_max",
            Problem::TooMany { .. } => "actions_per_message_max",
            Problem::TooFast { .. } => "actions_per_second_max",
            Problem::TooManyChannels { .. } => "channels_per_connection_max",
            Problem::Full { .. } => "channels_max",
            Problem::TooManyInvited { .. } => "invited_max",
            Problem::TooManyPending { .. } => "pending_max",
            Problem::Other(_) => "refused by the application",
        }
    }
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotJson => f.write_str("Did not receive valid JSON"),
            Problem::UnknownAction => {
                f.write_str("Invalid command, unable to process.  Check the 'action' variable is correct.")
            }
            Problem::InvalidToken => f.write_str("Invalid auth token"),
            Problem::NoChannel(name) => write!(f, "Channel does not exist, {name}"),
            Problem::MayNotJoin(name) => {
                write!(f, "Unable to create channel, {name}.  Permission denied")
            }
            Problem::NotAMember(name) => write!(f, "You are not in the channel, {name}"),
            Problem::BlankMessage => f.write_str("Can not send a blank message"),
            Problem::MayNotWrite => f.write_str("Unable to send to channel.  Permission denied."),
            Problem::NotConnected(uuid) => write!(f, "The user is not connected with uuid: {uuid}"),
            Problem::NotAuthenticated => f.write_str("You must be authenticated to send private message."),
            Problem::BlankPrivateMessage => f.write_str("You can not send a blank message."),
            Problem::NotAnAdmin(name) => {
                write!(f, "Permission denied.  You are not an admin of the channel, {name}")
            }
            Problem::NotInChannel(uuid) => {
                write!(f, "The user is not in the channel with uuid: {uuid}")
            }
            Problem::WrongType { field, expected } => {
                write!(f, "Invalid value for '{field}': expected {expected}")
            }
            Problem::Missing { field } => write!(f, "Missing field '{field}'"),
            Problem::TooLong { field, limit } => {
                write!(f, "The value of '{field}' is too long: at most {limit} bytes (name_bytes_max)")
            }
            Problem::TooLarge { limit } => {
                write!(f, "The message is too large: at most {limit} bytes (json_message_bytes_max)")
            }
            Problem::TooMany { limit } => {
                write!(f, "Too many actions in one message: at most {limit} (actions_per_message_max)")
            }
            Problem::TooFast { per_second, burst } => write!(
                f,
                "Too many actions: at most {per_second} a second, {burst} at once (actions_per_second_max, \
                 actions_burst_max)"
            ),
            Problem::TooManyChannels { channel, limit } => write!(
                f,
                "Unable to join channel, {channel}.  At most {limit} channels per connection \
                 (channels_per_connection_max)"
            ),
            Problem::Full { channel, limit } => {
                write!(f, "Unable to create channel, {channel}.  At most {limit} channels (channels_max)")
            }
            Problem::TooManyInvited { limit } => {
                write!(f, "Unable to invite.  At most {limit} users are invited to a channel (invited_max)")
            }
            Problem::TooManyPending { limit } => {
                write!(f, "Too many actions are not answered yet: at most {limit} (pending_max)")
            }
            Problem::Other(text) => f.write_str(text),
        }
    }
}

//! Users in a file: TOML, a `[[user]]` each. The text comes in as an argument, and an error says where in it.

use super::{ADMIN_ID, ADMIN_PREFIX, IDENTITY_BYTES_MAX, Identity, Secret, TOKEN_BYTES_MAX};
use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    ops::Range,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Everybody in a file of users, by token.
///
/// Each `[[user]]` has a `token` and an `id`, and may have a `name` (default: the id) and a `group` (default: none).
///
/// ```
/// use sockeye::hub::auth::Users;
/// let users = Users::parse(
///     r#"
///     [[user]]
///     token = "3q2-7wAAzmPq"
///     id = "7"
///     name = "Alice"
///     "#,
/// )?;
/// assert_eq!(users.find("3q2-7wAAzmPq").expect("she is in it").name, "Alice");
/// assert!(users.find("3q2-7wAAzmPQ").is_none());
/// # Ok::<(), sockeye::hub::auth::UsersError>(())
/// ```
#[derive(Clone, Default)]
pub struct Users {
    /// By [`Secret::place`]: eight bytes of a digest, hashed with a key that nobody knows, so that how long a look-up
    /// takes says nothing of a token. What is found there is compared in full, in constant time.
    by_place: HashMap<u64, Vec<(Secret, Identity)>>,
    len: usize,
}

impl Users {
    /// The users of `text`. All of them, or the first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Users, UsersError> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = line_at(text, error.span().map_or(text.len(), |span| span.start));
            UsersError { line, fault: UsersFault::Syntax { what: error.message().to_owned() } }
        })?;
        let mut users = Users::default();
        let mut seen = Seen::default();
        for (key, value) in in_order(table.get_ref()) {
            let file = File { text, span: key.span() };
            if key.get_ref() != TABLE {
                return Err(file.unknown(key.get_ref(), &[TABLE]));
            }
            let list = value.get_ref().as_array().ok_or_else(|| file.error(UsersFault::NoList))?;
            for entry in list.iter() {
                let file = File { text, span: entry.span() };
                let entry = entry.get_ref().as_table().ok_or_else(|| file.error(UsersFault::NoList))?;
                users.insert(&file, entry, &mut seen)?;
            }
        }
        Ok(users)
    }

    /// Whose token this is.
    pub fn find(&self, token: &str) -> Option<&Identity> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let secret = Secret::digested(token.as_bytes());
        let there = self.by_place.get(&secret.place())?;
        there.iter().find(|(known, _)| known.same(&secret)).map(|(_, identity)| identity)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn insert(&mut self, file: &File<'_>, entry: &DeTable<'_>, seen: &mut Seen) -> Result<(), UsersError> {
        let mut fields = [const { None }; FIELDS.len()];
        for (key, value) in in_order(entry) {
            let file = File { text: file.text, span: key.span() };
            let Some(at) = FIELDS.iter().position(|field| field == key.get_ref()) else {
                return Err(file.unknown(key.get_ref(), &FIELDS));
            };
            fields[at] = Some((file.line(), file.string(FIELDS[at], value)?));
        }
        let [token, id, name, group] = fields;
        let (token_line, token) = token.ok_or_else(|| file.error(UsersFault::Missing { field: "token" }))?;
        let (id_line, id) = id.ok_or_else(|| file.error(UsersFault::Missing { field: "id" }))?;

        let secret = Secret::digested(token.as_bytes());
        if let Some(first) = seen.token(&secret, token_line) {
            return Err(UsersError { line: token_line, fault: UsersFault::DuplicateToken { first } });
        }
        if let Some(&first) = seen.ids.get(&id) {
            return Err(UsersError { line: id_line, fault: UsersFault::DuplicateId { id, first } });
        }
        seen.ids.insert(id.clone(), id_line);
        let or_default = |field: Option<(usize, String)>| field.map(|(_, value)| value);
        let identity = Identity {
            name: or_default(name).unwrap_or_else(|| id.clone()),
            group: or_default(group).unwrap_or_default(),
            uuid: id,
        };
        self.by_place.entry(secret.place()).or_default().push((secret, identity));
        self.len += 1;
        Ok(())
    }
}

impl fmt::Debug for Users {
    /// How many they are. Who they are is nobody's business who prints a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len).finish_non_exhaustive()
    }
}

/// What is wrong with a file of users, and in which line. Never says a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsersError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: UsersFault,
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

impl std::error::Error for UsersError {}

/// What is wrong with a user, or with the file as a whole.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UsersFault {
    /// It is no TOML.
    Syntax {
        /// What the parser says.
        what: String,
    },
    /// `user` is something else than a list of tables.
    NoList,
    /// A key that means nothing.
    UnknownKey {
        /// The key.
        key: String,
        /// The key that looks most like it.
        nearest: Option<&'static str>,
        /// All that there are.
        known: &'static [&'static str],
    },
    /// A field that every user has is not there.
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A field is no string.
    NoString {
        /// Which.
        field: &'static str,
        /// What it is, and for all but a token its value.
        found: String,
    },
    /// A field is there and empty.
    Empty {
        /// Which.
        field: &'static str,
    },
    /// A field is longer than [`IDENTITY_BYTES_MAX`], or a token than [`TOKEN_BYTES_MAX`].
    TooLong {
        /// Which.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// What it may have.
        most: usize,
    },
    /// An id or a name that is the server admin's.
    ReservedName {
        /// Which field.
        field: &'static str,
    },
    /// A token that begins as the admin's does.
    ReservedToken,
    /// A token that can never be used, because it means "by my session cookie".
    UnusableToken,
    /// Two users with one token.
    DuplicateToken {
        /// The line of the first.
        first: usize,
    },
    /// Two users with one id.
    DuplicateId {
        /// The id.
        id: String,
        /// The line of the first.
        first: usize,
    },
}

impl fmt::Display for UsersFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsersFault::Syntax { what } => write!(f, "this is no TOML: {what}"),
            UsersFault::NoList => f.write_str("'user' is no list of users: begin each with [[user]]"),
            UsersFault::UnknownKey { key, nearest, known } => {
                write!(f, "there is no '{}'", key.escape_debug())?;
                match nearest {
                    Some(nearest) => write!(f, ": did you mean '{nearest}'?")?,
                    None => f.write_str(": leave it out.")?,
                }
                write!(f, " There is {}", known.join(", "))
            }
            UsersFault::Missing { field } => {
                write!(f, "a user has no '{field}': add {field} = \"…\" below [[user]]")
            }
            UsersFault::NoString { field, found } => {
                write!(f, "'{field}' is {found}, not a string: put it in quotes")
            }
            UsersFault::Empty { field: field @ ("token" | "id") } => {
                write!(f, "'{field}' is empty: every user needs one")
            }
            UsersFault::Empty { field } => write!(f, "'{field}' is empty: leave it out"),
            UsersFault::TooLong { field, bytes, most } => {
                write!(f, "'{field}' has {bytes} bytes, at most {most}: choose a shorter one")
            }
            UsersFault::ReservedName { field } => {
                write!(f, "'{field}' is '{ADMIN_ID}', which is the server's admin: choose another")
            }
            UsersFault::ReservedToken => {
                write!(f, "'token' begins with '{ADMIN_PREFIX}', as the admin's does: choose another")
            }
            UsersFault::UnusableToken => f.write_str(
                "'token' is 'null' or 'undefined', which pages send when they have none: choose another",
            ),
            UsersFault::DuplicateToken { first } => {
                write!(f, "'token' is that of line {first} too: give each user one of their own")
            }
            UsersFault::DuplicateId { id, first } => {
                let id = id.escape_debug();
                write!(f, "'id' is '{id}', as in line {first}: give each user one of their own")
            }
        }
    }
}

/// A place in the file.
struct File<'a> {
    text: &'a str,
    span: Range<usize>,
}

impl File<'_> {
    fn line(&self) -> usize {
        line_at(self.text, self.span.start)
    }

    fn error(&self, fault: UsersFault) -> UsersError {
        UsersError { line: self.line(), fault }
    }

    fn unknown(&self, key: &str, known: &'static [&'static str]) -> UsersError {
        let near = |known: &&&str| distance(&key.to_lowercase(), known) <= 2;
        let nearest = known.iter().filter(near).min_by_key(|known| distance(&key.to_lowercase(), known));
        self.error(UsersFault::UnknownKey { key: key.to_owned(), nearest: nearest.copied(), known })
    }

    /// The value of `field`, if it is fit for that.
    fn string(&self, field: &'static str, value: &Spanned<DeValue<'_>>) -> Result<String, UsersError> {
        let Some(text) = value.get_ref().as_str() else {
            let mut found = format!("of type {}", value.get_ref().type_str());
            let shown = self.text.get(value.span()).filter(|shown| shown.len() <= SHOWN_BYTES_MAX);
            if let Some(shown) = shown.filter(|shown| field != "token" && !shown.contains('\n')) {
                found = format!("{shown}, {found}");
            }
            return Err(self.error(UsersFault::NoString { field, found }));
        };
        let most = if field == "token" { TOKEN_BYTES_MAX } else { IDENTITY_BYTES_MAX };
        let fault = if text.is_empty() && field != "group" {
            UsersFault::Empty { field }
        } else if text.len() > most {
            UsersFault::TooLong { field, bytes: text.len(), most }
        } else if field == "token" {
            match text {
                "null" | "undefined" => UsersFault::UnusableToken,
                _ if text.starts_with(ADMIN_PREFIX) => UsersFault::ReservedToken,
                _ => return Ok(text.to_owned()),
            }
        } else if field != "group" && text == ADMIN_ID {
            UsersFault::ReservedName { field }
        } else {
            return Ok(text.to_owned());
        };
        Err(self.error(fault))
    }
}

/// What users before this one have, and in which line.
#[derive(Default)]
struct Seen {
    tokens: HashMap<[u8; 32], usize>,
    ids: HashMap<String, usize>,
}

impl Seen {
    /// The line in which this token was, if it was.
    fn token(&mut self, secret: &Secret, line: usize) -> Option<usize> {
        match self.tokens.entry(secret.digest) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(vacant) => {
                vacant.insert(line);
                None
            }
        }
    }
}

/// The entries of a table as they stand in the file, so that what is wrong first is told first.
fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// How many characters to add, drop or change to make `a` of `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The one table of the file.
const TABLE: &str = "user";

/// What a user may have.
const FIELDS: [&str; 4] = ["token", "id", "name", "group"];

/// Longest value that an error shows, in bytes.
const SHOWN_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "[[user]]\ntoken = \"t0k3n-a\"\nid = \"7\"\n";

    fn error(text: &str) -> UsersError {
        Users::parse(text).expect_err(text)
    }

    /// The one user's fields, each on a line, the first on line 2.
    fn error_of(fields: &str) -> UsersError {
        error(&format!("[[user]]\n{fields}\n"))
    }

    #[test]
    fn users_are_found_by_their_tokens_and_have_defaults() {
        let text =
            format!("{ALICE}[[user]]\ntoken = \"t0k3n-b\"\nid = \"8\"\nname = \"Bob\"\ngroup = \"g\"\n");
        let users = Users::parse(&text).unwrap();
        assert_eq!((users.len(), users.is_empty()), (2, false));
        let alice = Identity { uuid: "7".into(), name: "7".into(), group: String::new() };
        let bob = Identity { uuid: "8".into(), name: "Bob".into(), group: "g".into() };
        assert_eq!(users.find("t0k3n-a"), Some(&alice));
        assert_eq!(users.find("t0k3n-b"), Some(&bob));
        for nobody in ["", "t0k3n-", "t0k3n-c", "t0k3n-a ", "T0k3n-a", "7", "Bob", "admin:", "null"] {
            assert_eq!(users.find(nobody), None, "{nobody:?}");
        }
    }

    #[test]
    fn no_users_is_a_file_too() {
        for text in ["", "# nobody yet\n", "user = []\n"] {
            assert!(Users::parse(text).unwrap().is_empty());
        }
    }

    #[test]
    fn tokens_that_share_a_place_are_told_apart() {
        let mut users = Users::parse(ALICE).unwrap();
        let (place, entries) = users.by_place.iter_mut().next().unwrap();
        assert_eq!(*place, Secret::digested(b"t0k3n-a").place());
        entries[0].0 = Secret::digested(b"another");
        assert_eq!(users.find("t0k3n-a"), None);
    }

    #[test]
    fn neither_debug_nor_an_error_says_a_token() {
        let users = Users::parse(ALICE).unwrap();
        assert_eq!(format!("{users:?}"), "Users { len: 1, .. }");
        let token = "t0k3n-a";
        for text in [
            format!("{ALICE}{ALICE}"),
            format!("[[user]]\ntoken = [\"{token}\"]\nid = \"7\""),
            format!("[[user]]\ntoken = {token}\nid = \"7\""),
            format!("[[user]]\ntoken = \"{token}\nid = \"7\""),
            format!("[[user]]\ntoken = \"{token}\" \"\nid = \"7\""),
            format!("[[user]]\ntoken = \"{token}\""),
            format!("[[user]]\nid = \"\"\ntoken = \"{token}\""),
            format!("[[user]]\ntoken = \"admin:{token}\"\nid = \"7\""),
            format!("[[user]]\ntoken = \"{token}\"\ntoken = \"{token}\"\nid = \"7\""),
        ] {
            let error = error(&text);
            for said in [format!("{error}"), format!("{error:?}")] {
                assert!(!said.contains(token), "{said}");
            }
        }
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let said = error("[[user]]\ntoken = \"a\"\nid = seven\n").to_string();
        assert!(said.starts_with("line 3: this is no TOML: "), "{said}");
        let said = error("[[user]]\ntoken = \"a\"\ntoken = \"b\"\n").to_string();
        assert!(said.starts_with("line 3: this is no TOML: "), "{said}");
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest_one() {
        let said = error("# users\n[[users]]\n").to_string();
        assert_eq!(said, "line 2: there is no 'users': did you mean 'user'? There is user");
        let said = error_of("token = \"a\"\nid = \"7\"\nGroups = \"g\"").to_string();
        assert_eq!(
            said,
            "line 4: there is no 'Groups': did you mean 'group'? There is token, id, name, group"
        );
        let said = error_of("password = \"a\"").to_string();
        assert_eq!(said, "line 2: there is no 'password': leave it out. There is token, id, name, group");
    }

    #[test]
    fn a_list_of_users_is_asked_for() {
        for (text, line) in [("[user]\n", 1), ("\nuser = 1\n", 2), ("user = [\n 1]\n", 2)] {
            assert_eq!(error(text), UsersError { line, fault: UsersFault::NoList });
        }
    }

    #[test]
    fn token_and_id_must_be_there() {
        let text = format!("{ALICE}\n[[user]]\nid = \"8\"\n");
        assert_eq!(error(&text), UsersError { line: 5, fault: UsersFault::Missing { field: "token" } });
        assert_eq!(error_of("token = \"a\"").fault, UsersFault::Missing { field: "id" });
        assert_eq!(
            error_of("token = \"a\"").to_string(),
            "line 1: a user has no 'id': add id = \"…\" below [[user]]"
        );
    }

    #[test]
    fn a_value_that_is_no_string_is_shown_unless_it_is_a_token() {
        let said = error_of("token = \"a\"\nid = 7").to_string();
        assert_eq!(said, "line 3: 'id' is 7, of type integer, not a string: put it in quotes");
        let said = error_of("token = 1234567").to_string();
        assert_eq!(said, "line 2: 'token' is of type integer, not a string: put it in quotes");
    }

    #[test]
    fn no_field_may_be_empty_but_the_group() {
        for field in ["token", "id", "name"] {
            assert_eq!(error_of(&format!("{field} = \"\"")).fault, UsersFault::Empty { field });
        }
        let users = Users::parse("[[user]]\ntoken = \"a\"\nid = \"7\"\ngroup = \"\"").unwrap();
        assert_eq!(users.find("a").map(|user| &*user.group), Some(""));
    }

    #[test]
    fn what_is_the_admins_is_no_users() {
        for field in ["id", "name"] {
            let fault = error_of(&format!("{field} = \"admin\"")).fault;
            assert_eq!(fault, UsersFault::ReservedName { field });
        }
        assert_eq!(error_of("token = \"admin:x\"").fault, UsersFault::ReservedToken);
        assert!(Users::parse("[[user]]\ntoken = \"admin\"\nid = \"admins\"\ngroup = \"admin\"").is_ok());
    }

    #[test]
    fn a_token_that_means_the_session_cookie_is_no_token() {
        for token in ["null", "undefined"] {
            assert_eq!(error_of(&format!("token = \"{token}\"")).fault, UsersFault::UnusableToken);
        }
    }

    #[test]
    fn ids_names_and_groups_end_at_a_kibibyte_and_tokens_at_eight() {
        for (field, most) in [("id", 1_024), ("name", 1_024), ("group", 1_024), ("token", 8_192)] {
            let bytes = most + 1;
            let fault = error_of(&format!("{field} = \"{}\"", "x".repeat(bytes))).fault;
            assert_eq!(fault, UsersFault::TooLong { field, bytes, most });
        }
        let (token, id) = ("t".repeat(8_192), "i".repeat(1_024));
        let users = Users::parse(&format!("[[user]]\ntoken = \"{token}\"\nid = \"{id}\"")).unwrap();
        assert_eq!(users.find(&token).unwrap().uuid, id);
    }

    #[test]
    fn tokens_and_ids_are_each_for_one_user() {
        let text = format!("{ALICE}[[user]]\nid = \"8\"\ntoken = 't0k3n-a'\n");
        assert_eq!(error(&text), UsersError { line: 6, fault: UsersFault::DuplicateToken { first: 2 } });
        let text = format!("{ALICE}[[user]]\nid = \"7\"\ntoken = \"other\"\n");
        let twice = error(&text);
        assert_eq!(
            (twice.line, twice.fault.clone()),
            (5, UsersFault::DuplicateId { id: "7".into(), first: 3 })
        );
        assert_eq!(twice.to_string(), "line 5: 'id' is '7', as in line 3: give each user one of their own");
        let in_one_line = "user = [{ token = 'a', id = '1' }, { token = 'a', id = '2' }]";
        assert_eq!(error(in_one_line).fault, UsersFault::DuplicateToken { first: 1 });
    }
}

//! Which dialect a connection speaks: what its path, host and subprotocols say.

use super::{CODECS, Dialect};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// What a handshake decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice<'a> {
    /// The dialect; `None`: the first message decides.
    pub dialect: Option<Dialect>,
    /// Whether the path said so.
    pub by_path: bool,
    /// The subprotocol to be acknowledged, of those that were offered: the first one that is known.
    pub subprotocol: Option<&'a str>,
}

/// Chooses by path, then host, then subprotocol, then listener.
///
/// ```
/// use sockeye::dialect::{Dialect, choose};
/// let choice = choose("/Chat", "example.com", ["soap", "echo"], None);
/// assert_eq!((choice.dialect, choice.subprotocol), (Some(Dialect::Chat), Some("echo")));
/// assert_eq!(choose("/", "echo.example.com", [], None).dialect, Some(Dialect::Echo));
/// ```
pub fn choose<'a>(
    path: &str,
    host: &str,
    offers: impl IntoIterator<Item = &'a str>,
    listener: Option<Dialect>,
) -> Choice<'a> {
    let path = Path::of(path);
    let by_path = CODECS.iter().find(|codec| (codec.is_chosen_by)(&path)).map(|codec| codec.dialect);
    let by_host = begins_with(host, "echo.").then_some(Dialect::Echo);
    let known = |offer: &str| CODECS.iter().find(|codec| codec.subprotocols.contains(&offer));
    let offered = offers.into_iter().find_map(|offer| Some((offer, known(offer)?.dialect)));
    Choice {
        dialect: by_path.or(by_host).or(offered.map(|(_, dialect)| dialect)).or(listener),
        by_path: by_path.is_some(),
        subprotocol: offered.map(|(offer, _)| offer),
    }
}

/// The room that a path leads to: what follows `/room/`, and else the one without a name; `None` where it is no UTF-8.
pub fn room_of(path: &str) -> Option<Cow<'_, str>> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let name = |path: &str| Path(Cow::Borrowed(path)).is_below("room").then(|| "/room/".len());
    Some(match (name(&path), path) {
        (None, _) => Cow::Borrowed(""),
        (Some(start), Cow::Borrowed(path)) => Cow::Borrowed(&path[start..]),
        (Some(start), Cow::Owned(path)) => Cow::Owned(path[start..].to_owned()),
    })
}

/// Whether a path leads to where messages are pushed to by POST.
pub fn is_push(path: &str) -> bool {
    Path::of(path).ends_in(&["__broadcastwebsocket", "__broadcastsocket"])
}

/// A path, percent-decoded.
pub(super) struct Path<'a>(Cow<'a, str>);

impl<'a> Path<'a> {
    fn of(path: &'a str) -> Path<'a> {
        Path(decoded(path))
    }

    /// Whether it is `/name`, in any case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.0.strip_prefix('/').is_some_and(|rest| rest.trim_end_matches('/').eq_ignore_ascii_case(name))
    }

    /// Whether it begins with `/name/`.
    pub(super) fn is_below(&self, name: &str) -> bool {
        let rest = self.0.strip_prefix('/').unwrap_or_default();
        rest.split_once('/').is_some_and(|(first, _)| first.eq_ignore_ascii_case(name))
    }

    /// Whether its last segment is one of `names`, a dot, and anything.
    pub(super) fn ends_in(&self, names: &[&str]) -> bool {
        let Some((name, _)) = self.last().split_once('.') else { return false };
        names.iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    /// Whether its last segment begins so.
    pub(super) fn last_begins_with(&self, start: &str) -> bool {
        begins_with(self.last(), start)
    }

    fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn begins_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_choose_in_any_case_and_some_in_any_directory() {
        use Dialect::{Actions, Chat, Echo, Envelope, Room};
        let cases = [
            ("/actions", Some(Actions)),
            ("/ACTIONS", Some(Actions)),
            ("/%61ctions", Some(Actions)),
            ("/actions/more", None),
            ("/actionsx", None),
            ("/envelope", Some(Envelope)),
            ("/a/b/__InitializeWebSocket.PHP", Some(Envelope)),
            ("/__initializesocket.wwsc", Some(Envelope)),
            ("/__initializesocket.", Some(Envelope)),
            ("/__initializesocket", None),
            ("/__initializesocketx.y", None),
            ("/chat", Some(Chat)),
            ("/room", Some(Room)),
            ("/Room/echo", Some(Room)),
            ("/roomy", None),
            ("/echo", Some(Echo)),
            ("/path/to/echo-web-socket-handler", Some(Echo)),
            ("/echo/more", None),
            ("/path/to/web-socket-handler", None),
            ("/", None),
        ];
        for (path, dialect) in cases {
            let choice = choose(path, "a", [], None);
            assert_eq!((choice.dialect, choice.by_path), (dialect, dialect.is_some()), "{path}");
        }
    }

    #[test]
    fn path_wins_over_host_over_subprotocol_over_listener() {
        let choice = |path, host, offers: &[&'static str]| {
            let found = choose(path, host, offers.iter().copied(), Some(Dialect::Room));
            (found.dialect.map(Dialect::name), found.subprotocol)
        };
        assert_eq!(choice("/chat", "echo.a", &["x", "actions"]), (Some("chat"), Some("actions")));
        assert_eq!(choice("/x", "ECHO.a:80", &["json"]), (Some("echo"), Some("json")));
        assert_eq!(choice("/x", "echo", &["soap", "json", "room"]), (Some("chat"), Some("json")));
        assert_eq!(choice("/x", "a", &["soap"]), (Some("room"), None));
    }

    #[test]
    fn a_room_has_the_name_that_its_path_spells() {
        let cases = [
            ("/room", Some("")),
            ("/room/", Some("")),
            ("/room/a%20%E2%82%AC", Some("a €")),
            ("/ROOM/a/b", Some("a/b")),
            ("/room/a%2Fb", Some("a/b")),
            ("/room/100%", Some("100%")),
            ("/room/%ff", None),
            ("/elsewhere", Some("")),
        ];
        for (path, name) in cases {
            assert_eq!(room_of(path).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn pushes_go_to_their_own_paths() {
        assert!(is_push("/x/__BroadcastWebSocket.php") && is_push("/__broadcastsocket.w"));
        assert!(!is_push("/__broadcastsocket") && !is_push("/__broadcastsocket.x/y"));
    }
}

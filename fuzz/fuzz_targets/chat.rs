//! The `chat` dialect beside a tree of the same message: what is no JSON, beyond a bound, or only for the server to
//! say, is not read; no tag is left in what is said; and what is relayed is the client's object, each key once, in its
//! order, with the sender's own id and name.
//!
//! `room` and `echo` have no target: their decoder reads nothing and their encoder writes nothing.
//!
//! Input: a byte whose lowest bit asks for low bounds, then the text, see `json::text_of`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::dialect::{
    Dialect, Object,
    action::{Action, Notice, Request},
};
use sockeye_fuzz::json::{TOKENS, Tree, bounds, is_json, text_of, written};

const OWN_TOKENS: [&str; 16] = [
    "{\"type\":\"",
    "\",\"text\":\"",
    "\",\"name\":\"",
    ",\"name\":",
    ",\"id\":",
    ",\"date\":",
    "username",
    "message",
    "userlist",
    "rejectusername",
    "ping",
    "<b>",
    "</b>",
    "<>",
    "\"type\":\"id\"",
    "a-name-of-some-length",
];

fuzz_target!(|data: &[u8]| {
    let Some((&flags, data)) = data.split_first() else { return };
    let tokens = [&OWN_TOKENS[..], &TOKENS[..]].concat();
    let text = text_of(data, &tokens);
    let limits = bounds(flags & 1 != 0);
    for dialect in [Dialect::Room, Dialect::Echo] {
        let mut requests = Vec::new();
        dialect.decode(&text, &limits, &mut requests);
        assert!(requests.is_empty() && !dialect.encode(&Notice::Pong, None, &mut String::new()));
    }
    let mut requests = Vec::new();
    Dialect::Chat.decode(&text, &limits, &mut requests);
    let action = match &requests[..] {
        [] => return,
        [Request { action: Ok(action), id: None }] => action,
        _ => panic!("{requests:?}"),
    };
    if let Action::Ping = action {
        return assert_eq!(text, "ping");
    }
    assert!(is_json(&text), "what is no JSON was taken: {text:?}");
    assert!(text.len() <= limits.message_bytes_max as usize);
    let tree = Tree::parse(&text);
    assert!(tree.as_ref().is_none_or(|tree| tree.depth() <= limits.depth_max));
    let kind = tree.as_ref().and_then(|tree| tree.field("type", false)?.text());
    let said = |key: &str| tree.as_ref().and_then(|tree| tree.field(key, false)?.text());
    match action {
        Action::Claim { name, object } => {
            assert!(kind.is_none_or(|kind| kind == "username"));
            assert!(!name.is_empty() && name.len() <= limits.name_bytes_max as usize);
            assert!(said("name").is_none_or(|said| without_tags(&said) == *name));
            relayed(object, None, Some(name), tree.as_ref());
        }
        Action::Relay { object, text: Some(text) } => {
            assert!(kind.is_none_or(|kind| kind == "message"));
            assert!(said("text").is_none_or(|said| without_tags(&said) == *text));
            relayed(object, Some(text), Some(""), tree.as_ref());
        }
        Action::Relay { object, text: None } => {
            let own = ["id", "userlist", "rejectusername", "username", "message"];
            assert!(kind.is_none_or(|kind| !own.contains(&&*kind)), "a client spoke as the server: {text:?}");
            relayed(object, None, None, tree.as_ref());
        }
        _ => panic!("an action of another dialect"),
    }
});

/// `text.replace(/<[^>]+>/g, "")`, character by character.
fn without_tags(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        match rest.strip_prefix('<').and_then(|inside| inside.find('>')) {
            Some(len) if len > 0 => rest = &rest[len + 2..],
            _ => {
                kept.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    kept
}

fn relayed(object: &Object<'_>, text: Option<&str>, name: Option<&str>, came: Option<&Tree<'_>>) {
    const SENDER: &str = "<the sender>";
    let name = name.map(|name| if name.is_empty() { SENDER } else { name });
    let (mut out, notice) = (String::new(), Notice::Relayed { object, text, id: 7, name, sender: SENDER });
    assert!(Dialect::Chat.encode(&notice, None, &mut out));
    let tree = written(&out);
    let field = |key: &str| tree.field(key, false).and_then(Tree::text);
    assert!(tree.field("id", false).is_none_or(|id| id.number() == Some(7)), "another's id: {out}");
    assert!(field("name").is_none_or(|found| found == name.unwrap_or(SENDER)), "another's name: {out}");
    assert!(name.is_none() || field("name").is_some());
    assert!(text.is_none() || field("text").as_deref() == text);
    let Some(came) = came else { return };
    let mut keys: Vec<&str> = Vec::new();
    for key in came.keys() {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if name.is_some() && !keys.contains(&"name") {
        keys.push("name");
    }
    assert_eq!(tree.keys(), keys, "{out}");
}

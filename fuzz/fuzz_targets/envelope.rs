//! The `envelope` dialect beside a tree of the same message: what is no JSON, or beyond a bound, is not read; what is
//! read has the last value of each key, and comes out of what is written of it as it went in.
//!
//! Input: a byte whose lowest bit asks for low bounds, then the text, see `json::text_of`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::dialect::{
    Dialect,
    action::{Action, Notice, Post, Request},
};
use sockeye_fuzz::json::{TOKENS, Tree, bounds, is_json, text_of, written};

const OWN_TOKENS: [&str; 20] = [
    "{\"action\":\"",
    "\",\"message\":\"",
    "\",\"groupId\":\"",
    "\",\"userId\":\"",
    "\",\"USERID\":\"",
    "\",\"Action\":\"",
    "\",\"recipients\":[",
    "{\"type\":\"",
    "group",
    "user",
    "allButUser",
    "excludeuser",
    "ALL",
    "\",\"value\":\"",
    "\"},",
    "]}",
    "{\"type\":",
    ",\"value\":\"",
    "initialmessages",
    "a-name-of-some-length",
];

fuzz_target!(|data: &[u8]| {
    let Some((&flags, data)) = data.split_first() else { return };
    let tokens = [&OWN_TOKENS[..], &TOKENS[..]].concat();
    let text = text_of(data, &tokens);
    let limits = bounds(flags & 1 != 0);
    let mut requests = Vec::new();
    Dialect::Envelope.decode(&text, &limits, &mut requests);
    let post = match &requests[..] {
        [] => return,
        [Request { action: Ok(Action::Post(post)), id: None }] => post,
        _ => panic!("{requests:?}"),
    };
    assert!(is_json(&text), "what is no JSON was taken: {text:?}");
    let few = |n: usize, limit: u32| n <= limit as usize;
    assert!(few(text.len(), limits.message_bytes_max) && few(post.recipients.len(), limits.recipients_max));
    assert!(few(post.group.len(), limits.name_bytes_max) && few(post.user.len(), limits.name_bytes_max));
    if let Some(tree) = Tree::parse(&text) {
        assert!(tree.depth() <= limits.depth_max);
        same(post, &tree);
    }
    let once = encoded(post, "the sender");
    specified(post, &once);
    let mut again = Vec::new();
    Dialect::Envelope.decode(&once, &bounds(false), &mut again);
    if let [Request { action: Ok(Action::Post(returned)), .. }] = &again[..] {
        assert_alike(post, returned);
        assert_eq!(encoded(returned, "the sender"), once);
    } else {
        // Escapes make it longer; nothing else is a reason.
        assert!(once.len() > 1 << 20, "what was written cannot be read: {once:?}");
    }
    earlier(post, &once);
});

fn encoded(post: &Post<'_>, user: &str) -> String {
    let mut out = String::new();
    assert!(Dialect::Envelope.encode(&Notice::Post { post, user }, None, &mut out));
    out
}

/// The last of each key counts, in any case, and what is absent or null is empty.
fn same(post: &Post<'_>, tree: &Tree<'_>) {
    let is = |key: &str, value: &str| match tree.field(key, true) {
        None | Some(Tree::Scalar("null")) => value.is_empty(),
        // Lone surrogates are no text of Rust's, and become something else.
        Some(given) => given.text().is_none_or(|text| text == value),
    };
    assert!(is("action", &post.action) && is("message", &post.message));
    assert!(is("groupid", &post.group) && is("userid", &post.user));
    let elements = match tree.field("recipients", true) {
        None | Some(Tree::Scalar("null")) => &[][..],
        Some(recipients) => recipients.elements(),
    };
    assert_eq!(post.malformed_recipients, elements.len() > post.recipients.len());
}

/// All five keys, in their order, with the types they are to have.
fn specified(post: &Post<'_>, json: &str) {
    let tree = written(json);
    assert_eq!(tree.keys(), ["action", "message", "groupId", "userId", "recipients"]);
    let text = |key: &str| tree.field(key, false).and_then(Tree::text);
    assert_eq!(text("action").as_deref(), Some(&*post.action));
    assert_eq!(text("message").as_deref(), Some(&*post.message));
    assert_eq!(text("groupId").as_deref(), Some(&*post.group));
    assert_eq!(text("userId").as_deref(), Some("the sender"));
    let recipients = tree.field("recipients", false).expect("it was among the keys").elements();
    assert_eq!(recipients.len(), post.recipients.len());
    for (tree, recipient) in recipients.iter().zip(&post.recipients) {
        assert_eq!(tree.keys(), ["type", "value"]);
        let Some(Tree::Scalar(kind)) = tree.field("type", false) else { panic!("a type is no array") };
        assert!(kind.starts_with(['"', '-']) || kind.starts_with(|first: char| first.is_ascii_digit()));
        assert_eq!(tree.field("value", false).and_then(Tree::text).as_deref(), Some(&*recipient.value));
    }
}

fn assert_alike(post: &Post<'_>, returned: &Post<'_>) {
    assert_eq!(
        (&post.action, &post.message, &post.group),
        (&returned.action, &returned.message, &returned.group)
    );
    assert_eq!(returned.user, "the sender");
    assert!(!returned.malformed_recipients);
    assert_eq!(post.recipients.len(), returned.recipients.len());
    for (one, other) in post.recipients.iter().zip(&returned.recipients) {
        assert_eq!((one.kind, &one.value), (other.kind, &other.value));
        // Escapes are written anew, lone surrogates as something else.
        let written = one.written.get();
        assert!(written == other.written.get() || written.contains("\\u"), "{written}");
    }
}

/// What was said before is an array of the same objects, in a string.
fn earlier(post: &Post<'_>, json: &str) {
    let (posts, mut out) = ([json, json].join(","), String::new());
    assert!(Dialect::Envelope.encode(&Notice::Earlier { group: &post.group, posts: &posts }, None, &mut out));
    let tree = written(&out);
    assert_eq!(tree.keys(), ["action", "message", "groupId", "userId", "recipients"]);
    let message = tree.field("message", false).and_then(Tree::text).expect("it is a string");
    assert_eq!(message, format!("[{posts}]"));
    assert_eq!(written(&message).elements().len(), 2);
}

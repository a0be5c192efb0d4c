//! The `actions` dialect beside a tree of the same message: what is no JSON, or beyond a bound, is refused; each object
//! is one request, whose names are the last ones of its keys; and every answer is JSON with its keys in their order.
//!
//! Input: a byte whose lowest bit asks for low bounds, then the text, see `json::text_of`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::dialect::{
    Bounds, Dialect,
    action::{Action, Deed, Notice, Problem, Request},
};
use sockeye_fuzz::json::{TOKENS, Tree, bounds, is_json, text_of, written};

const OWN_TOKENS: [&str; 26] = [
    "{\"action\":\"",
    "join_channel",
    "leave-channel",
    "Message Channel",
    "messageUser",
    "authenticate",
    "history",
    "set_visibility",
    "kick_user",
    "subscribe_presence",
    "list_channels",
    "\",\"channel_name\":\"",
    "\",\"message\":\"",
    "\",\"uuid\":\"",
    "\",\"token\":\"",
    "\",\"visibility\":\"",
    "private",
    ",\"id\":",
    ",\"since\":",
    ",\"limit\":",
    ",\"epoch\":",
    ",\"join_or_create\":",
    "\"action\":",
    "invite_user",
    "a-name-of-some-length",
    "},",
];

fuzz_target!(|data: &[u8]| {
    let Some((&flags, data)) = data.split_first() else { return };
    let tokens = [&OWN_TOKENS[..], &TOKENS[..]].concat();
    let text = text_of(data, &tokens);
    let bounds = bounds(flags & 1 != 0);
    let mut requests = Vec::new();
    Dialect::Actions.decode(&text, &bounds, &mut requests);
    for request in &requests {
        within(&bounds, request);
        answer(request);
    }
    let alone = |problem: fn(&Problem<'_>) -> bool| matches!(&requests[..], [Request { action: Err(found), id: None }] if problem(found));
    if text.len() > bounds.message_bytes_max as usize {
        return assert!(alone(|problem| matches!(problem, Problem::TooLarge { .. })));
    }
    if !is_json(&text) {
        return assert!(alone(|problem| *problem == Problem::NotJson), "what is no JSON was taken: {text:?}");
    }
    // Without a tree, because of lone surrogates in keys, there is nothing to compare with.
    let Some(tree) = Tree::parse(&text) else { return };
    let objects = match &tree {
        Tree::List(elements) if !elements.is_empty() => &elements[..],
        Tree::Object(members) if !members.is_empty() => std::slice::from_ref(&tree),
        _ => return assert!(alone(|problem| *problem == Problem::NotJson)),
    };
    if tree.depth() > bounds.depth_max {
        return assert!(alone(|problem| *problem == Problem::NotJson), "too deep: {text:?}");
    }
    let limit = bounds.actions_max as usize;
    let objects: Vec<_> = objects.iter().filter(|element| matches!(element, Tree::Object(_))).collect();
    let mut left = requests.iter();
    for object in objects.iter().take(limit) {
        same(left.next().expect("an object is a request"), object);
    }
    if objects.len() > limit {
        let last = left.next().expect("what is too much is told");
        assert!(matches!(last.action, Err(Problem::TooMany { .. })));
    }
    assert!(left.next().is_none(), "there are more requests than objects: {text:?}");
});

/// No name that came through is longer than names may be.
fn within(bounds: &Bounds, request: &Request<'_>) {
    let (channel, user) = match &request.action {
        Ok(Action::Join(join)) => (join.channel.as_deref(), None),
        Ok(Action::Tell { uuid, .. }) => (None, Some(&**uuid)),
        Ok(
            Action::Leave { channel }
            | Action::Say { channel, .. }
            | Action::ListMembers { channel }
            | Action::SubscribePresence { channel }
            | Action::History { channel, .. },
        ) => (Some(&**channel), None),
        Ok(Action::Govern { channel, deed }) => match deed {
            Deed::Invite(user) | Deed::Uninvite(user) | Deed::Kick(user) => (Some(&**channel), Some(&**user)),
            Deed::SetVisibility(_) | Deed::Close => (Some(&**channel), None),
        },
        _ => (None, None),
    };
    for name in channel.into_iter().chain(user) {
        assert!(name.len() <= bounds.name_bytes_max as usize, "{name:?}");
    }
}

/// Whatever is answered to a request is a reply as it is specified, with its id where it has one.
fn answer(request: &Request<'_>) {
    let notice = match &request.action {
        Err(problem) => Notice::Problem(problem),
        Ok(Action::Join(join)) => Notice::Done { message: join.channel.as_deref().unwrap_or_default() },
        Ok(_) => Notice::Data("{\"action\":\"a\"}"),
    };
    let mut out = String::new();
    assert!(Dialect::Actions.encode(&notice, request.id, &mut out));
    let reply = written(&out);
    let keys = ["status", "version", "message", "data", "id"];
    assert_eq!(reply.keys(), keys[..if request.id.is_some() { 5 } else { 4 }], "{out}");
    let text = |key: &str| reply.field(key, false).and_then(Tree::text).expect("it is a string");
    assert_eq!(text("status"), if request.action.is_err() { "error" } else { "ok" });
    assert_eq!(text("version"), "1.0");
    let items = reply.field("data", false).expect("it was among the keys").elements();
    match &notice {
        Notice::Problem(problem) => assert_eq!((text("message"), items.len()), (problem.to_string(), 0)),
        Notice::Done { message } => assert_eq!((text("message"), items.len()), ((*message).to_owned(), 0)),
        _ => assert_eq!((text("message"), items.len()), (String::new(), 1)),
    }
}

/// What was decoded is what the object says.
fn same(request: &Request<'_>, object: &Tree<'_>) {
    let field = |key: &str| object.field(key, false);
    assert_eq!(request.id.is_some(), field("id").is_some());
    let text = |key: &str| match field(key) {
        None | Some(Tree::Scalar("null")) => Some(String::new()),
        Some(value) => value.text(),
    };
    let Some(name) = field("action").and_then(Tree::text) else {
        // A name that UTF-8 cannot hold is one all the same, and known to nobody.
        let is_text = matches!(field("action"), Some(Tree::Scalar(json)) if json.starts_with('"'));
        return assert!(is_text || matches!(request.action, Err(Problem::UnknownAction)));
    };
    let plain = name.to_ascii_lowercase().replace(['_', '-', ' '], "");
    let is = |key: &str, value: &str| text(key).is_none_or(|text| text == value);
    match &request.action {
        Ok(Action::Say { channel, text }) => {
            assert!(matches!(&*plain, "messagechannel" | "sendchannel"));
            assert!(is("channel_name", channel) && is("message", text));
        }
        Ok(Action::Tell { uuid, text }) => {
            assert_eq!(plain, "messageuser");
            assert!(is("uuid", uuid) && is("message", text));
        }
        Ok(Action::Join(join)) => {
            assert_eq!(plain, "joinchannel");
            assert!(is("channel_name", join.channel.as_deref().unwrap_or_default()));
            assert_eq!(join.resume.is_some(), field("since").is_some() || field("epoch").is_some());
        }
        Ok(Action::Leave { channel }) => {
            assert!(plain == "leavechannel" && is("channel_name", channel));
        }
        Ok(Action::Authenticate { token }) => {
            let said = token.as_deref().unwrap_or_default();
            let is_none = text("token").is_none_or(|text| matches!(&*text, "" | "null" | "undefined"));
            assert!(plain == "authenticate" && (is("token", said) || (said.is_empty() && is_none)));
        }
        Ok(Action::Custom { name: found, object }) => {
            assert_eq!(*found, name);
            assert!(object.get().starts_with('{'));
        }
        Ok(Action::Post(_) | Action::Claim { .. } | Action::Relay { .. } | Action::Ping) => {
            panic!("an action of another dialect")
        }
        Err(Problem::UnknownAction) => panic!("an action that has a name is the application's to know"),
        Err(Problem::NotJson) => panic!("an object is JSON"),
        Ok(_) | Err(_) => {}
    }
}

//! What a client was sent, held beside what it was to be sent.

use super::model::{Data, Hear, Model};
use crate::{Delivered, json::written};
use serde_json::Value;

/// All that one client was sent in a step is what the model says, in that order. Left out, and returned, are notices of
/// who comes and goes.
///
/// # Panics
/// When it is not.
pub fn assert_told(model: &mut Model, of: usize, heard: &[Delivered]) -> Vec<(String, String, String)> {
    let (mut presence, mut left) = (Vec::new(), model.take(of).into_iter());
    for delivered in heard {
        let value = match delivered {
            Delivered::Text(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            Delivered::Binary(_) => Value::Null,
        };
        let item = &value["data"][0];
        if matches!(item["action"].as_str(), Some("member_joined" | "member_left"))
            && item.get("reason").is_none()
        {
            presence.push((text(&item["action"]), text(&item["channel_name"]), text(&item["uuid"])));
            continue;
        }
        if value["action"] == "initialmessages" {
            earlier(model, of, &value);
            continue;
        }
        let Some(want) = left.next() else { panic!("{of} was sent what is not for it: {delivered:?}") };
        assert!(
            is_told(&want, delivered, &value),
            "{of} was sent {delivered:?}\nand was to be sent {want:?}"
        );
        if let Hear::Answer { data: Data::Joined { channel, .. }, ok: true, .. } = &want
            && let Some(channel) = model.channels.get_mut(&**channel)
        {
            channel.epoch = Some(text(&item["epoch"]));
        }
    }
    let missing: Vec<Hear> = left.collect();
    assert!(missing.is_empty(), "{of} was not sent {missing:?}");
    presence
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is a string").to_owned()
}

fn is_told(want: &Hear, delivered: &Delivered, value: &Value) -> bool {
    if let Hear::Exactly(exactly) = want {
        return exactly == delivered;
    }
    let Delivered::Text(json) = delivered else { return false };
    let keys = written(json);
    if let Hear::Post { message, user, group } = want {
        let is = |key: &str, wanted: &str| value[key] == wanted;
        return keys.keys() == ["action", "message", "groupId", "userId", "recipients"]
            && is("message", message)
            && is("userId", user)
            && is("groupId", group);
    }
    let has_id = value.get("id").is_some();
    assert_eq!(
        keys.keys(),
        ["status", "version", "message", "data", "id"][..if has_id { 5 } else { 4 }],
        "{json}"
    );
    let (is_ok, items) = (value["status"] == "ok", value["data"].as_array().expect("data is an array"));
    match want {
        Hear::Exactly(_) | Hear::Post { .. } => false,
        Hear::Error => !is_ok && !has_id && items.is_empty(),
        Hear::Answer { id, ok, data } => {
            value["id"] == *id && is_ok == *ok && if is_ok { came(data, items) } else { items.is_empty() }
        }
        Hear::Said { id, channel, uuid, text, seq } => {
            let [item] = &items[..] else { return false };
            value.get("id").and_then(Value::as_u64) == *id
                && item["channel_name"] == **channel
                && item["uuid"] == **uuid
                && is_said(item, text, *seq)
        }
        Hear::Expelled { channel, uuid, reason } => {
            let [item] = &items[..] else { return false };
            item["action"] == "member_left"
                && item["channel_name"] == **channel
                && item["uuid"] == **uuid
                && item["reason"] == *reason
        }
    }
}

/// A `new_message`, its page's HTML included.
fn is_said(item: &Value, said: &str, seq: Option<u64>) -> bool {
    let html = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let name = html(item["username"].as_str().expect("it is a string"));
    let tail = format!(" &lt;{name}&gt;: {}", html(said));
    let message = item["message"].as_str().expect("it is a string");
    item["action"] == "new_message"
        && item["text"] == said
        && message.len() == "[00:00]".len() + tail.len()
        && message.ends_with(&tail)
        && seq.is_none_or(|seq| item["seq"] == seq)
}

fn came(data: &Data, items: &[Value]) -> bool {
    match data {
        Data::Nothing => items.is_empty(),
        Data::One(action) => matches!(items, [item] if item["action"] == *action),
        Data::Members(action, uuids) => {
            let mut found: Vec<&str> = items.iter().filter_map(|item| item["uuid"].as_str()).collect();
            found.sort_unstable();
            found == *uuids && items.iter().all(|item| item["action"] == *action)
        }
        Data::Channels(names) => {
            let mut found: Vec<(String, usize)> = items
                .iter()
                .map(|item| (text(&item["channel_name"]), item["members"].as_u64().unwrap_or(0) as usize))
                .collect();
            found.sort_unstable();
            found == *names
        }
        Data::Said(_, said) => is_end(items, said),
        Data::Joined { channel, said, since, is_same } => {
            let Some((head, missed)) = items.split_first() else { return false };
            let is_head = head["action"] == "join_channel"
                && head["channel_name"] == **channel
                && head["seq"] == said.len();
            if head["recovered"] == false {
                return is_head && missed.is_empty();
            }
            let is_all = *since + missed.len() as u64 == said.len() as u64;
            is_head && head["recovered"] == true && *is_same && is_all && is_end(missed, said)
        }
    }
}

/// The last ones of all that was said, without a gap.
fn is_end(items: &[Value], said: &[String]) -> bool {
    let Some(first) = said.len().checked_sub(items.len()) else { return false };
    let wanted = said.iter().zip(1..).skip(first);
    items.iter().zip(wanted).all(|(item, (text, seq))| is_said(item, text, Some(seq)))
}

/// What was said before in a group is what was said there, and to this one, too.
fn earlier(model: &Model, of: usize, value: &Value) {
    let member = &model.members[of];
    // Whom the URL gives no group is in the one without a name until its first message has named one.
    let group = text(&value["groupId"]);
    assert!(group == member.group.0 || (group.is_empty() && !member.group.1), "of another group");
    let posts = text(&value["message"]);
    written(&posts);
    let posts: Vec<Value> = serde_json::from_str(&posts).expect("it is an array");
    assert!(!posts.is_empty(), "nothing was said, and that is told");
    for post in posts {
        let is_for = model.kept.iter().any(|(kept_in, message, excluded)| {
            *kept_in == group
                && post["message"] == **message
                && !(member.is_known && excluded.contains(member.uuid()))
        });
        assert!(is_for, "{of} was told what was not for it: {post}");
    }
}

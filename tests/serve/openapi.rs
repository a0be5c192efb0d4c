//! The description of the API, held against the server: each method at each path is called, and each status and body is one
//! that is described.

use crate::{
    admin::{Administered, Answer},
    page::{File, Page},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The description, and what of it was seen.
struct Description {
    root: Value,
    seen: BTreeSet<String>,
}

impl Description {
    /// What a reference leads to.
    fn resolve<'d>(&'d self, value: &'d Value) -> &'d Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let path = reference.strip_prefix('#').expect("it is in this document");
                self.resolve(self.root.pointer(path).unwrap_or_else(|| panic!("{reference} leads somewhere")))
            }
            None => value,
        }
    }

    /// Whether an answer is one of those that are described for a call.
    #[track_caller]
    fn expect(&mut self, method: &str, path: &str, status: u16, answer: &Answer) {
        let name = format!("{method} {path} {status}");
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        let responses = &self.root["paths"][path][method.to_lowercase()]["responses"];
        let response = self.resolve(&responses[status.to_string()]);
        assert!(response.is_object(), "{name} is not described: {answer:?}");
        for (header, described) in response["headers"].as_object().into_iter().flatten() {
            let is_there = answer.head.to_lowercase().contains(&format!("\r\n{}: ", header.to_lowercase()));
            assert!(is_there || described["required"] != true, "{name} has {header}: {answer:?}");
        }
        let content = response["content"].as_object().expect("every answer has a body");
        let (kind, described) = content.iter().next().expect("of one kind");
        assert!(answer.head.contains(&format!("Content-Type: {kind}")), "{name}: {answer:?}");
        let body = match kind.as_str() {
            "application/json" => serde_json::from_str(&answer.body).expect("it is JSON"),
            _ => json!(answer.body),
        };
        let mut faults = Vec::new();
        self.check(&described["schema"], &body, "", &mut faults);
        assert!(faults.is_empty(), "{name}: {faults:?} in {body}");
        self.seen.insert(name);
    }

    /// As much of JSON Schema as the description uses; whatever else is in a schema is a fault of the test.
    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let schema = self.resolve(schema).as_object().expect("a schema");
        let mut fault = |what: &str| faults.push(format!("{at}: {what}"));
        for (word, wanted) in schema {
            match word.as_str() {
                "type" if !has_type(wanted, value) => fault(&format!("{value} is no {wanted}")),
                "const" if value != wanted => fault(&format!("{value} is not {wanted}")),
                "enum" if !wanted.as_array().expect("a list").contains(value) => {
                    fault(&format!("{value} is none of {wanted}"));
                }
                "minimum" if value.as_f64() < wanted.as_f64() => fault(&format!("{value} is below {wanted}")),
                "maximum" if value.as_f64() > wanted.as_f64() => fault(&format!("{value} is above {wanted}")),
                "maxItems" if value.as_array().map(Vec::len) > wanted.as_u64().map(|n| n as usize) => {
                    fault("it is too long");
                }
                "required" if value.is_object() => {
                    let wanted = wanted.as_array().expect("a list").iter().filter_map(Value::as_str);
                    wanted
                        .filter(|name| value.get(name).is_none())
                        .for_each(|name| fault(&format!("there is no {name}")));
                }
                "additionalProperties" if value.is_object() => {
                    assert_eq!(wanted, false);
                    let known = |name: &&String| schema["properties"].get(name.as_str()).is_some();
                    let names = value.as_object().expect("it is one").keys();
                    names
                        .filter(|name| !known(name))
                        .for_each(|name| fault(&format!("{name} is not described")));
                }
                // The one pattern there is.
                "pattern" => assert_eq!(wanted, r"^[0-9]+\.[0-9]+$"),
                "type"
                | "const"
                | "enum"
                | "minimum"
                | "maximum"
                | "maxItems"
                | "required"
                | "properties"
                | "items"
                | "additionalProperties"
                | "description"
                | "format"
                | "examples" => {}
                word => panic!("{word} is not checked by this test"),
            }
        }
        if let (Some(items), Some(described)) = (value.as_array(), schema.get("items")) {
            items
                .iter()
                .enumerate()
                .for_each(|(i, item)| self.check(described, item, &format!("{at}/{i}"), faults));
        }
        for (name, described) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if let Some(value) = value.get(name) {
                self.check(described, value, &format!("{at}/{name}"), faults);
            }
        }
    }
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("a name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        name => panic!("{name} is not checked by this test"),
    };
    wanted.as_array().map_or_else(|| is(wanted), |any| any.iter().any(is))
}

#[test]
fn the_api_is_as_it_is_described() {
    let users = File::new("openapi-users", "[[user]]\ntoken = \"t\"\nid = \"7\"\nname = \"Alice\"\n");
    let mut server = Administered::start(&["--users", users.path(), "--connections-max", "3"]);
    let answer = server.ask("GET", "/api/v1/openapi.json", "");
    let root: Value = serde_json::from_str(&answer.body).expect("it is JSON");
    let mut description = Description { root, seen: BTreeSet::new() };
    description.expect("GET", "/api/v1/openapi.json", 200, &answer);

    let mut alice = Page::open(server.public, "/actions");
    assert!(alice.is_known("t"));
    assert_eq!(alice.ask(r#"[{"action":"join_channel","channel_name":"a"}]"#), "");
    let mut bob = Page::open(server.public, "/envelope?groupid=g&userid=bob");
    bob.send(r#"{"action":"hello","message":"m","groupId":"g"}"#).next();
    for path in ["/healthz", "/readyz", "/metrics"] {
        description.expect("GET", path, 200, &server.ask("GET", path, ""));
    }
    let mut room = Page::open(server.public, "/room/r");
    description.expect("GET", "/readyz", 503, &server.ask("GET", "/readyz", ""));

    for list in ["channels", "groups", "rooms", "connections"] {
        let path = format!("/api/v1/{list}");
        description.expect("GET", &path, 200, &server.ask("GET", &format!("{path}?limit=2"), ""));
        description.expect("GET", &path, 400, &server.ask("GET", &format!("{path}?limit=none"), ""));
        description.expect("GET", &path, 401, &server.ask_with("GET", &path, "", ""));
    }
    let path = "/api/v1/connections/{id}";
    let all = server.get("/api/v1/connections");
    for one in all["connections"].as_array().expect("a list") {
        let id = one["id"].as_str().expect("an id");
        assert!(
            id.split_once('.').is_some_and(|(a, b)| [a, b].iter().all(|part| part.parse::<u32>().is_ok()))
        );
        description.expect("GET", path, 200, &server.ask("GET", &format!("/api/v1/connections/{id}"), ""));
    }
    description.expect("GET", path, 404, &server.ask("GET", "/api/v1/connections/9.9", ""));
    description.expect("GET", path, 401, &server.ask_with("GET", "/api/v1/connections/9.9", "", ""));

    for (call, right, wrong) in [
        ("publish", json!({"channel": "a", "text": "t"}), json!({"channel": "a"})),
        ("kick", json!({"user": "bob"}), json!({})),
    ] {
        let path = format!("/api/v1/{call}");
        description.expect("POST", &path, 200, &server.post(call, right.clone()));
        description.expect("POST", &path, 400, &server.post(call, wrong));
        let nobody = json!({"user": "nobody", "text": "t"});
        let nobody = if call == "kick" { json!({"user": "nobody"}) } else { nobody };
        description.expect("POST", &path, 404, &server.post(call, nobody));
        description.expect("POST", &path, 411, &server.ask("POST", &path, ""));
    }
    bob.expect_close(1008);
    for call in ["publish", "kick", "drain", "reload"] {
        let path = format!("/api/v1/{call}");
        let unknown = json!({"not such a thing": 1});
        description.expect("POST", &path, 400, &server.post(call, unknown));
        description.expect("POST", &path, 401, &server.ask_with("POST", &path, "", "{}"));
        let token = format!("Authorization: Bearer {}\r\n", crate::admin::TOKEN);
        let large = format!("{token}Content-Type: application/json\r\nContent-Length: 99999999\r\n");
        description.expect("POST", &path, 413, &server.ask_with("POST", &path, &large, ""));
        let text = format!("{token}Content-Type: text/plain\r\nContent-Length: 2\r\n");
        description.expect("POST", &path, 415, &server.ask_with("POST", &path, &text, ""));
    }
    description.expect("POST", "/api/v1/reload", 202, &server.ask("POST", "/api/v1/reload", ""));

    // Those that are left: of a server that has nothing to read again, of one without a token, of one that was asked too often.
    let other = Administered::start(&[]);
    description.expect("POST", "/api/v1/reload", 409, &other.ask("POST", "/api/v1/reload", ""));
    while other.ask_with("GET", "/api/v1/rooms", "Authorization: Bearer no\r\n", "").status == 401 {}
    let calls: Vec<(String, String)> = description.root["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().expect("an item").keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .filter(|(_, path)| path.starts_with("/api/") && !path.ends_with("openapi.json"))
        .collect();
    assert_eq!(calls.len(), 9, "{calls:?}");
    let off = Administered::start_without_token();
    for (method, path) in &calls {
        description.expect(
            method,
            path,
            429,
            &other.ask_with(method, path, "Authorization: Bearer no\r\n", ""),
        );
        description.expect(method, path, 403, &off.ask(method, path, ""));
    }

    let drained = server.post("drain", json!({"within_ms": 60_000}));
    description.expect("POST", "/api/v1/drain", 202, &drained);
    for page in [&mut alice, &mut room] {
        page.send("[]");
    }
    drop((alice, room));
    assert_eq!(server.serving.exit_code(), Some(0));
    let all: BTreeSet<String> = description.root["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().expect("an item").iter().map(move |(method, call)| (method, path, call))
        })
        .flat_map(|(method, path, call)| {
            let statuses = call["responses"].as_object().expect("responses").keys();
            statuses.map(move |status| format!("{} {path} {status}", method.to_uppercase()))
        })
        .collect();
    let unseen: Vec<_> = all.difference(&description.seen).collect();
    assert!(unseen.is_empty(), "described, and never answered: {unseen:?}");
}

//! Secrets: where they come from, and that they go nowhere.

use crate::{
    client::{UsersFile, expect_ack, hear, hear_json, open_actions, say},
    server::{Server, wait_until},
};
use std::{collections::BTreeSet, fs};

#[test]
fn the_admin_password_may_be_in_a_file() {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = path.join(format!("admin-{}", std::process::id()));
    fs::write(&path, "from a file\n").expect("it can be written");
    let server = Server::spawn(&["--admin-password-file", path.to_str().expect("UTF-8")]);
    fs::remove_file(&path).expect("it was written");
    let mut peer = open_actions(&server, "");
    say(&mut peer, r#"[{"action":"authenticate","token":"admin:from a file"}]"#);
    expect_ack(&mut peer);
    say(&mut peer, r#"[{"action":"authenticate","token":"admin:from a file\n"}]"#);
    assert_eq!(hear_json(&mut peer)["message"], "Invalid auth token");
}

/// Whether this is the admin password.
fn opens(server: &Server, password: &str) -> bool {
    let mut peer = open_actions(server, "");
    let token = serde_json::to_string(&format!("admin:{password}")).expect("a string is JSON");
    say(&mut peer, &format!(r#"[{{"action":"authenticate","token":{token}}}]"#));
    hear_json(&mut peer)["status"] == "ok"
}

/// The word of the server's log that is its admin password.
fn shown_password(server: &Server) -> String {
    let mut found = Vec::new();
    wait_until("the password is shown", || {
        let log = server.logged();
        let words: BTreeSet<&str> =
            log.split(|c: char| c.is_whitespace() || "'\"`,()=".contains(c)).collect();
        let mut words: Vec<_> = words.into_iter().filter(|word| word.len() >= 8).collect();
        words.retain(|word| opens(server, word));
        found = words.into_iter().map(str::to_owned).collect();
        !found.is_empty()
    });
    let [password] = &found[..] else { panic!("{found:?} are passwords") };
    assert_eq!(server.logged().matches(password.as_str()).count(), 1, "it is shown once");
    password.clone()
}

#[test]
fn an_admin_password_that_is_not_given_is_random_and_shown_once() {
    let passwords = [Server::spawn(&[]), Server::spawn(&[])].map(|server| shown_password(&server));
    assert_ne!(passwords[0], passwords[1]);
    assert!(passwords[0].len() >= 16, "{} letters can be guessed", passwords[0].len());
}

#[test]
fn what_is_secret_is_never_logged() {
    let users = UsersFile::new("secret", &["alice"]);
    let server = Server::spawn(&["--admin-password", "pass-secret", "--users", users.path()]);
    let mut alice = open_actions(&server, "alice");
    for token in ["admin:pass-secret", "admin:wrong-secret", "wrong-secret", "token-alice"] {
        say(&mut alice, &format!(r#"[{{"action":"authenticate","token":"{token}"}}]"#));
        hear(&mut alice);
    }
    for password in ["pass-secret", "wrong-secret"] {
        let mut peer = server.dial();
        let head =
            "POST /__broadcastwebsocket.x HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\nAuthorization: Bearer";
        peer.send(format!("{head} {password}\r\n\r\n{{\"action\":\"x\"}}").as_bytes());
        peer.expect_head();
        peer.expect_cut();
    }
    fs::write(&users.0, "[[user]]\ntoken = \"token-secret\" no TOML").expect("it was written before");
    server.signal("HUP");
    say(&mut alice, r#"[{"action":"authenticate","token":"token-secret"}]"#);
    hear(&mut alice);
    server.signal("TERM");
    let mut server = server;
    alice.expect_frame();
    drop(alice);
    server.expect_exit();
    let log = server.logged();
    for secret in ["pass-secret", "wrong-secret", "token-alice", "token-secret"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

//! Who somebody is: the admin by a password, users by a file or by signed tokens.

use crate::{
    page::{File, Page, push},
    serving::{Serving, expect_usage, output, sockeye},
    tool::signal,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

fn serve(flags: &[&str]) -> Command {
    sockeye(&[&SERVE, flags].concat())
}

// ---------------------------------------------------------------------- the admin's password

/// What `made for this run` says.
fn made_password(serving: &mut Serving) -> String {
    let line = serving.line_with("admin password");
    let password = line.strip_prefix("sockeye: admin password, made for this run: ");
    password.unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[test]
fn a_password_that_nobody_gave_is_made_and_shown_once() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut serving = Serving::spawn(serve(&[]));
        let address = serving.listening_ip();
        let password = made_password(&mut serving);
        // 128 bits are 22 characters of base64.
        assert!(password.len() >= 22, "{password}");
        assert!(password.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{password}");
        assert!(Page::open(address, "/actions").is_known(&format!("admin:{password}")));
        assert!(!Page::open(address, "/actions").is_known("admin:"));
        signal("TERM", serving.child.id());
        assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
        assert_eq!(serving.said.matches(&password).count(), 1, "{}", serving.said);
        seen.push(password);
    }
    assert_ne!(seen[0], seen[1]);
}

/// The server knows this password, has made none, and shows it nowhere.
#[track_caller]
fn expect_password(command: Command, password: &str) {
    let mut serving = Serving::spawn(command);
    let address = serving.listening_ip();
    assert!(Page::open(address, "/actions").is_known(&format!("admin:{password}")), "{password:?}");
    let (head, _) = push(address, Some(password), r#"{"action":"a","message":"m"}"#);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (head, _) = push(address, Some("another"), r#"{"action":"a","message":"m"}"#);
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
    assert!(!serving.said.contains(password) && !serving.said.contains("password"), "{}", serving.said);
}

#[test]
fn the_flag_comes_before_the_file_and_that_before_the_environment() {
    let file = File::new("precedence", "of-the-file\n");
    let with_env = |flags: &[&str]| {
        let mut command = serve(flags);
        command.env("SOCKEYE_ADMIN_PASSWORD", "of-the-environment");
        command
    };
    let (flag, path) = (["--admin-password", "of-the-flag"], ["--admin-password-file", file.path()]);
    expect_password(with_env(&[flag, path].concat()), "of-the-flag");
    expect_password(with_env(&path), "of-the-file");
    expect_password(with_env(&[]), "of-the-environment");
}

#[test]
fn one_line_end_of_the_file_is_no_part_of_the_password() {
    for (name, content, password) in
        [("none", "one two", "one two"), ("lf", "secret\n", "secret"), ("crlf", "secret\r\n", "secret")]
    {
        let file = File::new(name, content);
        expect_password(serve(&["--admin-password-file", file.path()]), password);
    }
    // Two are one too many: that is another password.
    let file = File::new("two", "secret\n\n");
    let mut serving = Serving::spawn(serve(&["--admin-password-file", file.path()]));
    let address = serving.listening_ip();
    assert!(!Page::open(address, "/actions").is_known("admin:secret"));
    assert!(Page::open(address, "/actions").is_known("admin:secret\n"));
}

#[test]
fn an_empty_password_and_a_file_that_is_not_there_are_refused_with_2() {
    let empty = File::new("empty", "\n");
    let with = |flags: &[&str], words: &[&str]| expect_usage(&[&SERVE, flags].concat(), words);
    with(&["--admin-password", ""], &["--admin-password", "empty"]);
    with(&["--admin-password-file", empty.path()], &["--admin-password-file", empty.path(), "empty"]);
    with(
        &["--admin-password-file", "/nonexistent/pw"],
        &["--admin-password-file", "/nonexistent/pw", "No such"],
    );
    let bytes = File::new("bytes", [0xff, 0xfe]);
    with(&["--admin-password-file", bytes.path()], &[bytes.path(), "UTF-8"]);
    let mut command = serve(&[]);
    command.env("SOCKEYE_ADMIN_PASSWORD", "");
    let output = crate::tool::finish(command.spawn().expect("the binary starts"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("SOCKEYE_ADMIN_PASSWORD") && stderr.contains("empty"), "{stderr}");
}

// ---------------------------------------------------------------------- users in a file

const ALICE: &str = "[[user]]\ntoken = \"token-of-alice\"\nid = \"7\"\nname = \"Alice\"\n";
const BOB: &str = "[[user]]\ntoken = \"token-of-bob\"\nid = \"8\"\n";

#[test]
fn users_are_those_of_the_file_and_are_read_again_on_sighup() {
    let users = File::new("users", ALICE);
    let mut serving = Serving::spawn(serve(&["--users", users.path()]));
    let address = serving.listening_ip();
    let line = serving.line_with("users");
    assert_eq!(line, format!("sockeye: users read: 1 user in {}", users.path()));
    let mut alice = Page::open(address, "/actions");
    assert!(alice.is_known("token-of-alice"));
    assert!(!Page::open(address, "/actions").is_known("token-of-bob"));

    users.write([ALICE, BOB].concat());
    signal("HUP", serving.child.id());
    let line = serving.line_with("again");
    assert_eq!(line, format!("sockeye: users read again: 2 users in {}", users.path()));
    assert!(Page::open(address, "/actions").is_known("token-of-bob"));

    // Something is wrong with it: they stay as they were.
    users.write([ALICE, "[[user]]\ntoken = \"x\"\nid = \"9\"\nnmae = \"Eve\"\n"].concat());
    signal("HUP", serving.child.id());
    let line = serving.line_with("stay");
    for word in ["--users", users.path(), "line 8", "'nmae'", "'name'", "the users stay as they were"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(Page::open(address, "/actions").is_known("token-of-bob"));
    assert!(!Page::open(address, "/actions").is_known("x"));

    // Who has gone is not known any more; who is there stays who it is.
    users.write(BOB);
    signal("HUP", serving.child.id());
    serving.line_with("1 user in");
    assert!(!Page::open(address, "/actions").is_known("token-of-alice"));
    assert_eq!(alice.ask(r#"[{"action":"join_channel","channel_name":"a"}]"#), "");
    alice.send(r#"[{"action":"message_channel","channel_name":"a","message":"still"}]"#);
    assert_eq!(alice.json()["data"][0]["username"], "Alice");

    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
}

#[test]
fn a_file_of_users_that_is_wrong_or_not_there_is_refused_with_2_and_the_line_named() {
    let users = File::new("wrong-users", [ALICE, "\n[[user]]\nid = \"8\"\n"].concat());
    expect_usage(
        &[&SERVE[..], &["--users", users.path()]].concat(),
        &["--users", users.path(), "line 6", "token"],
    );
    expect_usage(
        &[&SERVE[..], &["--users", "/nonexistent/users"]].concat(),
        &["/nonexistent/users", "No such"],
    );
}

#[test]
fn sighup_without_users_ends_the_process_as_it_does_any() {
    // Who runs the tests may have had SIGHUP ignored, as nohup does, and a child would inherit that.
    let sample = serve(&[]);
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(sample.get_program()).args(sample.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut serving = Serving::spawn(command);
    serving.listening();
    signal("HUP", serving.child.id());
    assert_eq!(serving.exit_code(), None);
    assert_eq!(serving.child.wait().expect("it has ended").signal(), Some(1));
}

#[test]
fn the_session_cookie_is_a_token_for_who_says_none() {
    let users = File::new("cookie-users", ALICE);
    for (flags, cookie) in [
        (&[][..], "armor_sid_user=token-of-alice"),
        (&["--session-cookie", "sid"], "a=b; sid=token-of-alice"),
    ] {
        let mut serving = Serving::spawn(serve(&[&["--users", users.path()], flags].concat()));
        let address = serving.listening_ip();
        let mut page = Page::open_with(address, "/actions", &[("Cookie", cookie)]);
        assert_eq!(page.ask(r#"[{"action":"authenticate"}]"#), "", "{cookie}");
        let mut page = Page::open_with(address, "/actions", &[("Cookie", "other=token-of-alice")]);
        assert_eq!(page.ask(r#"[{"action":"authenticate"}]"#), "Invalid auth token");
    }
}

// ---------------------------------------------------------------------- signed tokens

const SECRET: &str = "a secret of at least 32 bytes, for tests";

/// Ed25519, PKCS #8; everybody knows it.
const ED25519_PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIBIXxjx52Gk0mZDehoI9KkwWriIAi05ecnwTC+GBqdVU";
const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
                              MCowBQYDK2VwAyEAxUwYL5mHLYteJA4cYr+5pSTIStwbqgLA7WiTSuike9o=\n\
                              -----END PUBLIC KEY-----\n";

fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs() + 3_600
}

fn sign(algorithm: Algorithm, claims: &Value) -> String {
    let key = match algorithm {
        Algorithm::HS256 => EncodingKey::from_secret(SECRET.as_bytes()),
        _ => EncodingKey::from_ed_der(&BASE64_STANDARD.decode(ED25519_PRIVATE).expect("base64")),
    };
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("it can be signed")
}

#[test]
fn signed_tokens_are_known_beside_the_users_of_a_file() {
    let (secret, users) = (File::new("jwt-secret", [SECRET, "\n"].concat()), File::new("jwt-users", ALICE));
    let mut serving = Serving::spawn(serve(&[
        "--users",
        users.path(),
        "--jwt-alg",
        "hs256",
        "--jwt-secret-file",
        secret.path(),
        "--jwt-audience",
        "chat",
    ]));
    let address = serving.listening_ip();
    let is_known = |token: &str| Page::open(address, "/actions").is_known(token);
    let exp = in_an_hour();
    assert!(is_known(&sign(Algorithm::HS256, &json!({"sub": "9", "exp": exp, "aud": "chat"}))));
    assert!(is_known("token-of-alice"));
    for claims in [
        json!({"sub": "9", "exp": exp}),
        json!({"sub": "9", "exp": exp, "aud": "mail"}),
        json!({"sub": "9", "exp": 1_000_000_000, "aud": "chat"}),
        json!({"sub": "admin", "exp": exp, "aud": "chat"}),
    ] {
        assert!(!is_known(&sign(Algorithm::HS256, &claims)), "{claims}");
    }
    assert!(!is_known(&sign(Algorithm::EdDSA, &json!({"sub": "9", "exp": exp, "aud": "chat"}))));
}

#[test]
fn the_key_of_signed_tokens_is_read_again_on_sighup_and_a_bad_one_is_not_taken() {
    let key = File::new("jwt-rotated", "another secret, which is long enough as well");
    let mut serving = Serving::spawn(serve(&["--jwt-alg", "HS256", "--jwt-secret-file", key.path()]));
    let address = serving.listening_ip();
    let token = sign(Algorithm::HS256, &json!({"sub": "9", "exp": in_an_hour()}));
    let is_known = || Page::open(address, "/actions").is_known(&token);
    assert!(!is_known());
    for (secret, said) in [(SECRET, "key of signed tokens read again"), ("short", "stays as it was")] {
        std::fs::write(key.path(), secret).expect("it can be written");
        signal("HUP", serving.child.id());
        serving.line_with(said);
        assert!(is_known(), "{secret}");
    }
}

#[test]
fn a_public_key_checks_what_its_other_half_signed() {
    let key = File::new("jwt-public", ED25519_PUBLIC);
    let mut serving = Serving::spawn(serve(&["--jwt-alg", "EdDSA", "--jwt-public-key-file", key.path()]));
    let address = serving.listening_ip();
    let token = sign(Algorithm::EdDSA, &json!({"sub": "9", "name": "Carol", "exp": in_an_hour()}));
    let mut page = Page::open(address, "/actions");
    assert!(page.is_known(&token));
    assert_eq!(page.ask(r#"[{"action":"join_channel","channel_name":"a"}]"#), "");
    page.send(r#"[{"action":"message_channel","channel_name":"a","message":"hello"}]"#);
    let said = page.json();
    assert_eq!((&said["data"][0]["uuid"], &said["data"][0]["username"]), (&"9".into(), &"Carol".into()));
}

#[test]
fn a_key_that_is_missing_or_for_something_else_is_refused_with_2_and_named() {
    let (secret, public) = (File::new("key-secret", SECRET), File::new("key-public", ED25519_PUBLIC));
    let short = File::new("key-short", "secret\n");
    let with = |flags: &[&str], words: &[&str]| expect_usage(&[&SERVE, flags].concat(), words);
    with(&["--jwt-alg", "none"], &["--jwt-alg", "none", "HS256", "EdDSA"]);
    with(&["--jwt-alg", "HS256"], &["HS256", "--jwt-secret-file"]);
    with(&["--jwt-alg", "RS256"], &["RS256", "--jwt-public-key-file"]);
    with(&["--jwt-alg", "HS256", "--jwt-public-key-file", public.path()], &["--jwt-secret-file"]);
    with(&["--jwt-alg", "EdDSA", "--jwt-secret-file", secret.path()], &["--jwt-public-key-file"]);
    for flag in ["--jwt-secret-file", "--jwt-public-key-file", "--jwt-audience"] {
        with(&[flag, secret.path()], &["--jwt-alg"]);
    }
    with(
        &["--jwt-alg", "HS256", "--jwt-secret-file", short.path()],
        &[short.path(), "6 bytes", "at least 32"],
    );
    with(&["--jwt-alg", "HS256", "--jwt-secret-file", public.path()], &[public.path(), "PEM"]);
    with(&["--jwt-alg", "ES256", "--jwt-public-key-file", public.path()], &[public.path(), "ES256"]);
    with(&["--jwt-alg", "HS256", "--jwt-secret-file", "/nonexistent/key"], &["/nonexistent/key", "No such"]);
    let complaint =
        output(&[&SERVE[..], &["--jwt-alg", "EdDSA", "--jwt-public-key-file", secret.path()]].concat());
    assert!(!String::from_utf8_lossy(&complaint.stderr).contains(SECRET));
}

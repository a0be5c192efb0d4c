//! What it is told by a file and by the environment, and what it tells of that: checks, listings, the reference, and
//! what is read again while it runs.

use crate::{
    page::{File, Page},
    serving::{Serving, sockeye},
    tool::{finish, signal},
};
use sockeye::{ActionLimits, Keepalive, Limits};
use std::fmt::Debug;

/// What a run that ends by itself says on stdout and on stderr, and its exit code.
#[track_caller]
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let mut command = sockeye(arguments);
    command.envs(environment.iter().copied());
    let output = finish(command.spawn().expect("the binary starts"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is a text");
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// What `--print-config` lists.
#[track_caller]
fn listed(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let (stdout, stderr, code) = run(&[&["serve", "--print-config"], arguments].concat(), environment);
    assert_eq!((stderr.as_str(), code), ("", Some(0)), "{arguments:?}");
    stdout
}

/// The line of one name.
#[track_caller]
fn line<'l>(listing: &'l str, name: &str) -> &'l str {
    let is_it = |line: &&str| line.trim_start_matches('#').starts_with(&format!("{name} = "));
    let mut lines = listing.lines().filter(is_it);
    let (found, none) = (lines.next(), lines.next());
    assert_eq!(none, None, "one line is about {name}");
    found.unwrap_or_else(|| panic!("{name} is in {listing}"))
}

/// Values without who said them.
fn values(listing: &str) -> Vec<&str> {
    listing
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" # ").next().unwrap_or(line))
        .collect()
}

/// A file is refused, by the check and by the server, with exactly these lines behind its name.
#[track_caller]
fn expect_faults(name: &str, content: &str, faults: &[&str]) {
    let file = File::new(name, content);
    let expected: Vec<_> = faults.iter().map(|fault| format!("sockeye: {}:{fault}\n", file.path())).collect();
    for arguments in [&["check-config", file.path()][..], &["serve", "--config", file.path()]] {
        let (stdout, stderr, code) = run(arguments, &[]);
        assert_eq!((stdout.as_str(), stderr, code), ("", expected.concat(), Some(2)), "{arguments:?}");
    }
}

// ---------------------------------------------------------------------- layers

#[test]
fn a_flag_hides_the_environment_and_that_the_file_and_that_the_default() {
    let file = File::new(
        "layers",
        "[limits]\nheaders_max = 41\nfragments_max = 42\n\nmessage_bytes_max = \"2MiB\"\n",
    );
    let variables = [("SOCKEYE_LIMITS__HEADERS_MAX", "51"), ("SOCKEYE_LIMITS__FRAGMENTS_MAX", "52")];
    let path = file.path();
    let flags = ["--headers-max", "61", "--config", path];
    let listing = listed(&flags, &variables);
    assert_eq!(line(&listing, "headers_max"), "headers_max = 61 # flag --headers-max");
    assert_eq!(line(&listing, "fragments_max"), "fragments_max = 52 # env SOCKEYE_LIMITS__FRAGMENTS_MAX");
    assert_eq!(line(&listing, "message_bytes_max"), format!("message_bytes_max = \"2MiB\" # {path}:5"));
    assert_eq!(line(&listing, "head_bytes_max"), "head_bytes_max = \"16KiB\" # default");

    // The file may be named by the environment, and its flag hides that too.
    let of_variable =
        listed(&["--headers-max", "61"], &[&variables[..], &[("SOCKEYE_CONFIG", path)]].concat());
    assert_eq!(of_variable, listing);
    let of_flag = listed(&flags, &[&variables[..], &[("SOCKEYE_CONFIG", "/nonexistent/config")]].concat());
    assert_eq!(of_flag, listing);
}

#[test]
fn without_a_command_it_is_told_all_the_same() {
    let (_, stderr, code) = run(&[], &[("SOCKEYE_CONFIG", "/nonexistent/config")]);
    assert!(stderr.contains("/nonexistent/config: No such file") && code == Some(2), "{stderr}");
}

#[test]
fn lists_are_arrays_in_a_file_and_have_commas_in_the_environment() {
    let file = File::new(
        "lists",
        "[server]\nlisten = [\"127.0.0.1:0=chat\", \"[::1]:0\"]\norigin = \"https://a.example\"\n",
    );
    let listing = listed(&["--config", file.path()], &[("SOCKEYE_SERVER__SUBPROTOCOL", "one, two")]);
    assert!(
        line(&listing, "listen").starts_with("listen = [\"127.0.0.1:0=chat\", \"[::1]:0\"] # "),
        "{listing}"
    );
    assert!(line(&listing, "origin").starts_with("origin = [\"https://a.example\"] # "), "{listing}");
    assert!(
        line(&listing, "subprotocol").starts_with("subprotocol = [\"one\", \"two\"] # env "),
        "{listing}"
    );
    // One layer's list hides the other's whole; an empty one is a list as well.
    let listing =
        listed(&["--config", file.path(), "--listen", "[::1]:7"], &[("SOCKEYE_SERVER__ORIGIN", "")]);
    assert_eq!(line(&listing, "listen"), "listen = [\"[::1]:7\"] # flag --listen");
    assert_eq!(line(&listing, "origin"), "origin = [] # env SOCKEYE_SERVER__ORIGIN");
}

#[test]
fn what_a_file_turns_on_a_flag_turns_off() {
    let file =
        File::new("toggles", "server.no_pages = true\nserver.no_acks = true\ndeflate.no_deflate = false\n");
    let listing = listed(&["--config", file.path(), "--no-acks=false", "--paths-strict"], &[]);
    assert_eq!(line(&listing, "no_pages"), format!("no_pages = true # {}:1", file.path()));
    assert_eq!(line(&listing, "no_acks"), "no_acks = false # flag --no-acks");
    assert_eq!(line(&listing, "paths_strict"), "paths_strict = true # flag --paths-strict");
    assert_eq!(line(&listing, "no_deflate"), format!("no_deflate = false # {}:3", file.path()));
}

#[test]
fn a_server_does_what_its_file_says() {
    let file = File::new(
        "served",
        "[server]\nlisten = \"127.0.0.1:0=chat\"\nno_pages = true\n[limits]\nname_bytes_max = 1\n",
    );
    // The last line is in the wrong section: it is named, and where it belongs.
    let (_, stderr, _) = run(&["serve", "--config", file.path()], &[]);
    assert!(
        stderr.contains(":5: there is no limits.name_bytes_max: did you mean actions.name_bytes_max?"),
        "{stderr}"
    );
    file.write(
        "[server]\nlisten = \"127.0.0.1:0=chat\"\nno_pages = true\n[actions]\nname_bytes_max = 2_000\n",
    );
    let mut serving = Serving::start(&["--config", file.path()]);
    let address = serving.line();
    assert!(address.ends_with(" for chat"), "no page, and its dialect: {address}");
    assert_eq!(
        serving.line_with("settings"),
        format!("sockeye: settings read: 3 settings in {}", file.path())
    );
}

// ---------------------------------------------------------------------- what is wrong

#[test]
fn a_key_that_is_unknown_is_named_with_its_line_and_the_nearest_one() {
    expect_faults(
        "unknown",
        "lisen = 1\n[limits]\nmesage_bytes_max = 1\n\n[limit]\n[server]\nlog_level = \"info\"\n",
        &[
            "1: there is no lisen: did you mean server.listen?",
            "3: there is no limits.mesage_bytes_max: did you mean limits.message_bytes_max?",
            "5: there is no limit: did you mean [limits]?",
            "7: there is no server.log_level: did you mean log.log_level?",
        ],
    );
    let (_, stderr, code) = run(&["serve"], &[("SOCKEYE_LIMITS__HEDERS_MAX", "1")]);
    let expected = "sockeye: SOCKEYE_LIMITS__HEDERS_MAX: there is no such setting: did you mean SOCKEYE_LIMITS__HEADERS_MAX?\n";
    assert_eq!((stderr.as_str(), code), (expected, Some(2)));
}

#[test]
fn a_value_that_is_wrong_is_named_with_its_line_and_what_is_expected() {
    expect_faults(
        "wrong",
        "[limits]\nheaders_max = \"many\"\npool_bytes_max = \"1MB\"\nconnections_max = true\nfragments_max = -1\n\
         [server]\nno_acks = \"yes\"\nlisten = [\"127.0.0.1:0\", \"nonsense\"]\nzone = 1\nlog = 1\n[log]\nlog = \"xml\"\n\
         [timers]\nping_after_ms = 1.5\nlinger_ms_max = []\n",
        &[
            "2: limits.headers_max = \"many\": invalid digit found in string (expected: a whole number)",
            "3: limits.pool_bytes_max = \"1MB\": '1MB' is no size: give a number of bytes, such as 65536, 64KiB or 1MiB \
             (expected: a whole number of bytes, or a string such as \"64KiB\")",
            "4: limits.connections_max = true: this is a boolean (expected: a whole number)",
            "5: limits.fragments_max = -1: -1 is not in 0..=4294967295 (expected: a whole number)",
            "7: server.no_acks = \"yes\": this is a string (expected: true or false)",
            "8: server.listen = [\"127.0.0.1:0\", \"nonsense\"]: 'nonsense' is no address: give HOST:PORT, [IPV6]:PORT or \
             unix:PATH; before it tls: for TLS, and before that proxy: where proxies come with the PROXY protocol",
            "9: server.zone = 1: this is an integer (expected: a string, NAME)",
            "10: there is no server.log: did you mean log.log?",
            "12: log.log = \"xml\": there is no such value (expected: one of json, text)",
            "14: timers.ping_after_ms = 1.5: this is a float (expected: a whole number of milliseconds)",
            "15: timers.linger_ms_max = []: this is an array (expected: a whole number of milliseconds)",
        ],
    );
    let (_, stderr, code) =
        run(&["serve"], &[("SOCKEYE_LIMITS__HEADERS_MAX", "many"), ("SOCKEYE_SERVER__LISTEN", "")]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("sockeye: SOCKEYE_LIMITS__HEADERS_MAX=many: invalid digit"), "{stderr}");
    assert!(
        stderr.contains("sockeye: SOCKEYE_SERVER__LISTEN=: it is empty: give one, or leave it out"),
        "{stderr}"
    );
}

#[test]
fn what_makes_no_sense_together_is_named_where_it_was_set() {
    expect_faults(
        "needs",
        "[log]\n\nlog_level = \"debug\"\n",
        &["3: log.log_level needs log.log, which is not given"],
    );
    let bound =
        "2: limits.headers_max: headers_max is 4: it must be at least 5 (no handshake has fewer lines)";
    expect_faults("bound", "[limits]\nheaders_max = 4\n", &[bound]);
    let level = "1: deflate.deflate_level: deflate.level is 77: it must be at most 9 (the levels of zlib)";
    expect_faults("level", "deflate.deflate_level = 77\n", &[level]);
    expect_faults(
        "syntax",
        "[limits]\nheaders_max = \n",
        &["2: this is no TOML: string values must be quoted, expected literal string"],
    );
    expect_faults(
        "section",
        "[server]\n[auth.users]\na = 1\n",
        &["2: auth.users = [auth.users]: this is a table (expected: a string, FILE)"],
    );
}

#[test]
fn a_file_with_which_nothing_is_wrong_is_a_line_and_0() {
    let file =
        File::new("right", "[limits]\nheaders_max = 40\n[log]\nlog = \"json\"\nlog_level = \"debug\"\n");
    let (stdout, stderr, code) =
        run(&["check-config", file.path()], &[("SOCKEYE_LIMITS__HEADERS_MAX", "of no interest")]);
    let expected = format!("sockeye: {}: nothing is wrong: 3 settings\n", file.path());
    assert_eq!((stdout, stderr.as_str(), code), (expected, "", Some(0)));
    // What it names is looked at, too.
    file.write("auth.users = \"/nonexistent/users\"");
    let (_, stderr, code) = run(&["check-config", file.path()], &[]);
    assert!(stderr.contains("/nonexistent/users: No such file") && code == Some(2), "{stderr}");
    assert_eq!(run(&["check-config"], &[]).2, Some(2));
}

// ---------------------------------------------------------------------- listings

/// The fields of a struct, by its `Debug`.
fn fields(of: impl Debug) -> Vec<String> {
    let text = format!("{of:#?}");
    let own = text.lines().filter_map(|line| line.strip_prefix("    ").filter(|line| !line.starts_with(' ')));
    own.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[test]
fn every_limit_and_timer_of_the_library_is_listed_and_in_the_reference() {
    let mut names =
        [fields(Limits::default()), fields(Keepalive::default()), fields(ActionLimits::default())].concat();
    names.retain(|name| name != "actions");
    assert!(names.len() >= 36, "{names:?}");
    let (listing, reference) = (listed(&[], &[]), run(&["check-config", "--reference"], &[]).0);
    for name in &names {
        assert!(line(&listing, name).ends_with(" # default"), "{name}");
        line(&reference, name);
    }
}

#[test]
fn what_is_listed_is_a_file_that_says_the_same() {
    let zone = "Europe/Berlin";
    let listing = listed(
        &[
            "--listen",
            "unix:/run/a \"b\" # c\\d.sock",
            "--zone",
            zone,
            "--no-acks",
            "--log",
            "json",
            "--log-level",
            "warn",
        ],
        &[
            ("SOCKEYE_SERVER__ORIGIN", "https://a.example,https://b.example"),
            ("SOCKEYE_LIMITS__CONNECTIONS_MAX", "0010"),
        ],
    );
    assert!(listing.contains(r#"listen = ["unix:/run/a \"b\" # c\\d.sock"] # flag --listen"#), "{listing}");
    let file = File::new("listing", &listing);
    let again = listed(&["--config", file.path()], &[]);
    assert_eq!(values(&again), values(&listing));
    assert!(values(&again).len() > 50, "{again}");
    assert!(!again.contains("# default") && !again.contains("# flag"), "the file says all of it: {again}");
}

#[test]
fn a_secret_is_shown_nowhere_and_its_file_by_name() {
    let secret = "open-sesame";
    let file = File::new("secret", format!("[auth]\nadmin_password = \"{secret}\"\n"));
    let masked = |source: &str| format!("#admin_password = \"********\" # {source}, not shown");
    let path = ["--config", file.path()];
    let by_flag = ["--admin-password", secret];
    for (arguments, environment, source) in [
        (&path[..], &[][..], format!("{}:2", file.path()).as_str()),
        (&path, &[("SOCKEYE_AUTH__ADMIN_PASSWORD", secret)], "env SOCKEYE_AUTH__ADMIN_PASSWORD"),
        (&path, &[("SOCKEYE_ADMIN_PASSWORD", secret)], "env SOCKEYE_ADMIN_PASSWORD"),
        (&by_flag, &[], "flag --admin-password"),
    ] {
        let listing = listed(arguments, environment);
        assert!(!listing.contains(secret), "{listing}");
        assert_eq!(line(&listing, "admin_password"), masked(source));
    }
    // Nor where something is wrong with it.
    file.write(format!("[auth]\nadmin_password = [\"{secret}\"]\n"));
    let (_, stderr, code) = run(&["check-config", file.path()], &[]);
    assert!(stderr.contains(":2: auth.admin_password = …: this is an array") && code == Some(2), "{stderr}");
    assert!(!stderr.contains(secret), "{stderr}");
}

#[test]
fn a_secret_in_a_file_of_its_own_is_of_the_layer_that_names_the_file() {
    let (own, config) = (
        File::new("own", "of-its-own"),
        File::new("own-config", "auth.admin_password = \"of-the-config\"\n"),
    );
    let unset = "#admin_password = \"PW\" # not set";
    let listing = listed(&["--config", config.path(), "--admin-password-file", own.path()], &[]);
    assert_eq!(line(&listing, "admin_password"), unset, "the flag hides what the file says in the other way");
    let listing = listed(&["--config", config.path()], &[("SOCKEYE_AUTH__ADMIN_PASSWORD_FILE", own.path())]);
    assert_eq!(line(&listing, "admin_password"), unset);
    config.write(format!("auth.admin_password_file = \"{}\"\n", own.path()));
    let listing = listed(&["--config", config.path()], &[("SOCKEYE_ADMIN_PASSWORD", "of-the-environment")]);
    assert_eq!(line(&listing, "admin_password_file"), "#admin_password_file = \"FILE\" # not set");

    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--config", config.path()]);
    let address = serving.listening_ip();
    assert!(Page::open(address, "/actions").is_known("admin:of-its-own"));
}

// ---------------------------------------------------------------------- what is written down

#[test]
fn the_file_of_the_documentation_is_right() {
    let text = include_str!("../../docs/configuration.md");
    let example =
        text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("there is one");
    let file = File::new("documented", example);
    let (stdout, stderr, code) = run(&["check-config", file.path()], &[]);
    assert!(stdout.ends_with(": nothing is wrong: 6 settings\n"), "{stdout}{stderr}");
    assert_eq!(code, Some(0));
}

#[test]
fn the_reference_is_up_to_date_and_says_the_defaults() {
    let (reference, stderr, code) = run(&["check-config", "--reference"], &[]);
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    let written = include_str!("../../docs/sockeye.toml");
    assert!(written == reference, "write it anew: cargo run -- check-config --reference > docs/sockeye.toml");

    // As it is, it says nothing; with the # taken off, what is so anyway.
    let is_setting = |line: &str| {
        let rest = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        rest.filter(|_| !line.ends_with(" # not set")).map(str::to_owned)
    };
    let taken_off: Vec<_> =
        reference.lines().map(|line| is_setting(line).unwrap_or_else(|| line.to_owned())).collect();
    let defaults = listed(&[], &[]);
    for (name, content) in [("reference", reference.clone()), ("reference-off", taken_off.join("\n"))] {
        let file = File::new(name, content);
        let listing = listed(&["--config", file.path()], &[]);
        assert_eq!(values(&listing), values(&defaults), "{name}");
        assert_eq!(listing.contains(file.path()), name == "reference-off");
        assert_eq!(listing.contains("# default"), name == "reference");
    }
    assert!(reference.lines().all(|line| line.chars().count() <= 120), "no line is too long to read");
}

// ---------------------------------------------------------------------- read again

const ALICE: &str = "[[user]]\ntoken = \"token-of-alice\"\nid = \"7\"\n";
const BOB: &str = "[[user]]\ntoken = \"token-of-bob\"\nid = \"8\"\n";

#[test]
fn users_log_level_and_origins_are_read_again_and_what_is_not_says_so() {
    let users = File::new("again-users", ALICE);
    let config = |level: &str, origin: &str, rest: &str| {
        let users = users.path();
        format!(
            "[auth]\nusers = \"{users}\"\n[log]\nlog = \"text\"\nlog_level = \"{level}\"\n[server]\norigin = [{origin}]\n{rest}"
        )
    };
    let file = File::new("again", config("error", "", ""));
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--config", file.path()]);
    let address = serving.listening_ip();
    let mut page = Page::open(address, "/actions");
    assert!(page.is_known("token-of-alice"));
    page.close();
    let with_origin = |origin: &str| Page::open_with(address, "/actions", &[("Origin", origin)]);
    with_origin("https://b.example").close();

    users.write([ALICE, BOB].concat());
    file.write(config(
        "debug",
        "\"https://a.example\"",
        "[limits]\nread_bytes_max = 8192\n[deflate]\ndeflate_level = 5\n",
    ));
    signal("HUP", serving.child.id());
    let last = "sockeye: settings read again; a restart is needed for what else has changed: limits.read_bytes_max, deflate.deflate_level";
    serving.line_with(last);
    for line in [
        "sockeye: origins read again: https://a.example\n",
        "sockeye: log level read again: debug\n",
        &format!("sockeye: users read again: 2 users in {}\n", users.path()),
    ] {
        assert!(serving.said.contains(line), "{line}: {}", serving.said);
    }
    assert!(!serving.said.contains("connection opened"), "{}", serving.said);
    let mut page = with_origin("https://a.example");
    assert!(page.is_known("token-of-bob"));
    assert_eq!(page.ask(r#"[{"action":"join_channel","channel_name":"a"}]"#), "");
    serving.line_with("INFO connection opened");
    serving.line_with("DEBUG joined");
    let mut refused =
        sockeye(&["connect", "-H", "Origin: https://b.example", &format!("ws://{address}/actions")]);
    let output = finish(refused.spawn().expect("the binary starts"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("403"), "{output:?}");

    // It says again what is still not so.
    signal("HUP", serving.child.id());
    serving.line_with(last);

    // Something is wrong with it: everything stays as it was.
    file.write(config("error", "", "[limits]\nheders_max = 44\n"));
    users.write(ALICE);
    signal("HUP", serving.child.id());
    let line = serving.line_with("stays as it was");
    let fault =
        "9: there is no limits.heders_max: did you mean limits.headers_max?; everything stays as it was";
    assert_eq!(line, format!("sockeye: {}:{fault}", file.path()));
    assert!(with_origin("https://a.example").is_known("token-of-bob"));
    serving.line_with("INFO connection opened");

    // And nothing but users, if they can be read.
    file.write(config("debug", "\"https://a.example\"", ""));
    signal("HUP", serving.child.id());
    serving.line_with("users read again: 1 user in");
    assert_eq!(serving.line_with("sockeye: settings read again"), "sockeye: settings read again");
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
}

#[test]
fn limits_are_read_again_for_those_who_are_connected_too() {
    let file =
        File::new("again-limits", "[limits]\nmessage_bytes_max = 100\n[actions]\nname_bytes_max = 8\n");
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--config", file.path()]);
    let address = serving.listening_ip();
    let mut page = Page::open(address, "/actions");
    let join = |name: &str| format!(r#"[{{"action":"join_channel","channel_name":"{name}"}}]"#);
    assert!(page.ask(&join("long_name")).contains("8"), "the name is too long");

    file.write(
        "[limits]\nmessage_bytes_max = 200\n[actions]\nname_bytes_max = 9\n[timers]\nping_after_ms = 50\n",
    );
    signal("HUP", serving.child.id());
    let line = serving.line_with("limits read again");
    assert_eq!(
        line,
        "sockeye: limits read again: limits.message_bytes_max, actions.name_bytes_max, timers.ping_after_ms"
    );
    assert!(!page.ask(&join("long_name")).contains("error"), "now it is not");
    assert!(page.ask(&join(&"x".repeat(150))).contains('9'), "a message of more than 100 bytes is read");

    // What makes no sense is named with its place, and all stays.
    file.write("[limits]\nmessage_bytes_max = 300\noutbox_bytes_max = 4\n");
    signal("HUP", serving.child.id());
    let line = serving.line_with("limits stay as they were");
    assert!(
        line.contains(&format!("{}:3: limits.outbox_bytes_max: outbox_bytes_max is 4", file.path())),
        "{line}"
    );
    page.send(&"x".repeat(201)).expect_close(1009);
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
}

#[test]
fn users_may_come_and_go_with_the_file() {
    let (users, file) = (File::new("come-users", ALICE), File::new("come", ""));
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--config", file.path()]);
    let address = serving.listening_ip();
    let is_known = || Page::open(address, "/actions").is_known("token-of-alice");
    assert!(!is_known());
    file.write(format!("auth.users = \"{}\"", users.path()));
    signal("HUP", serving.child.id());
    serving.line_with("sockeye: users read again: 1 user in");
    assert!(is_known());
    file.write("");
    signal("HUP", serving.child.id());
    serving.line_with("sockeye: no file of users any more");
    assert!(!is_known());
}

//! TLS by flags: certificates from files, read again while it runs, or made for a try; and the tools that connect.

use crate::{
    serving::{Serving, expect_usage, output, sockeye},
    tool::{finish, signal},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sockeye-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A certificate that is its own authority, and its key, as `NAME.pem` and `NAME.key`.
    fn make(&self, name: &str, names: &[&str]) -> [String; 2] {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let paths = [self.path(&format!("{name}.pem")), self.path(&format!("{name}.key"))];
        fs::write(&paths[0], made.cert.pem()).unwrap();
        fs::write(&paths[1], made.signing_key.serialize_pem()).unwrap();
        paths
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LISTEN: [&str; 2] = ["--listen", "tls:127.0.0.1:0=echo"];

/// The port of a line that says where it listens.
fn port(serving: &mut Serving) -> u16 {
    let address = serving.listening();
    let (_, port) = address.rsplit_once(':').unwrap();
    assert_eq!(address, format!("tls:127.0.0.1:{port}"));
    assert!(serving.said.contains(&format!(", https://127.0.0.1:{port}/")), "{}", serving.said);
    port.parse().unwrap()
}

/// What `sockeye connect` says to `hello`: stdout, or stderr if it fails.
fn connect(url: &str, flags: &[&str]) -> Result<String, String> {
    let mut command = sockeye(&[&["connect", url, "--wait", "0.2"], flags].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = finish(child);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_certificate_that_is_made_for_a_try_serves_wss_and_the_page() {
    let mut serving = Serving::start(&[&LISTEN[..], &["--tls-self-signed"]].concat());
    let port = port(&mut serving);
    let made = serving.line_with("certificate made for this run");
    assert!(made.contains("localhost") && made.contains("127.0.0.1") && made.contains("::1"), "{made}");
    let url = format!("wss://localhost:{port}/");
    assert_eq!(connect(&url, &["--insecure"]).unwrap(), "hello\n");
    let refused = connect(&url, &[]).unwrap_err();
    assert!(refused.contains("TLS"), "{refused}");
    let page = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", &format!("https://localhost:{port}/")])
        .output()
        .expect("there is curl");
    assert!(page.status.success(), "{}", String::from_utf8_lossy(&page.stderr));
    assert!(String::from_utf8_lossy(&page.stdout).contains("<html"), "{page:?}");
    let bench = output(&["bench", &url, "--insecure", "--conns", "4", "--count", "100", "--warmup", "0"]);
    assert!(bench.status.success(), "{}", String::from_utf8_lossy(&bench.stderr));
}

#[test]
fn certificates_are_read_again_on_sighup_and_a_bad_one_is_not_taken() {
    let folder = Folder::new("reread");
    let [certificate, key] = folder.make("shown", &["localhost"]);
    let old = folder.path("old.pem");
    fs::copy(&certificate, &old).unwrap();
    let flags = [&LISTEN[..], &["--tls-cert", &certificate, "--tls-key", &key]].concat();
    let mut serving = Serving::start(&flags);
    let url = format!("wss://localhost:{}/", port(&mut serving));
    assert!(serving.line_with("certificates read").contains("for localhost"));
    assert_eq!(connect(&url, &["--cafile", &old]).unwrap(), "hello\n");
    // One that is connected stays so.
    let mut connected = sockeye(&["connect", &url, "--cafile", &old]);
    let mut connected = connected.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = connected.stdin.take().unwrap();
    let mut lines = BufReader::new(connected.stdout.take().unwrap()).lines();
    stdin.write_all(b"connected\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "connected");

    // Another key, and the certificate still the old one.
    let pair = folder.make("new", &["localhost"]);
    fs::copy(&pair[1], &key).unwrap();
    signal("HUP", serving.child.id());
    let line = serving.line_with("stay as they were");
    assert!(line.contains("--tls-cert") && line.contains("not that of the certificate"), "{line}");
    assert_eq!(connect(&url, &["--cafile", &old]).unwrap(), "hello\n");

    fs::copy(&pair[0], &certificate).unwrap();
    signal("HUP", serving.child.id());
    serving.line_with("certificates read again");
    assert_eq!(connect(&url, &["--cafile", &certificate]).unwrap(), "hello\n");
    let refused = connect(&url, &["--cafile", &old]).unwrap_err();
    assert!(refused.contains("TLS"), "{refused}");

    stdin.write_all(b"still here\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "still here");
    drop(stdin);
    assert!(finish(connected).status.success());
    assert!(!serving.said.contains("PRIVATE"), "{}", serving.said);
}

/// Written beside and renamed, as careful tools do.
fn replace(from: &str, to: &str) {
    let beside = format!("{to}.new");
    fs::copy(from, &beside).unwrap();
    fs::rename(beside, to).unwrap();
}

#[test]
fn certificates_are_read_again_when_their_files_change_and_half_a_pair_is_not_taken() {
    let folder = Folder::new("watched");
    let [certificate, key] = folder.make("shown", &["localhost"]);
    let old = folder.path("old.pem");
    fs::copy(&certificate, &old).unwrap();
    let flags = ["--tls-cert", &certificate, "--tls-key", &key, "--tls-watch-ms", "50"];
    let mut serving = Serving::start(&[&LISTEN[..], &flags].concat());
    let url = format!("wss://localhost:{}/", port(&mut serving));
    serving.line_with("certificates read");

    // Another certificate, and for now no key to it; and one that is cut off.
    let pair = folder.make("new", &["localhost", "new.localhost"]);
    replace(&pair[0], &certificate);
    let line = serving.line_with("stay as they were");
    assert!(line.contains("not that of the certificate") && line.contains(&certificate), "{line}");
    assert_eq!(connect(&url, &["--cafile", &old]).unwrap(), "hello\n");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nMIGHAgEA").unwrap();
    let line = serving.line_with("stay as they were");
    assert!(line.contains("the private key cannot be read"), "{line}");
    assert_eq!(connect(&url, &["--cafile", &old]).unwrap(), "hello\n");

    replace(&pair[1], &key);
    // The next line: each change was complained of once.
    let line = serving.line();
    assert!(line.contains("certificates read again: for localhost, new.localhost"), "{line}");
    assert_eq!(connect(&url, &["--cafile", &certificate]).unwrap(), "hello\n");
    assert!(connect(&url, &["--cafile", &old]).unwrap_err().contains("TLS"));

    // Gone, and back: what is shown stays.
    fs::remove_file(&key).unwrap();
    let line = serving.line();
    assert!(line.contains("stay as they were") && line.contains(&key), "{line}");
    assert_eq!(connect(&url, &["--cafile", &certificate]).unwrap(), "hello\n");
    fs::copy(&pair[1], &key).unwrap();
    assert!(serving.line().contains("certificates read again"), "{}", serving.said);
    assert!(!serving.said.contains("PRIVATE"), "{}", serving.said);
}

#[test]
fn certificates_are_followed_through_links_that_are_swapped() {
    // As Kubernetes mounts secrets: NAME -> ..data/NAME, and ..data -> a folder for each version.
    let folder = Folder::new("swapped");
    let version = |name: &str, for_name: &str| {
        fs::create_dir_all(folder.path(name)).unwrap();
        folder.make(&format!("{name}/tls"), &[for_name]);
        symlink(name, folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    version("..1", "one.localhost");
    let [certificate, key] = ["tls.pem", "tls.key"].map(|name| {
        symlink(format!("..data/{name}"), folder.path(name)).unwrap();
        folder.path(name)
    });
    let flags = ["--tls-cert", &certificate, "--tls-key", &key, "--tls-watch-ms", "50"];
    let mut serving = Serving::start(&[&LISTEN[..], &flags].concat());
    let port = port(&mut serving);
    assert!(serving.line_with("certificates read").contains("for one.localhost"));
    for (name, for_name) in [("..2", "two.localhost"), ("..3", "three.localhost")] {
        version(name, for_name);
        let line = serving.line_with("certificates");
        assert!(line.contains(&format!("read again: for {for_name}")), "{line}");
        let url = format!("wss://{for_name}:{port}/");
        assert_eq!(connect(&url, &["--cafile", &certificate]).unwrap(), "hello\n");
    }
}

#[test]
fn who_does_not_want_files_watched_says_so() {
    let folder = Folder::new("unwatched");
    let [certificate, key] = folder.make("shown", &["localhost"]);
    let flags = ["--tls-cert", &certificate, "--tls-key", &key, "--tls-watch-ms", "0"];
    let mut serving = Serving::start(&[&LISTEN[..], &flags].concat());
    serving.line_with("certificates read");
    let threads = fs::read_dir(format!("/proc/{}/task", serving.child.id())).unwrap();
    let names: Vec<_> = threads
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default())
        .collect();
    assert!(!names.iter().any(|name| name.trim() == "certificates"), "{names:?}");
}

#[test]
fn each_name_has_its_certificate() {
    let folder = Folder::new("names");
    let [one, one_key] = folder.make("one", &["one.localhost"]);
    let [two, two_key] = folder.make("two", &["two.localhost"]);
    let pairs = ["--tls-cert", &one, "--tls-key", &one_key, "--tls-cert", &two, "--tls-key", &two_key];
    let mut serving = Serving::start(&[&LISTEN[..], &pairs].concat());
    let port = port(&mut serving);
    for (name, authority) in [("one", &one), ("two", &two)] {
        let url = format!("wss://{name}.localhost:{port}/");
        assert_eq!(connect(&url, &["--cafile", authority]).unwrap(), "hello\n");
    }
}

#[test]
fn a_certificate_is_demanded_of_clients_where_that_is_asked_for() {
    let folder = Folder::new("clients");
    let [certificate, key] = folder.make("shown", &["localhost"]);
    let flags = ["--tls-cert", &certificate, "--tls-key", &key, "--tls-client-ca", &certificate];
    let mut serving = Serving::start(&[&LISTEN[..], &flags].concat());
    let url = format!("wss://localhost:{}/", port(&mut serving));
    let refused = connect(&url, &["--cafile", &certificate]).unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[test]
fn what_cannot_be_served_is_said_with_the_flag() {
    let folder = Folder::new("usage");
    let [one, one_key] = folder.make("one", &["localhost"]);
    let [two, _] = folder.make("two", &["localhost"]);
    expect_usage(&["serve", "--listen", "tls:127.0.0.1:0"], &["--tls-cert", "--tls-self-signed"]);
    expect_usage(&["serve", "--tls-self-signed"], &["--listen tls:"]);
    let with = |flags: &[&str], words: &[&str]| {
        expect_usage(&[&["serve"], &LISTEN[..], flags].concat(), words);
    };
    with(&["--tls-cert", &one], &["--tls-key"]);
    with(&["--tls-cert", &one, "--tls-key", &one_key, "--tls-cert", &two], &["2 --tls-cert and 1 --tls-key"]);
    with(&["--tls-cert", &two, "--tls-key", &one_key], &[&two, "not that of the certificate"]);
    with(&["--tls-cert", "/nowhere", "--tls-key", &one_key], &["--tls-cert /nowhere"]);
    with(&["--tls-cert", &one_key, "--tls-key", &one_key], &["there is no certificate"]);
    with(&["--tls-self-signed", "--tls-cert", &one, "--tls-key", &one_key], &["--tls-self-signed"]);
    expect_usage(&["connect", "wss://localhost:1/", "--cafile", "/nowhere"], &["--cafile /nowhere"]);
}

//! Changes what the server reads while it runs, breaks some of it, and looks whether it took it, or stayed as it was.

use crate::{
    books::Books,
    dice::Dice,
    files::Files,
    following::{cut, numbered},
    parts::{PLACES, envelope::Audience},
    tested::Tested,
    wire::{Frame, Wire, dial, trust},
};
use rustls::ClientConfig;
use serde_json::json;
use std::{
    io, iter,
    sync::Arc,
    time::{Duration, Instant},
};

pub struct Conductor {
    pub files: Files,
    dice: Dice,
    trust: Arc<ClientConfig>,
    books: Arc<Books>,
    /// The certificate that is to be shown.
    shown: Option<Vec<u8>>,
    /// Changes so far: the kinds take turns, so that a short run has each.
    changes: usize,
    at: Instant,
}

/// What each reload says where nothing is wrong; and where something is.
const DONE: &str = "settings read again";
const SETTINGS_STAY: &str = "settings not read again";
const LIMITS_STAY: &str = "limits stay as they were";
const USERS_STAY: &str = "users not read again";
const CERTIFICATES_STAY: &str = "certificates not read again";
/// What is said last of a reload that reads the certificates well.
const CERTIFICATES_DONE: &str = "certificates read again";

impl Conductor {
    pub fn new(files: Files, seed: u64, books: &Arc<Books>) -> Result<Conductor, String> {
        let (dice, books, at) = (Dice::new(seed, 3_000), Arc::clone(books), Instant::now());
        let trust = trust(&files.authority(), false)?;
        Ok(Conductor { files, dice, trust, books, shown: None, changes: 0, at })
    }

    /// Does what is due.
    pub fn conduct(&mut self, tested: &Tested) {
        if Instant::now() < self.at {
            return;
        }
        self.changes += 1;
        let outcome = match self.changes % 8 {
            1 => self.change_certificate(tested),
            2 => self.change_limits(tested),
            3 => self.change_users(tested),
            4 => self.break_file(tested, "users.toml", &[USERS_STAY]),
            5 => self.change_origins_and_level(tested),
            6 => self.break_file(tested, "sockeye.toml", &[SETTINGS_STAY]),
            7 => self.break_certificate(tested),
            _ => self.want_nonsense(tested),
        };
        if let Err(what) = outcome {
            self.books.find(format!("reload {}: {what}", self.changes));
        }
        self.at = Instant::now() + Duration::from_millis(self.dice.between(500, 2_500) as u64);
    }

    /// Has the files read, and waits until the log says so, or what is wrong: one of `wanted`.
    fn reload(&self, tested: &Tested, wanted: &[&str]) -> Result<(), String> {
        self.books.reloads.add(1);
        let place = tested.log.place();
        tested.signal("HUP")?;
        tested.log.wait(place, wanted).map(drop)
    }

    fn write(&self) -> Result<(), String> {
        let written = self.files.write_users().and_then(|()| self.files.write_settings());
        written.map_err(|error| format!("cannot write the settings: {error}"))
    }

    fn change_certificate(&mut self, tested: &Tested) -> Result<(), String> {
        let shown = self.files.write_certificate()?;
        self.reload(tested, &[CERTIFICATES_DONE])?;
        self.shown = Some(shown);
        self.expect_certificate(tested)
    }

    fn break_certificate(&mut self, tested: &Tested) -> Result<(), String> {
        let name = self.dice.among(&["chain.pem", "key.pem"]);
        self.break_file(tested, name, &[CERTIFICATES_STAY])?;
        self.expect_certificate(tested)
    }

    fn change_limits(&mut self, tested: &Tested) -> Result<(), String> {
        let settings = &mut self.files.settings;
        settings.actions_per_second_max = self.dice.among(&[500, 1_000, 2_000]);
        settings.ping_after_ms = self.dice.among(&[1_000, 1_500, 2_500]);
        settings.outbox_bytes_max = self.dice.among(&[1 << 20, 2 << 20]);
        settings.message_idle_ms_max = self.dice.among(&[1_000, 2_000]);
        self.write()?;
        self.reload(tested, &[DONE])
    }

    fn want_nonsense(&mut self, tested: &Tested) -> Result<(), String> {
        let before = self.files.settings.outbox_bytes_max;
        self.files.settings.outbox_bytes_max = 1_000; // less than outbox_bytes_soft
        self.write()?;
        self.books.broken_reloads.add(1);
        let outcome = self.reload(tested, &[LIMITS_STAY, SETTINGS_STAY]);
        self.files.settings.outbox_bytes_max = before;
        self.write()?;
        outcome
    }

    fn change_origins_and_level(&mut self, tested: &Tested) -> Result<(), String> {
        let before = self.files.settings.origin;
        self.files.settings.origin = before + 1;
        self.files.settings.log_level = self.dice.among(&["info", "debug"]);
        self.write()?;
        self.reload(tested, &[DONE])?;
        self.expect_origin(tested, before + 1, 101)?;
        self.expect_origin(tested, before, 403)
    }

    fn change_users(&mut self, tested: &Tested) -> Result<(), String> {
        let before = self.files.guest;
        self.files.guest = before + 1;
        self.write()?;
        self.reload(tested, &[DONE])?;
        self.expect_user(tested, before + 1, true)?;
        self.expect_user(tested, before, false)
    }

    /// Breaks a file, has it refused, and mends it. The next reload takes what is in it.
    fn break_file(&mut self, tested: &Tested, name: &str, wanted: &[&str]) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot write {name}: {error}");
        let before = self.files.corrupt(name, &mut self.dice).map_err(failed)?;
        self.books.broken_reloads.add(1);
        let outcome = self.reload(tested, wanted);
        self.files.replace(name, before).map_err(failed)?;
        outcome.map_err(|what| format!("{name} is broken: {what}"))
    }

    // ------------------------------------------------------------------ what was taken

    fn open(
        &self,
        tested: &Tested,
        is_secure: bool,
        target: &str,
        fields: &str,
    ) -> Result<(Wire, u16), String> {
        let failed = |error: io::Error| format!("cannot look at what was taken: {error}");
        let to = if is_secure { tested.addresses.tls } else { tested.addresses.plain };
        let tcp = dial(to, [127, 0, 3, 1], PATIENCE).map_err(failed)?;
        let mut wire = Wire::new(tcp, is_secure.then_some(&self.trust)).map_err(failed)?;
        let status = wire.upgrade(target, fields).map_err(failed)?;
        Ok((wire, status))
    }

    fn expect_certificate(&self, tested: &Tested) -> Result<(), String> {
        let (wire, _) = self.open(tested, true, "/echo", "")?;
        let shown = wire.tls.as_ref().and_then(|tls| tls.peer_certificates()).and_then(|all| all.first());
        match (&self.shown, shown) {
            (Some(expected), Some(shown)) if shown[..] != expected[..] => {
                Err("another certificate is shown than was read last".to_owned())
            }
            (_, None) => Err("no certificate is shown".to_owned()),
            _ => Ok(()),
        }
    }

    fn expect_origin(&self, tested: &Tested, origin: u64, expected: u16) -> Result<(), String> {
        let fields = format!("Origin: https://{origin}.example\r\n");
        let (_, status) = self.open(tested, false, "/echo", &fields)?;
        if status == expected {
            Ok(())
        } else {
            Err(format!("the origin {origin} gets {status}, not {expected}"))
        }
    }

    fn expect_user(&self, tested: &Tested, guest: u64, is_known: bool) -> Result<(), String> {
        let (mut wire, _) = self.open(tested, false, "/actions", "")?;
        let action = json!([{"action": "authenticate", "token": format!("guest-{guest}"), "id": 1}]);
        let answer = wire.send(0x81, action.to_string().as_bytes()).and_then(|()| wire.frame_of_interest());
        let Ok(Some(Frame { first: 0x81, payload })) = answer else {
            return Err(format!("guest-{guest} is answered {answer:?}"));
        };
        let answer = String::from_utf8_lossy(&payload);
        if answer.contains("\"status\":\"ok\"") == is_known {
            Ok(())
        } else {
            Err(format!("guest-{guest} is answered {}", cut(&answer)))
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Pushes numbered messages to groups by POST, as a program would: one connection each.
pub struct Pusher {
    speaker: String,
    number: u64,
    group: usize,
    at: Instant,
}

impl Pusher {
    /// Of a crowd, each of which has one.
    pub fn new(crowd: u64) -> Pusher {
        Pusher {
            speaker: format!("p{crowd}"),
            number: 0,
            group: (crowd % PLACES as u64) as usize,
            at: Instant::now(),
        }
    }

    /// Pushes what is due: how many heard it, if it was.
    pub fn push(&mut self, tested: &Tested, dice: &mut Dice, books: &Books) -> Result<(), String> {
        if Instant::now() < self.at {
            return Ok(());
        }
        self.at = Instant::now() + Duration::from_millis(dice.between(50, 250) as u64);
        self.number += 1;
        let audience = Audience::Group(self.group);
        let len = dice.below(300);
        let text = numbered(&self.speaker, &audience.stream(), self.number, &dice.filler(len));
        let body = audience.post(&text, &self.speaker).to_string();
        let lines = ["POST /__broadcastwebsocket.x HTTP/1.1".to_owned(), "Host: localhost".to_owned()];
        let lines = lines.into_iter().chain([format!("Content-Length: {}", body.len()), String::new()]);
        let head: String = lines.chain(iter::once(body)).collect::<Vec<_>>().join("\r\n");
        let answer = dial(tested.addresses.plain, [127, 0, 3, 2], PATIENCE).and_then(|tcp| {
            let mut wire = Wire::new(tcp, None)?;
            wire.write(head.as_bytes())?;
            wire.head()
        });
        books.end("pushed by POST");
        match answer {
            Ok(head) if head.starts_with("HTTP/1.1 200 ") => Ok(()),
            Ok(head) => Err(format!("a push is answered {}", cut(&head))),
            Err(error) => Err(format!("a push is not answered: {error}")),
        }
    }
}

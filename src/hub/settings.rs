//! What a hub can be told about how to behave. Its bounds are `Limits::actions`.

use super::auth::Secret;
use crate::dialect::Dialect;
use std::fmt;

/// How a [`Hub`](super::Hub) behaves.
///
/// ```
/// use sockeye::{dialect::Dialect, hub::Settings};
/// let settings = Settings { listeners: vec![None, Some(Dialect::Chat)], ..Settings::default() };
/// assert!(settings.acks && settings.pages);
/// ```
#[derive(Debug)]
pub struct Settings {
    /// The dialect of each of `Config::listen`, where neither path, host nor subprotocol say one. Default, and for those
    /// beyond its end: the first message decides.
    pub listeners: Vec<Option<Dialect>>,
    /// Refuse (404) paths that choose no dialect, but for `/`. Default false: they upgrade all the same.
    pub paths_strict: bool,
    /// Acknowledge the actions `authenticate`, `join_channel` and `leave_channel` though they carry no `id`. Default true.
    pub acks: bool,
    /// The cookie of the handshake that holds a user's token, for pages that may not read it. Default `armor_sid_user`.
    pub session_cookie: String,
    /// What follows `admin:` in the token of the server's admin. Default none: nobody is.
    pub admin_password: Option<Secret>,
    /// Which time of day it is, for the `[HH:MM]` of channel messages. Default UTC.
    pub zone: Zone,
    /// Serve the page at `/` and the browser library at `/scripts/`. Default true.
    pub pages: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listeners: Vec::new(),
            paths_strict: false,
            acks: true,
            session_cookie: "armor_sid_user".to_owned(),
            admin_password: None,
            zone: Zone::utc(),
            pages: true,
        }
    }
}

/// How far clocks are from UTC, and when. The hub reads no time zones: whoever makes one does.
///
/// ```
/// use sockeye::hub::Zone;
/// let india = Zone::new(|_unix_ms| 19_800);
/// assert_eq!(format!("{india:?}"), "Zone");
/// ```
pub struct Zone {
    offset_seconds: Box<dyn FnMut(u64) -> i32 + Send>,
    /// The minute since 1970 that was asked for last, and the minute of the day it is.
    last: (u64, u16),
}

impl Zone {
    /// `offset_seconds` says how many seconds east of UTC clocks are at a time in milliseconds since 1970; it is asked at
    /// most once a minute.
    pub fn new(offset_seconds: impl FnMut(u64) -> i32 + Send + 'static) -> Zone {
        Zone { offset_seconds: Box::new(offset_seconds), last: (u64::MAX, 0) }
    }

    /// UTC.
    pub fn utc() -> Zone {
        Zone::new(|_| 0)
    }

    /// Minutes since midnight.
    pub(super) fn minute_of_day(&mut self, unix_ms: u64) -> u16 {
        const DAY: i64 = 86_400;
        let minute = unix_ms / 60_000;
        if self.last.0 != minute {
            let seconds = (unix_ms / 1_000) as i64 + i64::from((self.offset_seconds)(unix_ms));
            self.last = (minute, (seconds.rem_euclid(DAY) / 60) as u16);
        }
        self.last.1
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minute_of_the_day_is_that_of_the_zone() {
        let midnight = 1_795_219_200_000; // 2026-11-21, 00:00 UTC
        assert_eq!(Zone::utc().minute_of_day(midnight + 14 * 3_600_000 + 5 * 60_000), 14 * 60 + 5);
        assert_eq!(Zone::new(|_| -3_600).minute_of_day(midnight), 23 * 60);
        assert_eq!(Zone::new(|_| 5 * 3_600 + 1_800).minute_of_day(midnight), 5 * 60 + 30);
    }
}

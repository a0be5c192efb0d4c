//! What `serve` says on stderr: lines for people and scripts, and with `--log` records, as text or as JSON.
//!
//! Records are put in order under a lock and written by a thread of their own. Where nobody reads them, they wait up to
//! a bound and are dropped and counted past it: a log that cannot be written stops nothing.

use crate::cli::text::{is_obeyed, put_escaped, put_json_string};
use jiff::Timestamp;
use log::{
    Level, LevelFilter, Metadata, Record,
    kv::{Key, Source, Value, VisitSource, VisitValue},
};
use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    mem, panic,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A line on stderr. That nobody reads it is no reason to stop.
pub(in crate::cli) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// How records are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Format {
    /// A JSON object a line, and all else that is said too.
    Json,
    /// Time, level, message, and key=value.
    Text,
}

/// A key of a record, and its value.
pub(super) type Field<'a> = (&'a str, Value<'a>);

/// Says what whoever started the server is to know: as a plain line, and with a log as a record too. With
/// `--log json` only as a record, so that each line is JSON, and whatever `--log-level` is.
#[derive(Clone, Copy)]
pub(super) struct Voice {
    log: Option<&'static Log>,
}

impl Voice {
    /// Begins the log, if there is to be one.
    pub(super) fn new(format: Option<Format>, level: LevelFilter) -> io::Result<Voice> {
        let Some(format) = format else { return Ok(Voice { log: None }) };
        // It is there as long as the process.
        let log: &'static Log = Box::leak(Box::new(Log::new(format)));
        thread::Builder::new().name("log".to_owned()).spawn(|| log.write_forever())?;
        log::set_logger(log).map_err(|error| io::Error::other(error.to_string()))?;
        log::set_max_level(level);
        panic::set_hook(Box::new(|info| {
            // Where, and not what it says: something that a peer sent may be in that.
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            log.record(Level::Error, format_args!("panicked"), &[("place", Value::from(place.as_str()))]);
            if thread::current().name() != Some("log") {
                log::Log::flush(log); // the process may end by it
            }
        }));
        Ok(Voice { log: Some(log) })
    }

    /// What a record must matter from now on, if there is a log.
    pub(super) fn set_level(self, level: LevelFilter) -> bool {
        if self.log.is_some() {
            log::set_max_level(level);
        }
        self.log.is_some()
    }

    /// Says something: as `plain`, and as a record of `message` and `fields`.
    pub(super) fn say(self, level: Level, plain: fmt::Arguments<'_>, message: &str, fields: &[Field<'_>]) {
        match self.log {
            None => say(plain),
            Some(log) => {
                if log.format == Format::Text {
                    log.add(|queue| writeln!(queue.pending, "{plain}"));
                }
                if log.format == Format::Json || level <= log::max_level() {
                    log.record(level, format_args!("{message}"), &fields);
                }
            }
        }
    }

    /// The same, as one line: with `--log text` as `plain` alone.
    pub(super) fn say_once(
        self,
        level: Level,
        plain: fmt::Arguments<'_>,
        message: &str,
        fields: &[Field<'_>],
    ) {
        match self.log {
            Some(log) if log.format == Format::Text => log.add(|queue| writeln!(queue.pending, "{plain}")),
            _ => self.say(level, plain, message, fields),
        }
    }

    /// A record alone, for what nobody needs to be told who has no log.
    pub(super) fn say_in_log(self, level: Level, message: &str, fields: &[Field<'_>]) {
        if let Some(log) = self.log.filter(|_| level <= log::max_level()) {
            log.record(level, format_args!("{message}"), &fields);
        }
    }

    /// Waits until everything is written, for a second at most.
    pub(super) fn flush(self) {
        if let Some(log) = self.log {
            log::Log::flush(log);
        }
    }
}

/// The logger of this process. The least that a record must matter is that of the whole process.
struct Log {
    format: Format,
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Condvar,
    /// All of it was written.
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Whole lines that are still to be written.
    pending: String,
    /// A value, before it is known how it is to be quoted.
    scratch: String,
    /// Records that found no room.
    dropped: u64,
    is_writing: bool,
}

/// Bytes that may wait to be written: some 5,000 records.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// How long the end of the process waits for the log.
const FLUSH: Duration = Duration::from_secs(1);

impl Log {
    fn new(format: Format) -> Log {
        Log { format, queue: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, level: Level, message: fmt::Arguments<'_>, fields: &dyn Source) {
        self.add(|Queue { pending, scratch, .. }| {
            put_record(self.format, now(), level, message, fields, scratch, pending);
            Ok(())
        });
    }

    /// Adds lines to those that wait, if there is room.
    fn add(&self, put: impl FnOnce(&mut Queue) -> fmt::Result) {
        let mut queue = self.lock();
        if queue.pending.len() >= PENDING_BYTES_MAX {
            queue.dropped += 1;
            return;
        }
        // Who writes looks again before it sleeps: it needs to be woken only when there was nothing.
        let is_asleep = queue.pending.is_empty() && !queue.is_writing;
        let _ = put(&mut queue); // into a string, which takes everything
        drop(queue);
        if is_asleep {
            self.filled.notify_one();
        }
    }

    /// Writes all that waits, in one go, again and again.
    fn write_forever(&self) -> ! {
        let mut lines = String::new();
        loop {
            let mut queue = self.lock();
            queue.is_writing = false;
            while queue.pending.is_empty() {
                self.emptied.notify_all();
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            mem::swap(&mut queue.pending, &mut lines);
            queue.is_writing = true;
            let dropped = mem::take(&mut queue.dropped);
            drop(queue);
            if dropped > 0 {
                let (message, fields) = (format_args!("log records were dropped"), &[("count", dropped)]);
                put_record(self.format, now(), Level::Warn, message, fields, &mut String::new(), &mut lines);
            }
            let _ = io::stderr().write_all(lines.as_bytes());
            lines.clear();
        }
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        metadata.level() <= log::max_level() && (target == "sockeye" || target.starts_with("sockeye::"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.record(record.level(), *record.args(), record.key_values());
        }
    }

    fn flush(&self) {
        let waits = |queue: &mut Queue| queue.is_writing || !queue.pending.is_empty();
        drop(self.emptied.wait_timeout_while(self.lock(), FLUSH, waits));
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis())
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or_default()
}

/// Appends a record, as a line.
fn put_record(
    format: Format,
    at: Timestamp,
    level: Level,
    message: fmt::Arguments<'_>,
    fields: &dyn Source,
    scratch: &mut String,
    out: &mut String,
) {
    scratch.clear();
    let _ = write!(scratch, "{message}"); // into a string, as all that follow
    match format {
        Format::Text => {
            let _ = write!(out, "{at:.3} {level} ");
            put_escaped(scratch, "\\n", out);
        }
        Format::Json => {
            let level = level.as_str().to_ascii_lowercase();
            let _ = write!(out, "{{\"time\":\"{at:.3}\",\"level\":\"{level}\",\"message\":");
            put_json_string(scratch, out);
        }
    }
    let _ = fields.visit(&mut Fields { format, scratch, out });
    out.push_str(if format == Format::Json { "}\n" } else { "\n" });
}

/// Puts one field after the other.
struct Fields<'o> {
    format: Format,
    scratch: &'o mut String,
    out: &'o mut String,
}

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        match self.format {
            Format::Text => {
                self.out.push(' ');
                put_word(key.as_str(), self.out);
                self.out.push('=');
            }
            Format::Json => {
                self.out.push(',');
                put_json_string(key.as_str(), self.out);
                self.out.push(':');
            }
        }
        value.visit(self)
    }
}

impl Fields<'_> {
    fn put_number(&mut self, number: impl fmt::Display) -> Result<(), log::kv::Error> {
        Ok(write!(self.out, "{number}")?)
    }
}

impl<'v> VisitValue<'v> for Fields<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), log::kv::Error> {
        self.scratch.clear();
        write!(self.scratch, "{value}")?;
        match self.format {
            Format::Text => put_word(self.scratch, self.out),
            Format::Json => put_json_string(self.scratch, self.out),
        }
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), log::kv::Error> {
        self.put_number(value)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), log::kv::Error> {
        self.put_number(value)
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), log::kv::Error> {
        self.put_number(value)
    }
}

/// Appends a value as text: in quotes where it would else not be seen where it ends, or that it is there.
fn put_word(text: &str, out: &mut String) {
    let needs_quotes = |c: char| c.is_whitespace() || is_obeyed(c) || matches!(c, '"' | '=' | '\\');
    if text.is_empty() || text.contains(needs_quotes) {
        put_json_string(text, out);
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_795_219_719_780;

    fn line(format: Format, message: &str, fields: &dyn Source) -> String {
        let at = Timestamp::from_millisecond(AT).unwrap();
        let (mut scratch, mut out) = (String::from("left over"), String::new());
        put_record(format, at, Level::Info, format_args!("{message}"), fields, &mut scratch, &mut out);
        out
    }

    #[test]
    fn a_record_is_a_line_of_text() {
        let fields = [("connection", Value::from("3.1")), ("code", 1000.into()), ("clean", true.into())];
        assert_eq!(
            line(Format::Text, "connection closed", &fields),
            "2026-11-21T00:08:39.780Z INFO connection closed connection=3.1 code=1000 clean=true\n"
        );
    }

    #[test]
    fn a_record_is_a_line_of_json() {
        let fields = [("connection", Value::from("3.1")), ("code", 1000.into()), ("clean", true.into())];
        assert_eq!(
            line(Format::Json, "connection closed", &fields),
            "{\"time\":\"2026-11-21T00:08:39.780Z\",\"level\":\"info\",\"message\":\"connection closed\",\
             \"connection\":\"3.1\",\"code\":1000,\"clean\":true}\n"
        );
    }

    const EVIL: &str = "a b=\"c\"\\\r\n\x1b[2J\u{9b}\u{202e}\0é\u{2028}";

    #[test]
    fn what_peers_say_ends_no_line_and_no_value_and_reaches_no_terminal() {
        let text = line(Format::Text, EVIL, &[("path", EVIL), ("empty", ""), ("plain", "/a?b")]);
        let quoted = r#""a b=\"c\"\\\r\n\u001b[2J\u009b\u202e\u0000é"#;
        assert!(text.ends_with(&format!(" path={quoted}\u{2028}\" empty=\"\" plain=/a?b\n")), "{text}");
        assert!(!text.trim_end_matches('\n').contains(is_obeyed), "{text:?}");

        let json = line(Format::Json, EVIL, &[(EVIL, EVIL), ("empty", "")]);
        assert!(!json.trim_end_matches('\n').contains(is_obeyed), "{json:?}");
        let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(
            (&value["message"], &value[EVIL], &value["empty"]),
            (&EVIL.into(), &EVIL.into(), &"".into())
        );
    }

    #[test]
    fn numbers_are_numbers_if_json_has_them() {
        let fields = [
            ("most", Value::from(u64::MAX)),
            ("least", i64::MIN.into()),
            ("half", 0.5.into()),
            ("none", f64::NAN.into()),
            ("null", Value::null()),
        ];
        let json = line(Format::Json, "", &fields);
        assert!(json.ends_with(
            "\"most\":18446744073709551615,\"least\":-9223372036854775808,\"half\":\"0.5\",\"none\":\"NaN\",\
             \"null\":\"None\"}\n"
        ), "{json}");
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let log = Log::new(Format::Text);
        log.lock().pending = " ".repeat(PENDING_BYTES_MAX - 1);
        for _ in 0..3 {
            log.record(Level::Info, format_args!("hello"), &[("a", 1)]);
        }
        let queue = log.lock();
        assert_eq!((queue.dropped, queue.pending.matches("hello a=1\n").count()), (2, 1));
    }

    #[test]
    fn others_do_not_write_here() {
        use log::Log as _;
        let log = Log::new(Format::Text);
        log::set_max_level(LevelFilter::Info);
        for (target, level, is_enabled) in [
            ("sockeye::hub", Level::Info, true),
            ("sockeye", Level::Warn, true),
            ("sockeye::hub", Level::Debug, false),
            ("mio::poll", Level::Error, false),
            ("sockeyes", Level::Error, false),
        ] {
            let metadata = Metadata::builder().target(target).level(level).build();
            assert_eq!(log.enabled(&metadata), is_enabled, "{target} {level}");
        }
    }
}

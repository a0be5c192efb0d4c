//! `sockeye autobahn`: plays the client that a fuzzing server of the Autobahn test suite tests, case by case.
//!
//! The server tells how many cases there are, runs one for each connection to `/runCase`, where all messages are to be
//! echoed, and writes its reports when `/updateReports` is connected to.

use super::{CANNOT_CONNECT, FAILED, OK, USAGE, text::escaped, trust::TrustArguments};
use clap::Args;
use sockeye::{
    Closed, Config, ConnId, Context, DialError, Handler, Keepalive, Limits, Message, Server, client,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    time::{Duration, Instant},
};

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The server is one of `wstest -m fuzzingserver`. Each case is one line on stdout, with what the \
                        server says of it; its report says more, such as how the connection was closed.\n\n\
                        Exit codes: 0 no case failed, 1 one did or could not be run, 2 arguments make no sense, \
                        69 cannot connect."
)]
pub(super) struct Arguments {
    /// The fuzzing server, such as ws://127.0.0.1:9001, or wss: for one that speaks TLS.
    #[arg(value_name = "URL")]
    url: String,

    /// The name under which the server reports.
    #[arg(short, long, value_name = "NAME", default_value = concat!("sockeye-", env!("CARGO_PKG_VERSION")))]
    agent: String,

    /// Run these cases only: 7.1.6, or all that begin so, such as '7.*'. May be given several times.
    #[arg(short, long, value_name = "PATTERN")]
    cases: Vec<String>,

    #[command(flatten, next_help_heading = "TLS")]
    trust: TrustArguments,
}

/// Longest time a case may take: the longest of the suite are given eight minutes by it.
const CASE_PATIENCE: Duration = Duration::from_secs(600);
/// Longest time the server may take to answer a question.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether one of these is over.
const TICK_MS: u32 = 1_000;

/// Runs the cases; the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let limits = Limits { message_bytes_max: 64 << 20, outbox_stall_ms_max: 0, ..Limits::default() };
    // No Ping of ours among what the server wants to see.
    let keepalive = Keepalive { ping_after_ms: 0, ..Keepalive::default() };
    let config = Config { limits, keepalive, tick_ms: TICK_MS, ..Config::default() };
    let first = match client::dial(&arguments.url_of(&Question::Count), &[]) {
        Ok(dial) if !arguments.url.contains(['?', '#']) => dial,
        Ok(_) => return fail(USAGE, &format!("{}: give the server alone, without a query", arguments.url)),
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    let tls = match arguments.trust.client() {
        Ok(tls) => tls,
        Err(error) => return fail(USAGE, &error),
    };
    let mut server = match Server::unbound(config, Driver::new(arguments.clone())) {
        Ok(server) => server,
        Err(error) => return fail(FAILED, &error.to_string()),
    };
    if let Some(tls) = tls {
        server.dial_tls_as(tls);
    }
    server.act(|driver, cx| driver.asked = Some(cx.dial(first)));
    loop {
        if let Err(error) = server.turn(None) {
            return fail(FAILED, &error.to_string());
        }
        if let Some(code) = server.handler().exit_code {
            return code;
        }
    }
}

fn fail(code: u8, why: &str) -> u8 {
    let _ = writeln!(io::stderr(), "sockeye: {}", escaped(why));
    code
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Question {
    /// How many cases are there?
    Count,
    /// What is this case called?
    Name(u32),
    /// The case itself.
    Run(u32),
    /// What came of it?
    Verdict(u32),
    /// Write the reports.
    Report,
}

impl Arguments {
    fn url_of(&self, question: &Question) -> String {
        let (server, agent) = (self.url.trim_end_matches('/'), percent_encoded(&self.agent));
        match question {
            Question::Count => format!("{server}/getCaseCount"),
            Question::Name(case) => format!("{server}/getCaseInfo?case={case}"),
            Question::Run(case) => format!("{server}/runCase?case={case}&agent={agent}"),
            Question::Verdict(case) => format!("{server}/getCaseStatus?case={case}&agent={agent}"),
            Question::Report => format!("{server}/updateReports?agent={agent}"),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.cases.is_empty()
            || self.cases.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            })
    }
}

/// Asks one question after the other, each on a connection of its own.
struct Driver {
    arguments: Arguments,
    question: Question,
    asked: Option<ConnId>,
    asked_at: Instant,
    /// What the server said to the question.
    answer: String,
    count: u32,
    /// Of the case that runs.
    name: String,
    took: Duration,
    /// How many cases there were of each verdict.
    verdicts: BTreeMap<String, u32>,
    exit_code: Option<u8>,
}

/// A case that the server says nothing of.
const UNKNOWN: &str = "UNKNOWN";
/// Verdicts that are no failure. Whoever wants strictness reads the report.
const PASSED: [&str; 4] = ["OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"];

impl Driver {
    fn new(arguments: Arguments) -> Driver {
        Driver {
            arguments,
            question: Question::Count,
            asked: None,
            asked_at: Instant::now(),
            answer: String::new(),
            count: 0,
            name: String::new(),
            took: Duration::ZERO,
            verdicts: BTreeMap::new(),
            exit_code: None,
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>, question: Question) {
        self.question = question;
        self.asked_at = Instant::now();
        self.answer.clear();
        match client::dial(&self.arguments.url_of(&question), &[]) {
            Ok(dial) => self.asked = Some(cx.dial(dial)),
            Err(error) => self.exit_code = Some(fail(FAILED, &error.to_string())),
        }
    }

    /// The connection for a question is over: what it brought, and the next question.
    fn answered(&mut self, cx: &mut Context<'_>) {
        match self.question {
            Question::Count => match self.answer.trim().parse() {
                Ok(count) if count > 0 => {
                    self.count = count;
                    self.ask(cx, Question::Name(1));
                }
                _ => {
                    let why = format!(
                        "this is no fuzzing server: asked for the number of cases it says {:?}",
                        self.answer
                    );
                    self.exit_code = Some(fail(FAILED, &why));
                }
            },
            Question::Name(case) => {
                self.name = json_string(&self.answer, "id").unwrap_or_else(|| case.to_string());
                if self.arguments.wants(&self.name) {
                    self.ask(cx, Question::Run(case));
                } else {
                    self.next_case(cx, case);
                }
            }
            Question::Run(case) => {
                self.took = self.asked_at.elapsed();
                self.ask(cx, Question::Verdict(case));
            }
            Question::Verdict(case) => {
                let verdict = json_string(&self.answer, "behavior").unwrap_or_else(|| UNKNOWN.to_owned());
                self.tell(&format!(
                    "{case}/{} {} {verdict} {} ms",
                    self.count,
                    self.name,
                    self.took.as_millis()
                ));
                *self.verdicts.entry(verdict).or_default() += 1;
                self.next_case(cx, case);
            }
            Question::Report => self.finish(),
        }
    }

    fn next_case(&mut self, cx: &mut Context<'_>, case: u32) {
        let next = if case < self.count { Question::Name(case + 1) } else { Question::Report };
        self.ask(cx, next);
    }

    fn finish(&mut self) {
        let cases: u32 = self.verdicts.values().sum();
        let mut line = format!("{cases} cases as {}:", self.arguments.agent);
        for (i, (verdict, count)) in self.verdicts.iter().enumerate() {
            let _ = write!(line, "{} {count} {verdict}", if i > 0 { "," } else { "" });
        }
        self.tell(&line);
        let has_passed = self.verdicts.keys().all(|verdict| PASSED.contains(&verdict.as_str()));
        self.exit_code = Some(match (cases, has_passed) {
            (0, _) => fail(FAILED, "no case has such a number: see --cases"),
            (_, true) => OK,
            (_, false) => FAILED,
        });
    }

    /// A line on stdout. That nobody reads it is no reason to stop: the reports are what is wanted.
    fn tell(&self, line: &str) {
        let _ = writeln!(io::stdout(), "{}", escaped(line));
    }
}

impl Handler for Driver {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        match (self.question, message) {
            (Question::Run(_), message) => {
                cx.send(id, message);
            }
            (_, Message::Text(text)) => self.answer.push_str(text),
            (_, Message::Binary(_)) => {}
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, _: &Closed<'_>) {
        if self.asked == Some(id) {
            self.answered(cx);
        }
    }

    fn on_dial_failed(&mut self, _: &mut Context<'_>, _: ConnId, error: &DialError) {
        let code = if self.question == Question::Count { CANNOT_CONNECT } else { FAILED };
        let url = self.arguments.url_of(&self.question);
        self.exit_code = Some(fail(code, &format!("{url}: {error}")));
    }

    fn on_tick(&mut self, cx: &mut Context<'_>) {
        let patience = match self.question {
            Question::Run(_) | Question::Report => CASE_PATIENCE,
            _ => ANSWER_PATIENCE,
        };
        if self.asked_at.elapsed() > patience
            && let Some(id) = self.asked
        {
            let _ =
                writeln!(io::stderr(), "sockeye: {} takes too long", self.arguments.url_of(&self.question));
            // `on_close` follows, whether the server answers this or not.
            cx.close(id, sockeye::CloseCode::GOING_AWAY, "");
        }
    }
}

/// The string that a flat JSON object has for `name`, if it has one without escapes.
fn json_string(object: &str, name: &str) -> Option<String> {
    let (_, rest) = object.split_once(&format!("\"{name}\""))?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Some(value.split_once('"')?.0.to_owned())
}

/// As the value of a query, RFC 3986 §2.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_may_have_any_name() {
        assert_eq!(percent_encoded("sockeye-0.1"), "sockeye-0.1");
        assert_eq!(percent_encoded("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }

    #[test]
    fn strings_are_found_in_what_the_server_says() {
        let info = r#"{"id": "1.1.1", "description": "Send text message with payload 0."}"#;
        assert_eq!(json_string(info, "id").as_deref(), Some("1.1.1"));
        assert_eq!(json_string(r#"{"behavior":"NON-STRICT"}"#, "behavior").as_deref(), Some("NON-STRICT"));
        assert_eq!(json_string("", "id"), None);
        assert_eq!(json_string(r#"{"id": 7}"#, "id"), None);
    }
}

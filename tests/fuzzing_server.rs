//! `sockeye autobahn` against a server that plays the suite's fuzzing server.

mod tool;

use sockeye::{CloseCode, Config, ConnId, Context, Handler, Message, Request, Server, Upgrade};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
};
use tool::{Ended, Tool, raw_server, sockeye};

/// What a fuzzing server does, with three cases of its own.
struct Fuzzing {
    /// What each connection asked for.
    targets: HashMap<ConnId, String>,
    /// What was asked for, and what came back, in order.
    log: Arc<Mutex<Vec<String>>>,
    /// Of each case, by number.
    verdicts: [&'static str; 3],
    names: [&'static str; 3],
}

impl Fuzzing {
    fn log(&self, line: String) {
        self.log.lock().expect("nobody panicked").push(line);
    }

    /// The number in `case=N`, from 0.
    fn case(target: &str) -> usize {
        let (_, rest) = target.split_once("case=").expect("a case is named");
        rest.split('&').next().expect("it has a value").parse::<usize>().expect("a number") - 1
    }
}

impl Handler for Fuzzing {
    fn on_upgrade(&mut self, _: &mut Context<'_>, id: ConnId, request: &Request<'_>) -> Upgrade {
        self.log(request.target().to_owned());
        self.targets.insert(id, request.target().to_owned());
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        let target = self.targets[&id].clone();
        let answer = match target.split('?').next().expect("a path") {
            "/getCaseCount" => "3".to_owned(),
            "/getCaseInfo" => {
                format!(r#"{{"id": "{}", "description": "x"}}"#, self.names[Fuzzing::case(&target)])
            }
            "/getCaseStatus" => format!(r#"{{"behavior": "{}"}}"#, self.verdicts[Fuzzing::case(&target)]),
            "/updateReports" => String::new(),
            "/runCase" => {
                match Fuzzing::case(&target) {
                    0 => cx.send(id, "to be echoed"),
                    1 => cx.send(id, Message::Binary(&[7; 100_000])),
                    _ => cx.send(id, ""),
                };
                return;
            }
            path => panic!("a fuzzing server has no {path}"),
        };
        if !answer.is_empty() {
            cx.send(id, answer.as_str());
        }
        cx.close(id, CloseCode::NORMAL, "");
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.log(match message {
            Message::Text(text) => format!("text {text:?}"),
            Message::Binary(bytes) => format!("{} bytes", bytes.len()),
        });
        cx.close(id, CloseCode::NORMAL, "");
    }
}

/// Runs `sockeye autobahn` against such a server: how it ended, and what the server saw.
fn run(verdicts: [&'static str; 3], arguments: &[&str]) -> (Ended, Vec<String>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let fuzzing = Fuzzing {
        targets: HashMap::new(),
        log: Arc::clone(&log),
        verdicts,
        names: ["1.1.1", "1.2.1", "10.1.1"],
    };
    let mut server = Server::bind(Config::new("127.0.0.1:0"), fuzzing).expect("a port is free");
    let url = format!("ws://{}", server.addresses()[0]);
    let remote = server.remote();
    let thread = thread::spawn(move || server.run());
    let ended = Tool::start(sockeye(&[&["autobahn", &url], arguments].concat())).end();
    remote.shutdown();
    thread.join().expect("it does not panic").expect("it runs");
    let log = log.lock().expect("nobody panicked").clone();
    (ended, log)
}

#[test]
fn every_case_is_run_and_echoed_and_the_reports_are_updated() {
    let (ended, log) = run(["OK", "NON-STRICT", "INFORMATIONAL"], &["--agent", "a b"]);
    ended.expect_code(0);
    assert_eq!(
        log,
        [
            "/getCaseCount",
            "/getCaseInfo?case=1",
            "/runCase?case=1&agent=a%20b",
            "text \"to be echoed\"",
            "/getCaseStatus?case=1&agent=a%20b",
            "/getCaseInfo?case=2",
            "/runCase?case=2&agent=a%20b",
            "100000 bytes",
            "/getCaseStatus?case=2&agent=a%20b",
            "/getCaseInfo?case=3",
            "/runCase?case=3&agent=a%20b",
            "text \"\"",
            "/getCaseStatus?case=3&agent=a%20b",
            "/updateReports?agent=a%20b",
        ]
    );
    let lines: Vec<_> = ended.stdout().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("1/3 1.1.1 OK "), "{lines:?}");
    assert!(lines[1].starts_with("2/3 1.2.1 NON-STRICT "), "{lines:?}");
    assert_eq!(lines[3], "3 cases as a b: 1 INFORMATIONAL, 1 NON-STRICT, 1 OK");
    assert_eq!((lines.len(), ended.stderr.as_str()), (4, ""));
}

#[test]
fn a_case_that_failed_is_exit_code_1_and_the_others_are_run_all_the_same() {
    let (ended, log) = run(["OK", "FAILED", "OK"], &[]);
    ended.expect_code(1);
    assert!(ended.stdout().ends_with("1 FAILED, 2 OK\n"), "{ended:?}");
    assert!(log.last().is_some_and(|line| line.starts_with("/updateReports?agent=sockeye-")), "{log:?}");
}

#[test]
fn cases_are_chosen_by_their_name() {
    let (ended, log) = run(["OK"; 3], &["--cases", "1.*"]);
    ended.expect_code(0);
    let ran: Vec<_> = log.iter().filter(|line| line.starts_with("/runCase")).collect();
    assert_eq!(ran.len(), 2, "{log:?}");
    let (ended, _) = run(["OK"; 3], &["--cases", "10.1.1", "--cases", "1.2.1"]);
    assert!(ended.stdout().contains("\n3/3 10.1.1 OK "), "{ended:?}");
    let (ended, _) = run(["OK"; 3], &["--cases", "9.*"]);
    ended.expect_complaint(1, &["--cases"]);
}

#[test]
fn what_is_no_fuzzing_server_is_said_to_be_none() {
    let url = tool::Serving::start(|cx, id, _| {
        cx.send(id, "hello");
        cx.close(id, CloseCode::NORMAL, "");
    });
    let ended = Tool::start(sockeye(&["autobahn", &url.url()])).end();
    ended.expect_complaint(1, &["no fuzzing server", "hello"]);
    let refused = raw_server(|stream, _| drop(stream));
    Tool::start(sockeye(&["autobahn", &refused])).end().expect_complaint(69, &["getCaseCount"]);
    for url in ["nonsense", "ws://127.0.0.1:9/?agent=x"] {
        Tool::start(sockeye(&["autobahn", url])).end().expect_code(2);
    }
}

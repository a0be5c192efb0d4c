//! Applications that answer later.

use super::*;
use crate::{
    config::{Keepalive, Limits},
    engine::{Engine, Lost},
    hub::{
        Caller, CustomAction, EnvelopeMessage,
        tests::{NOW, engine, open, say},
    },
};

/// Writes down what it is asked, and answers nothing by itself.
#[derive(Default)]
struct Slow {
    asked: Vec<(String, Ticket)>,
    told: Vec<String>,
}

impl Application for Slow {
    fn on_action(&mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, action: &CustomAction<'_>) -> Reply {
        self.asked.push((action.name().to_owned(), action.ticket()));
        Reply::Later
    }

    fn on_envelope(
        &mut self,
        _: &mut HubContext<'_, '_>,
        _: &Caller<'_>,
        message: &EnvelopeMessage<'_>,
        ticket: Ticket,
    ) -> Handling {
        self.asked.push((format!("{}: {}", message.sender, message.json), ticket));
        Handling::Later
    }

    fn find_identity(
        &mut self,
        _: &mut HubContext<'_, '_>,
        _: &Caller<'_>,
        token: &str,
        ticket: Ticket,
    ) -> Decision<Option<Identity>> {
        self.asked.push((token.to_owned(), ticket));
        Decision::Later
    }

    fn decide_join(
        &mut self,
        _: &mut HubContext<'_, '_>,
        caller: &Caller<'_>,
        place: Place<'_>,
        ticket: Ticket,
    ) -> Decision<bool> {
        let who = caller.user.map_or("nobody", |user| &user.uuid);
        self.asked.push((format!("{who} in {place:?}"), ticket));
        Decision::Later
    }

    fn on_join(&mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, place: Place<'_>) {
        self.told.push(format!("in {place:?}"));
    }

    fn on_leave(&mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, place: Place<'_>) {
        self.told.push(format!("out of {place:?}"));
    }
}

type Slowly = Engine<Hub<Slow>>;

/// Answers the first question, which is this, and returns what all hear by it.
#[track_caller]
fn answer(engine: &mut Slowly, question: &str, answer: Late) -> String {
    let (asked, ticket) = engine.handler_mut().application_mut().asked.remove(0);
    assert_eq!(asked, question);
    engine.act(NOW, |hub, cx| hub.act(cx, |_, cx| assert!(cx.answer(ticket, answer))));
    heard(engine)
}

fn heard(engine: &mut Slowly) -> String {
    let mut heard = String::new();
    while let Some(transmit) = engine.poll_transmit() {
        let (id, bytes) = (transmit.id, [transmit.first, transmit.second].concat());
        engine.handle_transmitted(NOW, id, bytes.len());
        heard += &String::from_utf8_lossy(&bytes);
    }
    heard
}

fn alice() -> Option<Identity> {
    Some(Identity { uuid: "7".into(), name: "Alice".into(), group: String::new() })
}

#[test]
fn what_is_said_behind_a_question_waits_for_its_answer_and_is_done_in_order() {
    let mut engine = engine(Slow::default());
    let id = open(&mut engine, "/actions", "");
    let all = r#"[{"action":"authenticate","token":"t","id":1},{"action":"join_channel","channel_name":"c","id":2},
        {"action":"message_channel","channel_name":"c","message":"first","id":3}]"#;
    assert_eq!(say(&mut engine, id, all), "");
    assert!(!engine.wants_read(id), "it is not read meanwhile");
    let more = r#"{"action":"message_channel","channel_name":"c","message":"second","id":4}"#;
    assert_eq!(say(&mut engine, id, more), "");

    let heard = answer(&mut engine, "t", Late::Identity(alice()));
    assert!(heard.contains(r#""status":"ok""#) && heard.ends_with(r#""id":1}"#), "{heard}");
    let heard = answer(&mut engine, "7 in Channel(\"c\")", Late::Allowed(true));
    let places: Vec<_> = [r#""id":2}"#, "first", r#""id":3}"#, "second", r#""id":4}"#]
        .iter()
        .map(|part| heard.find(part).unwrap_or_else(|| panic!("{part} is in {heard}")))
        .collect();
    assert!(places.is_sorted(), "{heard}");
    assert!(engine.wants_read(id) && engine.handler().is_consistent());
    assert_eq!(engine.handler().application().told, [r#"in Channel("c")"#]);
}

#[test]
fn an_action_keeps_nothing_waiting_and_its_answer_has_its_id() {
    let mut engine = engine(Slow::default());
    let id = open(&mut engine, "/actions", "");
    assert_eq!(say(&mut engine, id, r#"[{"action":"roll","id":"r"},{"action":"x"}]"#), "");
    assert!(say(&mut engine, id, r#"{"action":"list_channels"}"#).contains(r#""status":"ok""#));
    let data = Late::Reply(Reply::Data(vec![r#"{"action":"rolled"}"#.into()]));
    let heard = answer(&mut engine, "roll", data);
    assert!(heard.contains(r#""data":[{"action":"rolled"}],"id":"r"}"#), "{heard}");
    let heard = answer(&mut engine, "x", Late::Failed("it is closed".into()));
    assert!(heard.contains(r#""status":"error""#) && heard.contains("it is closed"), "{heard}");
}

#[test]
fn an_answer_to_nobody_to_another_question_or_once_more_is_none() {
    let mut engine = engine(Slow::default());
    let id = open(&mut engine, "/actions", "");
    say(&mut engine, id, r#"[{"action":"roll"},{"action":"gone"}]"#);
    let tickets: Vec<_> = engine.handler().application().asked.iter().map(|(_, ticket)| *ticket).collect();
    let mut answers =
        |ticket, answer| engine.act(NOW, |hub, cx| hub.act(cx, |_, cx| cx.answer(ticket, answer)));
    assert!(!answers(tickets[0], Late::Allowed(true)));
    assert!(!answers(tickets[0], Late::Reply(Reply::Done)));
    assert!(heard(&mut engine).contains(FAILED));
    engine.handle_lost(NOW, id, Lost::Eof);
    let other = open(&mut engine, "/actions", "");
    say(&mut engine, other, r#"{"action":"roll"}"#);
    let answered =
        engine.act(NOW, |hub, cx| hub.act(cx, |_, cx| cx.answer(tickets[1], Late::Reply(Reply::Done))));
    assert!(!answered);
    assert_eq!(heard(&mut engine), "");
}

#[test]
fn no_more_answers_are_owed_to_a_connection_than_may_be() {
    let mut engine = engine(Slow::default());
    let id = open(&mut engine, "/actions", "");
    for _ in 0..64 {
        assert_eq!(say(&mut engine, id, r#"{"action":"roll"}"#), "");
    }
    let heard = say(&mut engine, id, r#"{"action":"roll"}"#);
    assert!(heard.contains("at most 64 (pending_max)"), "{heard}");
    answer(&mut engine, "roll", Late::Reply(Reply::Done));
    assert_eq!(say(&mut engine, id, r#"{"action":"roll"}"#), "");
}

#[test]
fn who_says_too_much_behind_a_question_is_closed() {
    let mut engine = engine(Slow::default());
    let id = open(&mut engine, "/actions", "");
    say(&mut engine, id, r#"{"action":"authenticate","token":"t"}"#);
    let long = "x".repeat(3_000);
    let heard: Vec<_> = (0..400).map(|_| say(&mut engine, id, &long)).collect();
    let at = heard.iter().position(|heard| heard.contains("json_message_bytes_max"));
    assert!(at.is_some_and(|at| (340..350).contains(&at)), "{at:?}");
}

#[test]
fn what_all_say_behind_questions_is_bounded_together() {
    let mut engine = engine(Slow::default());
    let limits = Limits { buffered_bytes_max: 300 << 10, ..engine.act(NOW, |_, cx| *cx.limits()) };
    engine.set_limits(NOW, limits, Keepalive::default());
    let long = "x".repeat(3_000);
    let ask = |engine: &mut Slowly| {
        let id = open(engine, "/actions", "");
        say(engine, id, r#"{"action":"authenticate","token":"t"}"#);
        (id, (0..45).map(|_| say(engine, id, &long)).collect::<String>())
    };
    let (first, heard) = ask(&mut engine);
    assert_eq!((heard.as_str(), ask(&mut engine).1.as_str()), ("", ""));
    let (third, heard) = ask(&mut engine);
    assert!(heard.contains("buffered_bytes_max"), "{heard}");
    [first, third].into_iter().for_each(|id| engine.handle_lost(NOW, id, Lost::Eof));
    assert_eq!(ask(&mut engine).1, "", "what the first one said is held no longer");
    engine.handler_mut().application_mut().asked.remove(0);
    answer(&mut engine, "t", Late::Identity(None));
    assert_eq!(ask(&mut engine).1, "", "nor is what was handled");
}

#[test]
fn a_group_is_entered_when_it_may_be_and_the_message_that_names_it_goes_there() {
    let mut engine = engine(Slow::default());
    let id = open(&mut engine, "/envelope", "");
    let first = r#"{"action":"say","message":"m","groupId":"g","userId":"u"}"#;
    assert_eq!(say(&mut engine, id, first), "");
    answer(&mut engine, r#"nobody in Group("")"#, Late::Allowed(true));
    answer(&mut engine, r#"nobody in Group("g")"#, Late::Allowed(true));
    let told = &engine.handler().application().told;
    assert_eq!(told, &[r#"in Group("")"#, r#"in Group("g")"#, r#"out of Group("")"#]);
    let heard = answer(&mut engine, &format!("u: {first}"), Late::Allowed(true));
    assert!(heard.contains(r#""message":"m","groupId":"g","userId":"u""#), "{heard}");

    let second = r#"{"action":"ask"}"#;
    say(&mut engine, id, second);
    let reply = Late::Reply(Reply::Data(vec![r#"{"action":"told","message":"yes"}"#.into()]));
    let heard = answer(&mut engine, &format!("u: {second}"), reply);
    assert!(heard.contains(r#"{"action":"told","message":"yes","groupId":"","userId":"""#), "{heard}");
    say(&mut engine, id, second);
    let heard = answer(&mut engine, &format!("u: {second}"), Late::Failed("no".into()));
    assert!(heard.contains(r#"{"action":"error","message":"no""#), "{heard}");
    assert!(engine.handler().is_consistent());
}

#[test]
fn the_session_of_a_handshake_is_known_before_its_groups_are_entered() {
    let mut engine = engine(Slow::default());
    let cookie = "Cookie: armor_sid_user=token\r\n";
    for target in ["/envelope?groupid=g", "/?groupid=g"] {
        let id = open(&mut engine, target, cookie);
        let first = r#"{"action":"say","groupId":"x","userId":"eve","recipients":[]}"#;
        assert_eq!(say(&mut engine, id, first), "");
        answer(&mut engine, "token", Late::Identity(alice()));
        answer(&mut engine, r#"7 in Group("g")"#, Late::Allowed(true));
        answer(&mut engine, &format!("7: {first}"), Late::Reply(Reply::Done));
    }
}

#[test]
fn a_room_is_joined_when_it_may_be_and_left_with_1008_when_not() {
    let mut engine = engine(Slow::default());
    let (one, other) = (open(&mut engine, "/room/r", ""), open(&mut engine, "/room/r", ""));
    assert_eq!(say(&mut engine, one, "early"), "");
    let heard = answer(&mut engine, r#"nobody in Room("r")"#, Late::Allowed(true));
    assert_eq!(heard, "\u{fffd}\u{5}early");
    let heard = answer(&mut engine, r#"nobody in Room("r")"#, Late::Allowed(false));
    assert!(heard.contains("this room may not be joined"), "{heard}");
    assert_eq!(say(&mut engine, other, "late"), "");
}

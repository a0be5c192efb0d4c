//! The action layer with two actions of a program's own: `roll` answers its caller, and `announce` speaks to a channel,
//! a room and a group at once, which no dialect does by itself.
//!
//! `cargo run --example hub`, then open the address it prints; or
//! `echo '[{"action":"roll","sides":6}]' | sockeye connect ws://127.0.0.1:4863/actions`.

use sockeye::{
    Message, Server,
    dialect::action::{Person, Post},
    hub::{Application, Caller, CustomAction, Hub, HubContext, Place, Reply, Settings},
};

struct Game {
    rolls: u64,
}

impl Application for Game {
    fn on_action(&mut self, cx: &mut HubContext<'_, '_>, _: &Caller<'_>, action: &CustomAction<'_>) -> Reply {
        match action.name() {
            "roll" => self.roll(cx, action.number("sides").unwrap_or(6)),
            "announce" => announce(cx, &action.text("text").unwrap_or_default()),
            _ => Reply::Unknown,
        }
    }

    fn may_join(&mut self, caller: &Caller<'_>, place: Place<'_>) -> bool {
        place != Place::Channel("staff") || caller.is_admin
    }
}

impl Game {
    fn roll(&mut self, cx: &mut HubContext<'_, '_>, sides: u64) -> Reply {
        if !(1..=100).contains(&sides) {
            return Reply::Error("A die has 1 to 100 sides".to_owned());
        }
        self.rolls += 1;
        let pips = u64::from_le_bytes(cx.random()) % sides + 1;
        Reply::Data(vec![format!(r#"{{"action":"rolled","pips":{pips},"rolls":{}}}"#, self.rolls)])
    }
}

fn announce(cx: &mut HubContext<'_, '_>, text: &str) -> Reply {
    cx.say("news", Person { uuid: "", username: "house" }, text);
    cx.send_to_room("news", Message::Text(text));
    cx.post(&Post::to_group("news", "announcement", text), "house");
    Reply::Done
}

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4863".to_owned());
    let config = Hub::config(address);
    let hub = Hub::with(&config, Settings::default(), Game { rolls: 0 });
    let mut server = Server::bind(config, hub)?;
    println!("listening on {}", server.addresses()[0]);
    println!("open http://{}/", server.addresses()[0]);
    server.run()
}

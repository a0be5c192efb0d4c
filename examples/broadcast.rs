//! A chat room: whoever connects is in it, and what one says all hear, the speaker included.
//!
//! A topic is any name. It comes to be with its first member; a message for it is framed once, however many
//! there are; and who disconnects is out of it without a word from us.
//!
//! ```text
//! cargo run --example broadcast [ADDRESS]
//! ```

use sockeye::{Closed, Config, ConnId, Context, Handler, Message, Server};

const ROOM: &str = "room";

/// What the room remembers. All calls come from one thread, so plain fields do.
#[derive(Default)]
struct Room {
    members: usize,
}

impl Handler for Room {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.subscribe(id, ROOM);
        self.members += 1;
        cx.publish(ROOM, format!("{id} came; {} here", self.members).as_str());
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        let fanout = cx.publish(ROOM, message);
        // A slow member is never waited for: it is behind for now, or has been given up.
        if fanout.backlogged + fanout.refused > 0 {
            eprintln!("not all of {} members keep up with {id}: {fanout:?}", fanout.members());
        }
    }

    /// Comes once for each `on_open`, however the connection ended; its memberships have ended already.
    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        self.members -= 1;
        cx.publish(ROOM, format!("{id} left ({}); {} here", closed.code, self.members).as_str());
    }
}

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let mut server = Server::bind(Config::new(address), Room::default())?;
    println!("listening on {}", server.addresses()[0]);
    server.run()
}

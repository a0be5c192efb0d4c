//! Many clients on one loop: each says hello to a server that echoes, hears it back, and leaves.
//!
//! For a single connection `sockeye::client::WebSocket` is simpler. This is how a program keeps thousands, or dials
//! beside the connections that it serves: `Context::dial` is there in every handler.
//!
//! ```text
//! cargo run --example echo &
//! cargo run --example client [URL [CLIENTS]]
//! ```

use sockeye::{
    CloseCode, Closed, Config, ConnId, Context, Dial, DialError, Handler, Message, Response, Server, client,
};
use std::collections::HashSet;

/// What the loop's clients have in common: plain fields, for all calls come from one thread.
#[derive(Default)]
struct Visitors {
    /// Those that are connecting or connected.
    here: HashSet<ConnId>,
    heard: usize,
}

impl Visitors {
    fn visit(&mut self, cx: &mut Context<'_>, dial: &Dial) {
        // The id is known at once; whether it opens, `on_open` or `on_dial_failed` will tell.
        self.here.insert(cx.dial(dial.clone()));
    }

    fn gone(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.here.remove(&id);
        if self.here.is_empty() {
            cx.shutdown(); // nobody else ends a loop that listens nowhere
        }
    }
}

impl Handler for Visitors {
    /// What the server said besides yes: its headers, the subprotocol it chose.
    fn on_response(&mut self, _: &mut Context<'_>, id: ConnId, response: &Response<'_>) {
        if let Some(server) = response.header("Server") {
            println!("{id} talks to {server}");
        }
    }

    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.send(id, format!("hello from {id}").as_str());
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        if let Message::Text(text) = message {
            println!("{id} heard: {text}");
            self.heard += 1;
        }
        cx.close(id, CloseCode::NORMAL, "");
    }

    /// Comes once for each dial that did not open, with a reason to act on; a program that should come back dials again
    /// here, after a pause.
    fn on_dial_failed(&mut self, cx: &mut Context<'_>, id: ConnId, error: &DialError) {
        eprintln!("{id}: {error}");
        self.gone(cx, id);
    }

    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        if !closed.was_clean {
            eprintln!("{id} was lost: {:?}", closed.cause);
        }
        self.gone(cx, id);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "ws://127.0.0.1:9001/".to_owned());
    let clients: usize = args.next().map_or(Ok(3), |number| number.parse())?;
    let dial = client::dial(&url, &[])?;

    let mut server = Server::unbound(Config::default(), Visitors::default())?;
    server.act(|visitors, cx| (0..clients).for_each(|_| visitors.visit(cx, &dial)));
    server.run()?;
    println!("{} of {clients} were answered", server.handler().heard);
    Ok(())
}

//! The smallest server: sends every message back to where it came from.
//!
//! ```text
//! cargo run --example echo [ADDRESS]
//! ```

use sockeye::{Config, ConnId, Context, Handler, Message, Server};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        cx.send(id, message); // the very bytes that came: no copy is made
    }
}

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let mut server = Server::bind(Config::new(address), Echo)?;
    println!("listening on {}", server.addresses()[0]); // with the port that 0 came to
    server.run()
}

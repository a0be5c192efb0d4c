//! An echo on sockeye that sends a copy: what came compressed is compressed anew, and does not go back as it came.
//!
//!     sockeye-anew PORT [BYTES_OF_CONTEXTS]
use sockeye::{Config, ConnId, Context, Handler, Message, Server};

#[derive(Default)]
struct Copy(Vec<u8>);

impl Handler for Copy {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.0.clear();
        self.0.extend_from_slice(message.as_bytes());
        match message {
            Message::Text(_) => cx.send(id, std::str::from_utf8(&self.0).expect("it was text")),
            Message::Binary(_) => cx.send(id, &self.0[..]),
        };
    }
}

fn main() -> Result<(), sockeye::Error> {
    let mut arguments = std::env::args().skip(1);
    let mut config = Config::new(format!("127.0.0.1:{}", arguments.next().expect("a port")));
    if let Some(bytes) = arguments.next() {
        config.limits.deflate_context_bytes_max = bytes.parse().expect("a number of bytes");
    }
    Server::bind(config, Copy::default())?.run()
}

//! `Connection` alone, on sockets of one's own: an echo on blocking std sockets, a thread per peer.
use sockeye::{Commons, Config, Connection, Ending, Input, Now, Refusal, Request, Step, Tick, Upgrade};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001"))?;
    println!("listening on {}", listener.local_addr()?);
    listener.incoming().for_each(|stream| drop(std::thread::spawn(|| serve(stream?))));
    Ok(())
}

/// Reads, asks the connection what came, writes what that leads to: until TCP has ended.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let start = Instant::now();
    let mut commons = Commons::new(&Config::default(), |bytes| getrandom::fill(bytes).expect("entropy"));
    let (mut peer, mut input) = (Connection::server(Now::default(), &mut commons), Input::new(64 << 10));
    let too_large = Refusal::HeadTooLarge { limit: commons.limits().head_bytes_max };
    // Enough for a thread per peer. A loop of many waits until `Connection::deadline` and calls `handle_timeout`.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    loop {
        let n = stream.read(input.space())?;
        let now = Now { tick: Tick::from_ms(start.elapsed().as_millis() as u64), unix_ms: 0 };
        let mut out = Vec::new();
        input.fill(n);
        if n == 0 {
            peer.handle_eof(now);
        }
        loop {
            match peer.receive(now, &mut input, &mut commons) {
                Ok(Step::Pending) => break,
                Ok(Step::Head(head)) => {
                    let head = peer.head(&input, head).to_vec();
                    match Request::parse(&head, commons.limits().headers_max) {
                        Ok(request) => peer.accept(now, &request, &Upgrade::accept(), &mut commons, &mut out),
                        Err(refusal) => peer.refuse(now, &refusal, &mut commons, &mut out),
                    }
                }
                Ok(Step::HeadTooLarge) => peer.refuse(now, &too_large, &mut commons, &mut out),
                Ok(Step::Message(incoming)) => match peer.message(&input, &incoming) {
                    Ok(message) => _ = peer.send(message, &mut commons, &mut out),
                    Err(fault) => peer.fail(now, fault, &mut commons, &mut out), // text that is no UTF-8
                },
                Ok(Step::Ping(payload)) => _ = peer.pong(input.get(payload), &mut commons, &mut out),
                Ok(Step::Close { code, .. }) => peer.answer_close(now, code, "", &mut commons, &mut out),
                Ok(Step::Pong(_)) => {}
                // What a client is told, and what only `expect_body` leads to.
                Ok(Step::Opened(_) | Step::Failed(..) | Step::Body { .. }) => {}
                Err(fault) => peer.fail(now, fault, &mut commons, &mut out), // with its close code and why
            }
        }
        stream.write_all(&out)?;
        match peer.ending(now) {
            Ending::Open | Ending::AwaitEof => {}
            Ending::Shutdown => stream.shutdown(Shutdown::Write)?, // and read on, to the peer's end of TCP
            Ending::Drop => return Ok(()),
        }
    }
}

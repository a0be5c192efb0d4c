//! RFC 7692, permessage-deflate, named by its sections: literal bytes in, the bytes out, and the silence, in both
//! roles. What we compress is inflated by an inflater that shares no code with ours, and measures how far it refers.

mod duo;

#[path = "rfc7692/budget.rs"]
mod budget;
#[path = "rfc7692/context.rs"]
mod context;
#[path = "rfc7692/engine.rs"]
mod engine;
#[path = "rfc7692/limits.rs"]
mod limits;
#[path = "rfc7692/negotiation_client.rs"]
mod negotiation_client;
#[path = "rfc7692/negotiation_server.rs"]
mod negotiation_server;
#[path = "rfc7692/receiving.rs"]
mod receiving;
#[path = "rfc7692/sending.rs"]
mod sending;

use duo::{Duo, REQUEST, RESPONSE, show};
use sockeye::{ClientRequest, Config, Role};

/// Each message on its own, both ways.
const NO_TAKEOVER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// "Hello", §7.2.3.1
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
/// The same as a text that follows it: it refers to the first. §7.2.3.2
const HELLO_AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

/// Everything is compressed, and contexts are had.
fn with_contexts(config: &mut Config) {
    config.deflate.threshold_bytes = 0;
    config.limits.deflate_context_bytes_max = 64 << 20;
}

/// Everything is compressed, each message on its own.
fn without_contexts(config: &mut Config) {
    config.deflate.threshold_bytes = 0;
}

/// A head with these lines of extensions too.
fn with_lines(head: &[u8], extensions: &[&str]) -> Vec<u8> {
    let lines = extensions.iter().map(|line| format!("Sec-WebSocket-Extensions: {line}\r\n"));
    [&head[..head.len() - 2], lines.collect::<String>().as_bytes(), b"\r\n"].concat()
}

/// A server that was offered this; what it answered is asked about by the caller.
fn offered(offer: &str, configure: impl FnOnce(&mut Config)) -> Duo {
    let mut duo = Duo::accepted(configure);
    duo.feed(&with_lines(REQUEST, &[offer])).expect_opened(None);
    duo
}

/// A server that has agreed to exactly this.
#[track_caller]
fn server(offer: &str, configure: impl FnOnce(&mut Config)) -> Duo {
    let mut duo = offered(offer, configure);
    let bytes = duo.take_bytes();
    assert!(bytes == with_lines(RESPONSE, &[offer]), "{}", show(&bytes));
    duo
}

/// A client that was answered this.
fn client(answer: &str, configure: impl FnOnce(&mut Config)) -> Duo {
    let mut duo = Duo::dialled(ClientRequest::default(), configure);
    duo.take_bytes();
    duo.feed(&with_lines(RESPONSE, &[answer])).expect_opened(None);
    duo
}

/// One of each, without context takeover.
fn both(configure: impl Fn(&mut Config)) -> [Duo; 2] {
    [server(NO_TAKEOVER, &configure), client(NO_TAKEOVER, &configure)]
}

/// One of each, with it.
fn both_taking_over(configure: impl Fn(&mut Config)) -> [Duo; 2] {
    let configure = |config: &mut Config| {
        with_contexts(config);
        configure(config);
    };
    [server("permessage-deflate", configure), client("permessage-deflate", configure)]
}

/// The next frame out: its first byte, and its payload as it was before it was masked.
#[track_caller]
fn take_frame(bytes: &mut &[u8], role: Role) -> (u8, Vec<u8>) {
    let (first, second) = (bytes[0], bytes[1]);
    assert_eq!(second & 0x80 != 0, role == Role::Client, "masking");
    let (len, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().expect("eight")) as usize, 10),
        len => (usize::from(len), 2),
    };
    let key: Vec<u8> = if second & 0x80 != 0 { bytes[at..at + 4].to_vec() } else { vec![0; 4] };
    at += if second & 0x80 != 0 { 4 } else { 0 };
    let payload = bytes[at..at + len].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    let payload = payload.collect();
    *bytes = &bytes[at + len..];
    (first, payload)
}

/// The one frame that went out.
#[track_caller]
fn sent(duo: &mut Duo) -> (u8, Vec<u8>) {
    let (bytes, role) = (duo.take_bytes(), duo.role());
    let mut rest = &bytes[..];
    let frame = take_frame(&mut rest, role);
    assert!(rest.is_empty(), "and more: {}", show(rest));
    frame
}

/// Text like a chat's: JSON, of which each line resembles the others.
fn json(seed: u32, len: usize) -> String {
    let mut text = String::new();
    let mut state = seed;
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!(
            "{{\"action\":\"message\",\"channel\":\"room-{}\",\"user\":{},\"text\":\"hello {}\"}}\n",
            state >> 28,
            state >> 16,
            state >> 8
        ));
    }
    text.truncate(len);
    text
}

/// Bytes that nothing makes smaller.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    (0..len).map(next).collect()
}

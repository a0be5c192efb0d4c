//! The least a WebSocket echo on rustls and mio can do: mio-floor with a `ServerConnection` in front of each socket, used as
//! its documentation has it, but for one thing that makes it quicker: the socket is read into one buffer of 512 KiB, and
//! rustls is fed from that, for its own `read_tls` asks the socket for 4 KiB at a time. Whatever a read brought is taken
//! apart, unmasked where it lies, put into records again and written by one `writev`. NOT a conforming server: no limits,
//! no UTF-8, no fragments, no closing handshake, no close_notify, no timeouts. It is a yardstick only.
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

struct Conn {
    s: TcpStream,
    tls: ServerConnection,
    up: bool,
    // plaintext that is no whole header yet
    inb: Vec<u8>,
    // a frame whose payload is still coming is streamed: bytes left, mask, mask phase
    left: usize,
    key: [u8; 4],
}

#[inline]
fn unmask(b: &mut [u8], key: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    if b.len() >= 64 && is_x86_feature_detected!("avx2") {
        unsafe { return unmask_avx2(b, key) };
    }
    unmask_any(b, key)
}
#[inline(always)]
fn unmask_any(b: &mut [u8], key: [u8; 4]) {
    let k = u32::from_ne_bytes(key) as u64;
    let k = k | k << 32;
    let mut it = b.chunks_exact_mut(8);
    for c in &mut it {
        let v = u64::from_ne_bytes((&*c).try_into().unwrap()) ^ k;
        c.copy_from_slice(&v.to_ne_bytes());
    }
    for (i, x) in it.into_remainder().iter_mut().enumerate() {
        *x ^= key[i & 3];
    }
}
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn unmask_avx2(b: &mut [u8], key: [u8; 4]) {
    unmask_any(b, key)
}

fn config() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    Arc::new(config)
}

fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|p| p.parse().ok()).unwrap_or(9101);
    unsafe {
        let mut r: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut r);
        r.rlim_cur = r.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &r);
    }
    let config = config();
    let mut poll = Poll::new().unwrap();
    let mut ev = Events::with_capacity(1024);
    let mut l = TcpListener::bind(([127, 0, 0, 1], port).into()).unwrap();
    poll.registry().register(&mut l, Token(usize::MAX - 1), Interest::READABLE).unwrap();
    let mut conns: Vec<Option<Box<Conn>>> = vec![];
    let mut free: Vec<usize> = vec![];
    let (mut wire, mut buf) = (vec![0u8; 512 * 1024], vec![0u8; 512 * 1024 + 64]);
    loop {
        if let Err(e) = poll.poll(&mut ev, None) {
            if e.kind() == ErrorKind::Interrupted {
                continue;
            }
            panic!("{e}");
        }
        for e in ev.iter() {
            if e.token().0 == usize::MAX - 1 {
                while let Ok((mut s, _)) = l.accept() {
                    let _ = s.set_nodelay(true);
                    let i = free.pop().unwrap_or_else(|| {
                        conns.push(None);
                        conns.len() - 1
                    });
                    poll.registry().register(&mut s, Token(i), Interest::READABLE | Interest::WRITABLE).unwrap();
                    let mut tls = ServerConnection::new(config.clone()).unwrap();
                    tls.set_buffer_limit(None);
                    conns[i] = Some(Box::new(Conn { s, tls, up: false, inb: vec![], left: 0, key: [0; 4] }));
                }
                continue;
            }
            let i = e.token().0;
            let Some(c) = conns[i].as_mut() else { continue };
            if !drive(c, &mut wire, &mut buf) {
                conns[i] = None;
                free.push(i);
            }
        }
    }
}

// All that waits, as far as the socket takes it.
fn flush(c: &mut Conn) -> bool {
    while c.tls.wants_write() {
        match c.tls.write_tls(&mut c.s) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
    true
}

fn drive(c: &mut Conn, wire: &mut [u8], buf: &mut [u8]) -> bool {
    loop {
        if !flush(c) {
            return false;
        }
        let n = match c.s.read(wire) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        };
        let mut end = c.inb.len();
        buf[..end].copy_from_slice(&c.inb);
        c.inb.clear();
        let mut came = &wire[..n];
        while !came.is_empty() {
            if c.tls.read_tls(&mut came).is_err() {
                return false;
            }
            let Ok(state) = c.tls.process_new_packets() else { return false };
            if state.plaintext_bytes_to_read() > 0 {
                end += c.tls.reader().read(&mut buf[end..]).unwrap_or(0);
            }
        }
        if !echo(c, buf, end) || !flush(c) {
            return false;
        }
        if n < wire.len() {
            return true;
        }
    }
}

fn echo(c: &mut Conn, buf: &mut [u8], end: usize) -> bool {
    if !c.up {
        let Some(p) = buf[..end].windows(4).position(|w| w == b"\r\n\r\n") else {
            c.inb.extend_from_slice(&buf[..end]);
            return true;
        };
        let head = String::from_utf8_lossy(&buf[..p]).to_string();
        let key = head
            .lines()
            .find_map(|l| {
                let (k, v) = l.split_once(':')?;
                k.eq_ignore_ascii_case("sec-websocket-key").then(|| v.trim().to_string())
            })
            .unwrap_or_default();
        let d = sha1_smol::Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest().bytes();
        use base64::Engine;
        let a = base64::engine::general_purpose::STANDARD.encode(d);
        c.up = true;
        return c.tls.writer().write_all(format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {a}\r\n\r\n").as_bytes()).is_ok();
    }
    // frames: read position r, write position w <= r, both inside buf
    let (mut r, mut w, mut start) = (0, 0, 0);
    while r < end {
        if c.left > 0 {
            let k = c.left.min(end - r);
            unmask(&mut buf[r..r + k], c.key);
            c.key.rotate_left(k & 3);
            if w != r {
                buf.copy_within(r..r + k, w);
            }
            w += k;
            r += k;
            c.left -= k;
            continue;
        }
        let h = &buf[r..end];
        if h.len() < 2 {
            break;
        }
        let (hl, len) = match h[1] & 127 {
            126 if h.len() >= 4 => (4, u16::from_be_bytes([h[2], h[3]]) as usize),
            127 if h.len() >= 10 => (10, u64::from_be_bytes(h[2..10].try_into().unwrap()) as usize),
            126 | 127 => break,
            n => (2, n as usize),
        };
        if h.len() < hl + 4 {
            break;
        }
        if h[0] & 15 == 8 {
            return false;
        }
        let key: [u8; 4] = h[hl..hl + 4].try_into().unwrap();
        let have = h.len() - hl - 4;
        buf[r + 1] &= 127;
        if w == 0 {
            // first frame of the batch: the header moves up over the mask, the payload stays
            start = r + 4;
            w = start;
        }
        buf.copy_within(r..r + hl, w);
        w += hl;
        r += hl + 4;
        let k = have.min(len);
        unmask(&mut buf[r..r + k], key);
        if w != r {
            buf.copy_within(r..r + k, w);
        }
        w += k;
        r += k;
        c.left = len - k;
        c.key = key;
        c.key.rotate_left(k & 3);
    }
    c.inb.extend_from_slice(&buf[r..end]);
    c.tls.writer().write_all(&buf[start..w]).is_ok()
}

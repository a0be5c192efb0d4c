//! A raw connection, over ws or wss, on a blocking socket: what no client of a library would do can be done with it.

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

/// TCP, and TLS on it or not.
pub struct Wire {
    pub tcp: TcpStream,
    pub tls: Option<Box<ClientConnection>>,
    /// Came, and was not looked at.
    input: Vec<u8>,
}

/// A frame that came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

/// How somebody leaves without a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// TCP is closed.
    Close,
    /// TCP is reset.
    Reset,
    /// Only our direction ends, and we wait for the other's end.
    Half,
}

pub const EXITS: [Exit; 3] = [Exit::Close, Exit::Reset, Exit::Half];

/// What raw clients trust. Who is to see a certificate must not resume a session, for that shows none.
pub fn trust(authority: &str, resumes: bool) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    if !resumes {
        config.resumption = rustls::client::Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// A TCP connection from one of our addresses.
pub fn dial(to: SocketAddr, from: [u8; 4], patience: Duration) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(IpAddr::from(from), 0).into())?;
    socket.connect_timeout(&to.into(), patience)?;
    let tcp = TcpStream::from(socket);
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(patience))?;
    tcp.set_write_timeout(Some(patience))?;
    Ok(tcp)
}

impl Wire {
    pub fn new(tcp: TcpStream, tls: Option<&Arc<ClientConfig>>) -> io::Result<Wire> {
        let name = || ServerName::try_from("localhost").expect("it is a name");
        let session = tls.map(|config| ClientConnection::new(Arc::clone(config), name()));
        let tls = session.transpose().map_err(io::Error::other)?.map(Box::new);
        Ok(Wire { tcp, tls, input: Vec::new() })
    }

    /// Opens a WebSocket: the status of the answer, which 101 says.
    pub fn upgrade(&mut self, target: &str, fields: &str) -> io::Result<u16> {
        self.write(request(target, fields).as_bytes())?;
        let head = self.head()?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| io::Error::other(format!("no answer: {head:?}")))
    }

    /// Up to the empty line.
    pub fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.input.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.input[..at]).into_owned();
                self.input.drain(..at + 4);
                return Ok(head);
            }
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.tcp.write_all(bytes),
            Some(session) => {
                let mut stream = rustls::Stream::new(&mut **session, &mut self.tcp);
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// A frame, masked with zeroes.
    pub fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.write(&frame(first, payload))
    }

    /// What is written as TLS records, or as it is, without being sent.
    pub fn sealed(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let Some(session) = &mut self.tls else { return Ok(bytes.to_vec()) };
        session.writer().write_all(bytes)?;
        let mut records = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut records)?;
        }
        Ok(records)
    }

    /// Reads once: how much came, 0 at the end. A TCP end without a close_notify is one too.
    fn more(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 << 10];
        let read = match &mut self.tls {
            None => self.tcp.read(&mut chunk),
            Some(session) => rustls::Stream::new(&mut **session, &mut self.tcp).read(&mut chunk),
        };
        match read {
            Ok(n) => {
                self.input.extend_from_slice(&chunk[..n]);
                Ok(n)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The next whole frame; `None` at the end.
    pub fn frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, len)) = parse(&self.input) {
                self.input.drain(..len);
                return Ok(Some(frame));
            }
            if self.more()? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next frame that is no Ping.
    pub fn frame_of_interest(&mut self) -> io::Result<Option<Frame>> {
        loop {
            match self.frame()? {
                Some(frame) if frame.first == 0x89 => {}
                frame => return Ok(frame),
            }
        }
    }

    /// Reads until the other's Close or end, for so long at most: the Close's code, if it came.
    pub fn close_code(&mut self, within: Duration) -> Option<u16> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            match self.frame() {
                Ok(Some(Frame { first: 0x88, payload })) => {
                    return Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
        None
    }

    /// Reads to the end, whatever comes; whether it came.
    pub fn drain(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            self.input.clear();
            match self.more() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
        false
    }

    pub fn leave(mut self, exit: Exit) {
        // Whatever fails here has ended already.
        match exit {
            Exit::Close => {}
            Exit::Reset => {
                let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
            }
            Exit::Half => {
                let _ = self.tcp.shutdown(Shutdown::Write);
                self.drain(Duration::from_secs(6));
            }
        }
    }
}

pub fn request(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    )
}

/// A client's frame, masked with zeroes.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = announced(first, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// The header of one alone.
pub fn announced(first: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(0x80 | len as u8),
        126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes
}

/// The first frame, if it is whole, and how long it is.
fn parse(input: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    let (start, len): (usize, usize) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*input.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*input.get(2..)?.first_chunk()?)).ok()?),
        len => (2, usize::from(len)),
    };
    let payload = input.get(start..start.checked_add(len)?)?.to_vec();
    Some((Frame { first, payload }, start + len))
}

//! The other end: rustls' own client on a blocking socket, frames by hand, and what passes on the wire counted.

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use crate::PATIENCE;

pub const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What a client trusts and speaks. Connections of the same one resume sessions.
pub fn config(roots: &str, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    Arc::new(config.with_root_certificates(roots_of(roots)).with_no_client_auth())
}

pub fn roots_of(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

pub fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A TCP stream that counts the records which come, and may write bytes one by one.
pub struct Wire {
    pub stream: TcpStream,
    /// Of the record being read.
    header: Vec<u8>,
    left: usize,
    /// Records of application data that came.
    pub records: usize,
    pub one_by_one: bool,
}

impl Wire {
    /// Smaller than the kernel's own choice.
    pub fn set_small_buffer(&self) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(64 << 10).unwrap();
    }
}

impl Read for Wire {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(space)?;
        let mut bytes = &space[..n];
        while let [first, rest @ ..] = bytes {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
            } else {
                self.header.push(*first);
                bytes = rest;
                if let [kind, _, _, high, low] = self.header[..] {
                    self.records += usize::from(kind == 23);
                    self.left = usize::from(u16::from_be_bytes([high, low]));
                    self.header.clear();
                }
            }
        }
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(if self.one_by_one { &bytes[..1] } else { bytes })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A client under TLS.
pub struct Peer {
    pub session: ClientConnection,
    pub wire: Wire,
}

impl Peer {
    pub fn dial(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Peer {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let (stream, header) = (tcp(address), Vec::new());
        Peer { session, wire: Wire { stream, header, left: 0, records: 0, one_by_one: false } }
    }

    /// Connected, and the WebSocket open.
    #[track_caller]
    pub fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> Peer {
        let mut peer = Peer::dial(address, config, "localhost");
        peer.upgrade();
        peer
    }

    #[track_caller]
    pub fn upgrade(&mut self) {
        self.write(UPGRADE);
        self.expect_open();
    }

    #[track_caller]
    pub fn expect_open(&mut self) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    }

    pub fn stream(&mut self) -> rustls::Stream<'_, ClientConnection, Wire> {
        rustls::Stream::new(&mut self.session, &mut self.wire)
    }

    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("the server takes it");
        self.stream().flush().expect("the server takes it");
    }

    #[track_caller]
    pub fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream().read_exact(&mut bytes).expect("the server says more");
        bytes
    }

    /// All that comes, and how it ends: well if the server says that it is the end.
    pub fn rest(&mut self) -> (Vec<u8>, io::Result<usize>) {
        let mut bytes = Vec::new();
        let ended = self.stream().read_to_end(&mut bytes);
        (bytes, ended)
    }

    #[track_caller]
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&masked(first, payload));
    }

    #[track_caller]
    pub fn expect(&mut self, first: u8, payload: &[u8]) {
        let header = header(first, payload.len(), 0);
        assert_eq!(self.read(header.len()), header);
        assert!(self.read(payload.len()) == payload, "the payload of {} bytes is another", payload.len());
    }

    /// These messages, and then what it sends itself.
    #[track_caller]
    pub fn expect_echo_behind(&mut self, said: &[Vec<u8>]) {
        said.iter().for_each(|payload| self.expect(0x82, payload));
        self.expect_echo(b"that was all");
    }

    #[track_caller]
    pub fn expect_echo(&mut self, payload: &[u8]) {
        self.send(0x82, payload);
        self.expect(0x82, payload);
    }
}

fn header(first: u8, len: usize, mask: u8) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..126 => header.push(mask | len as u8),
        126..65_536 => {
            header.push(mask | 126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend((len as u64).to_be_bytes());
        }
    }
    header
}

/// A client's frame, whose key is 0.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&header(first, payload.len(), 0x80), &[0; 4][..], payload].concat()
}

//! What a peer speaks through: TCP, or TLS on it by rustls' own client, both as blocking streams.
//!
//! Under TLS the end of a stream is one only if the server says so (close_notify); without that it is an error, and
//! shown as the reset that it might be. To end is to say so and to send the FIN behind it; to drop ends TCP alone.

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// What is spoken below the WebSocket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    Ws,
    Wss,
}

/// A connection, shared by those who read and those who write.
#[derive(Clone)]
pub enum Stream {
    Tcp(Arc<TcpStream>),
    Tls(Arc<Tls>),
}

/// A session, and what it has made and TCP did not take yet. Who reads waits without holding either lock.
pub struct Tls {
    tcp: TcpStream,
    session: Mutex<ClientConnection>,
    /// What came and the session did not take yet: it takes no more while there is something to be read.
    untaken: Mutex<VecDeque<u8>>,
    unsent: Mutex<Vec<u8>>,
}

impl Stream {
    /// Under TLS the first flight is sent and nothing is waited for: whoever writes or reads first shakes hands.
    pub fn new(transport: Transport, tcp: TcpStream) -> Stream {
        if transport == Transport::Ws {
            return Stream::Tcp(Arc::new(tcp));
        }
        let name = ServerName::try_from("localhost").expect("a name");
        let mut session = ClientConnection::new(config(), name).expect("a client that is set up");
        session.set_buffer_limit(None);
        let tls =
            Tls { tcp, session: Mutex::new(session), untaken: Mutex::default(), unsent: Mutex::default() };
        let _ = tls.flush(); // who is cut at once is told when it reads
        Stream::Tls(Arc::new(tls))
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Tcp(tcp) => tcp,
            Stream::Tls(tls) => &tls.tcp,
        }
    }

    /// Says that no more will be written, and sends the FIN.
    pub fn finish(&self) {
        if let Stream::Tls(tls) = self {
            let _ = tls.shake_hands();
            lock(&tls.session).send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }
}

impl Read for Stream {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => (&**tcp).read(space),
            Stream::Tls(tls) => tls.read(space),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => (&**tcp).write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(_) => Ok(()),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

impl Tls {
    fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        self.shake_hands()?;
        loop {
            match lock(&self.session).reader().read(space) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.take_records()?;
        }
    }

    /// What is taken is on its way: TCP may have to be offered it again, by whoever writes next.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.shake_hands()?;
        self.flush()?;
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES_MAX)];
        let taken = lock(&self.session).writer().write(bytes)?;
        match self.flush() {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&self) -> io::Result<()> {
        let mut unsent = lock(&self.unsent);
        {
            let mut session = lock(&self.session);
            while session.wants_write() {
                session.write_tls(&mut *unsent)?;
            }
        }
        let mut sent = 0;
        let mut flushed = Ok(());
        while sent < unsent.len() && flushed.is_ok() {
            match (&self.tcp).write(&unsent[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => flushed = Err(error),
            }
        }
        unsent.drain(..sent);
        flushed
    }

    fn shake_hands(&self) -> io::Result<()> {
        if !lock(&self.session).is_handshaking() {
            return Ok(());
        }
        while lock(&self.session).is_handshaking() {
            self.flush()?;
            if self.take_records()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.flush()
    }

    /// Waits for bytes of TCP, or its end, unless there are some, and has the session take some of them.
    fn take_records(&self) -> io::Result<usize> {
        let mut untaken = lock(&self.untaken);
        if untaken.is_empty() {
            let mut chunk = [0; 32 << 10];
            let n = (&self.tcp).read(&mut chunk)?;
            untaken.extend(&chunk[..n]);
        }
        let mut session = lock(&self.session);
        let taken = session.read_tls(&mut *untaken)?;
        session.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(taken)
    }
}

/// Bytes put into records at a time.
const WRITE_BYTES_MAX: usize = 64 << 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One for all peers, so that most resume a session, as browsers do.
fn config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_safe_default_protocol_versions().expect("versions that the provider has");
        let trusting = config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
        Arc::new(trusting.with_no_client_auth())
    };
    Arc::clone(CONFIG.get_or_init(make))
}

/// Whom they talk to is nothing that hostile peers look at: `tests/tls` does.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

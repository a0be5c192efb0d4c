//! The end that dials: `wss`, and a handler's `cx.dial`.

use crate::{PATIENCE, Running, certificates::Authority, serve, settings};
use sockeye::{
    Config, ConnId, Context, Dial, DialError, Handler, Message, Server, TlsClient, TlsServer,
    client::{Event, Options, WebSocket},
};
use std::{net::TcpListener, thread};

fn trusting(authority: &Authority) -> Options {
    Options { tls: Some(TlsClient::from_pem(authority.pem().as_bytes()).unwrap()), ..Options::default() }
}

/// Opens, sends, hears it, closes: or the error.
fn talk(url: &str, options: Options) -> Result<(), String> {
    let mut ws = WebSocket::connect_with(url, &[], options).map_err(|error| error.to_string())?;
    let sent: Vec<u8> = (0..300_000).map(|i| (i % 7) as u8).collect();
    let mut heard = false;
    while let Some(event) = ws.next_event_within(PATIENCE) {
        match event {
            Event::Open => ws.send(&sent[..]).unwrap(),
            Event::Message(message) => {
                assert!(message.as_message().as_bytes() == sent);
                heard = true;
                ws.close(Some(1000), "").unwrap();
            }
            Event::Error(why) => return Err(why),
            Event::Close { was_clean, .. } => assert!(was_clean && heard),
        }
    }
    assert!(heard, "nothing was heard");
    Ok(())
}

fn server(authority: &Authority, names: &[&str]) -> (Running, String) {
    let server = serve(settings(), &authority.sign(names).server());
    let url = format!("wss://localhost:{}/", server.address.port());
    (server, url)
}

#[test]
fn wss_is_spoken_with_whom_the_client_trusts() {
    let ours = Authority::new("ours");
    let (server, url) = server(&ours, &["localhost", "127.0.0.1"]);
    talk(&url, trusting(&ours)).unwrap();
    talk(&format!("wss://127.0.0.1:{}/", server.address.port()), trusting(&ours)).unwrap();
    talk(&format!("https://localhost:{}/", server.address.port()), trusting(&ours)).unwrap();
    let anybody = Options { tls: Some(TlsClient::insecure().unwrap()), ..Options::default() };
    talk(&url, anybody).unwrap();
}

#[test]
fn whom_it_does_not_trust_it_does_not_speak_with_and_says_why() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let (_one, url) = server(&ours, &["localhost"]);
    let error = talk(&url, trusting(&others)).unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let error = talk(&url, Options::default()).unwrap_err();
    assert!(error.contains("UnknownIssuer") || error.contains("ca-certificates"), "{error}");
    let (_two, url) = server(&ours, &["example.com"]);
    let error = talk(&url, trusting(&ours)).unwrap_err();
    assert!(error.contains("not valid for name") && error.contains("example.com"), "{error}");
}

#[test]
fn it_shows_its_certificate_where_one_is_demanded() {
    let ours = Authority::new("ours");
    let certificates = [ours.sign(&["localhost"]).certificate()];
    let tls = TlsServer::with_client_roots(&certificates, ours.pem().as_bytes()).unwrap();
    let server = serve(settings(), &tls);
    let url = format!("wss://localhost:{}/", server.address.port());
    let mut options = trusting(&ours);
    options.tls = options.tls.map(|tls| tls.with_certificate(&ours.sign(&["me"]).certificate()));
    talk(&url, options).unwrap();
    let error = talk(&url, trusting(&ours)).unwrap_err();
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[test]
fn a_server_without_tls_is_told_as_that() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    let answer = thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4_096]);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = talk(&url, Options::default()).unwrap_err();
    assert!(error.contains("TLS") && error.contains("InvalidContentType"), "{error}");
    answer.join().unwrap();
}

/// Dials as often as it is told, and counts the answers.
#[derive(Default)]
struct Dialler {
    left: usize,
    errors: Vec<DialError>,
}

impl Handler for Dialler {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.send(id, &b"hello"[..]);
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        assert_eq!(message.as_bytes(), b"hello");
        cx.close(id, sockeye::CloseCode::NORMAL, "");
        self.done(cx);
    }

    fn on_dial_failed(&mut self, cx: &mut Context<'_>, _: ConnId, error: &DialError) {
        self.errors.push(error.clone());
        self.done(cx);
    }
}

impl Dialler {
    fn done(&mut self, cx: &mut Context<'_>) {
        self.left -= 1;
        if self.left == 0 {
            cx.shutdown();
        }
    }
}

#[test]
fn a_handler_dials_under_tls_as_often_as_it_likes() {
    let ours = Authority::new("ours");
    let (server, _) = server(&ours, &["localhost"]);
    let mut client = Server::unbound(Config::default(), Dialler { left: 51, ..Dialler::default() }).unwrap();
    client.dial_tls_as(TlsClient::from_pem(ours.pem().as_bytes()).unwrap());
    client.act(|_, cx| {
        for host in ["localhost"; 50].into_iter().chain(["127.0.0.1"]) {
            let mut dial = Dial::new(host, server.address.port());
            dial.tls = true;
            cx.dial(dial);
        }
    });
    client.run().unwrap();
    let [DialError::Tls { why }] = &client.handler().errors[..] else {
        panic!("{:?}", client.handler().errors)
    };
    assert!(why.contains("127.0.0.1"), "{why}");
}

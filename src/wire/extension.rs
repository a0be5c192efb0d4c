//! `Sec-WebSocket-Extensions`, RFC 6455 §9.1: its grammar, and what RFC 7692 §7.1 offers and answers in it.

use super::http::is_token;
use std::{borrow::Cow, fmt};

/// Whether `value` is a list of extensions: names, each with parameters that are tokens, or have a token as value,
/// quoted or not. Empty elements are passed over, as in every list of RFC 9110 §5.6.1.
pub fn is_extension_list(value: &str) -> bool {
    split_unquoted(value, ',').all(|extension| match extension.map(trim) {
        Some("") => true,
        Some(extension) => {
            let mut parts = split_unquoted(extension, ';').map(|part| part.map(trim));
            parts.next().flatten().is_some_and(is_token) && parts.all(|part| part.is_some_and(is_parameter))
        }
        None => false,
    })
}

fn is_parameter(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return is_token(parameter) };
    is_token(trim(name)) && is_token(&unquoted(trim(value)))
}

/// A value without its quotes and escapes. §9.1: what is in quotes, once unescaped, must be a token too.
fn unquoted(value: &str) -> Cow<'_, str> {
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(quoted) if quoted.contains('\\') => {
            let mut escaped = false;
            let is_kept = |&character: &char| {
                escaped = character == '\\' && !escaped;
                !escaped
            };
            quoted.chars().filter(is_kept).collect::<String>().into()
        }
        Some(quoted) => quoted.into(),
        None => value.into(),
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The parts of `text` between `separator`s that are not in quotes; at last `None` if a quote is not closed.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = Option<&str>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let (mut quoted, mut escaped) = (false, false);
        for (at, character) in text.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ if character == separator && !quoted => {
                    rest = Some(&text[at + separator.len_utf8()..]);
                    return Some(Some(&text[..at]));
                }
                _ => {}
            }
        }
        Some((!quoted).then_some(text))
    })
}

/// Parameters of permessage-deflate, as a client offers or a server answers them. RFC 7692 §7.1
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DeflateParameters {
    /// The server compresses each message on its own. §7.1.1.1
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own. §7.1.1.2
    pub client_no_context_takeover: bool,
    /// Base-2 logarithm of the server's window at most, 8 to 15. §7.1.2.1
    pub server_max_window_bits: Option<u8>,
    /// The same for the client's window; 15 where it is offered without a value. §7.1.2.2
    pub client_max_window_bits: Option<u8>,
}

/// The offers of permessage-deflate in one header line, in order. One with a parameter that is unknown, there twice
/// or has a wrong value is to be declined, and left out here. §7.1
pub fn deflate_offers(value: &str) -> impl Iterator<Item = DeflateParameters> {
    elements(value).filter(|(name, _)| *name == NAME).filter_map(|(_, parameters)| {
        let mut offer = DeflateParameters::default();
        offer.read(parameters, |bits| bits.or(Some(15))).ok()?;
        Some(offer)
    })
}

/// What a server answered, over all its header lines, to a client that offered `offer`; `None` where no extension is
/// used. RFC 6455 §4.1 item 5, RFC 7692 §7.1
///
/// # Errors
/// Names what the client has to fail the connection for.
pub fn check_answer<'a>(
    lines: impl Iterator<Item = &'a str>,
    offer: Option<&DeflateParameters>,
) -> Result<Option<DeflateParameters>, AnswerError> {
    let mut found = None;
    let lines = lines.map(|line| if is_extension_list(line) { line } else { "?" });
    for (name, parameters) in lines.flat_map(elements) {
        let Some(offer) = offer.filter(|_| name == NAME) else { return Err(AnswerError::NotOffered) };
        if found.is_some() {
            return Err(AnswerError::Twice);
        }
        let mut answer = DeflateParameters::default();
        answer.read(parameters, |bits| bits).map_err(AnswerError::Parameter)?;
        let within = |answered: Option<u8>, asked: Option<u8>| answered.unwrap_or(15) <= asked.unwrap_or(15);
        if offer.server_no_context_takeover && !answer.server_no_context_takeover {
            return Err(AnswerError::Parameter(SERVER_NO_CONTEXT_TAKEOVER));
        }
        if !within(answer.server_max_window_bits, offer.server_max_window_bits) {
            return Err(AnswerError::Parameter(SERVER_MAX_WINDOW_BITS));
        }
        // §7.1.2.2: it is answered only where it was offered, and with no more than was.
        let hint = offer.client_max_window_bits;
        if answer.client_max_window_bits.is_some_and(|bits| hint.is_none_or(|hint| bits > hint)) {
            return Err(AnswerError::Parameter(CLIENT_MAX_WINDOW_BITS));
        }
        found = Some(answer);
    }
    Ok(found)
}

/// Why a server's answer about extensions fails the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerError {
    /// It uses an extension that was not offered, or the line is no list of extensions.
    NotOffered,
    /// It answers permessage-deflate twice.
    Twice,
    /// This parameter is missing, unknown, there twice, or has a value that was not offered.
    Parameter(&'static str),
}

impl DeflateParameters {
    /// Writes them as a client's offer.
    pub fn put_offer(&self, out: &mut Vec<u8>) {
        let bare = self.client_max_window_bits == Some(15);
        self.put(bare, out);
    }

    /// Writes them as a server's answer.
    pub fn put_answer(&self, out: &mut Vec<u8>) {
        self.put(false, out);
    }

    fn put(&self, bare_client_bits: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME.as_bytes());
        let mut put = |parameter: fmt::Arguments<'_>| {
            out.extend_from_slice(format!("; {parameter}").as_bytes());
        };
        if self.server_no_context_takeover {
            put(format_args!("{SERVER_NO_CONTEXT_TAKEOVER}"));
        }
        if self.client_no_context_takeover {
            put(format_args!("{CLIENT_NO_CONTEXT_TAKEOVER}"));
        }
        if let Some(bits) = self.server_max_window_bits {
            put(format_args!("{SERVER_MAX_WINDOW_BITS}={bits}"));
        }
        match self.client_max_window_bits {
            Some(_) if bare_client_bits => put(format_args!("{CLIENT_MAX_WINDOW_BITS}")),
            Some(bits) => put(format_args!("{CLIENT_MAX_WINDOW_BITS}={bits}")),
            None => {}
        }
    }

    /// Reads them; the name of one that is unknown, there twice or wrong is the error. `client_bits` says what
    /// `client_max_window_bits` is, of which only an offer has one without a value.
    fn read(
        &mut self,
        parameters: Option<&str>,
        client_bits: impl Fn(Option<u8>) -> Option<u8>,
    ) -> Result<(), &'static str> {
        let parameters = parameters.into_iter().flat_map(|parameters| split_unquoted(parameters, ';'));
        for parameter in parameters.flatten().map(trim) {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (trim(name), Some(unquoted(trim(value)))),
                None => (parameter, None),
            };
            let bits = value.as_deref().map(window_bits);
            match (name, bits) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) if !self.server_no_context_takeover => {
                    self.server_no_context_takeover = true;
                }
                (CLIENT_NO_CONTEXT_TAKEOVER, None) if !self.client_no_context_takeover => {
                    self.client_no_context_takeover = true;
                }
                (SERVER_MAX_WINDOW_BITS, Some(bits @ Some(_))) if self.server_max_window_bits.is_none() => {
                    self.server_max_window_bits = bits;
                }
                (CLIENT_MAX_WINDOW_BITS, None | Some(Some(_))) if self.client_max_window_bits.is_none() => {
                    let bits = client_bits(bits.flatten()).ok_or(CLIENT_MAX_WINDOW_BITS)?;
                    self.client_max_window_bits = Some(bits);
                }
                _ => {
                    let known = [
                        SERVER_NO_CONTEXT_TAKEOVER,
                        CLIENT_NO_CONTEXT_TAKEOVER,
                        SERVER_MAX_WINDOW_BITS,
                        CLIENT_MAX_WINDOW_BITS,
                    ];
                    return Err(known.into_iter().find(|&known| known == name).unwrap_or(UNKNOWN));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerError::NotOffered => f.write_str("the server uses an extension that was not offered"),
            AnswerError::Twice => f.write_str("the server answers permessage-deflate twice"),
            AnswerError::Parameter(UNKNOWN) => f.write_str(
                "the server answers permessage-deflate with a parameter that RFC 7692 does not know",
            ),
            AnswerError::Parameter(name) => {
                write!(f, "the server answers permessage-deflate with {name} not as it was offered")
            }
        }
    }
}

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
/// Stands for the name of a parameter that has none here.
const UNKNOWN: &str = "?";

/// The extensions of a line that is a list of them: name, and parameters as they stand. Empty elements are left out.
fn elements(value: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    split_unquoted(value, ',').flatten().map(trim).filter(|element| !element.is_empty()).map(|element| {
        match element.split_once(';') {
            Some((name, parameters)) => (trim(name), Some(parameters)),
            None => (element, None),
        }
    })
}

/// §7.1.2: a decimal integer between 8 and 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    ["8", "9", "10", "11", "12", "13", "14", "15"]
        .iter()
        .zip(8..)
        .find(|(text, _)| **text == value)
        .map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(value: &str) -> Vec<String> {
        let text = |offer: DeflateParameters| {
            let mut out = Vec::new();
            offer.put_answer(&mut out);
            String::from_utf8(out).unwrap().split_off(NAME.len())
        };
        deflate_offers(value).map(text).collect()
    }

    #[test]
    fn r7692_7_1_offers_are_read_in_order_and_wrong_ones_left_out() {
        assert_eq!(offers("permessage-deflate"), [""]);
        assert_eq!(
            offers("foo, permessage-deflate; client_max_window_bits, x"),
            ["; client_max_window_bits=15"]
        );
        assert_eq!(
            offers(
                "permessage-deflate; server_max_window_bits=\"10\";client_no_context_takeover ,\
                 permessage-deflate;server_no_context_takeover; client_max_window_bits=\"1\\0\""
            ),
            [
                "; client_no_context_takeover; server_max_window_bits=10",
                "; server_no_context_takeover; client_max_window_bits=10"
            ]
        );
        for bad in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=9.5",
            "client_max_window_bits=0",
            "client_max_window_bits=99",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=10",
            "server_max_window_bits=10; server_max_window_bits=10",
            "mux",
            "Server_no_context_takeover",
        ] {
            let value = format!("permessage-deflate; {bad}, permessage-deflate; server_max_window_bits=9");
            assert_eq!(offers(&value), ["; server_max_window_bits=9"], "{bad}");
        }
    }

    #[test]
    fn r7692_7_1_an_answer_must_be_what_was_offered() {
        let offer = DeflateParameters {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: Some(12),
            client_max_window_bits: Some(13),
        };
        let mut out = Vec::new();
        offer.put_offer(&mut out);
        let text = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                    server_max_window_bits=12; client_max_window_bits=13";
        assert_eq!(String::from_utf8(out).unwrap(), text);
        let check = |answer: &str| check_answer([answer].into_iter(), Some(&offer));
        assert_eq!(check(text), Ok(Some(offer)));
        assert_eq!(check(""), Ok(None));
        let fails = |answer: &str, why| assert_eq!(check(answer), Err(why), "{answer}");
        let base = "permessage-deflate; server_no_context_takeover; server_max_window_bits=12";
        assert!(check(base).is_ok());
        fails(
            "permessage-deflate; server_no_context_takeover",
            AnswerError::Parameter(SERVER_MAX_WINDOW_BITS),
        );
        fails(
            "permessage-deflate; server_max_window_bits=9",
            AnswerError::Parameter(SERVER_NO_CONTEXT_TAKEOVER),
        );
        fails(&format!("{base}; client_max_window_bits"), AnswerError::Parameter(CLIENT_MAX_WINDOW_BITS));
        fails(&format!("{base}; client_max_window_bits=14"), AnswerError::Parameter(CLIENT_MAX_WINDOW_BITS));
        fails(&format!("{base}; x=14"), AnswerError::Parameter(UNKNOWN));
        fails(&format!("{base}, {base}"), AnswerError::Twice);
        fails(&format!("{base}, foo"), AnswerError::NotOffered);
        fails("permessage-deflate;", AnswerError::NotOffered);
        assert_eq!(check_answer([base].into_iter(), None), Err(AnswerError::NotOffered));
        assert_eq!(check_answer([""].into_iter(), None), Ok(None));
    }

    #[test]
    fn s9_1_the_grammar() {
        for good in [
            "foo",
            "permessage-deflate; client_max_window_bits",
            "a; b=10; c=\"d\", e ,, f;g=\"\\h\"",
            "deflate-stream, mux; max-channels=4; flow-control",
        ] {
            assert!(is_extension_list(good), "{good}");
        }
        for bad in [
            "permessage-deflate; =1",
            "foo bar",
            "a; b=\"",
            "permessage-deflate;;x",
            "a/b",
            "a; b=c d",
            "a; b=\"c,d\"",
            "a; b=\"\"",
            "; a",
            "a; b=",
        ] {
            assert!(!is_extension_list(bad), "{bad}");
        }
    }
}

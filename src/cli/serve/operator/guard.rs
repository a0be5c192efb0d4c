//! Who may use the API: whoever shows the token. Guessing is slow: an address that was wrong too often has to wait, and
//! where the token is one that may be guessed, also with what is right. Where it is not, who knows it need not wait for
//! others at the same address.

use super::problem::Problem;
use crate::cli::serve::secrets::Token;
use sockeye::{HttpRequest, Tick, hub::auth::TOKEN_BYTES_MAX};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

/// Wrong tokens an address may show within [`WINDOW_MS`].
const WRONG_MAX: u32 = 10;
const WINDOW_MS: u32 = 60_000;
/// Addresses that are remembered for having been wrong. Past it the one that is remembered longest is forgotten.
const STRANGERS_MAX: usize = 256;

/// The token, and who did not know it.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Token>,
    /// By address; `None` is a Unix-domain socket.
    strangers: HashMap<Option<IpAddr>, Stranger>,
}

/// An address that was wrong.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    since: Tick,
    wrong: u32,
}

impl Stranger {
    /// Milliseconds until it is forgotten.
    fn rest_ms(&self, now: Tick) -> u64 {
        (self.since.as_ms() + u64::from(WINDOW_MS)).saturating_sub(now.as_ms())
    }
}

impl Guard {
    pub(super) fn new(token: Option<Token>) -> Guard {
        Guard { token, strangers: HashMap::new() }
    }

    /// Whether who asks from there may.
    pub(super) fn check(
        &mut self,
        now: Tick,
        address: Option<IpAddr>,
        request: &HttpRequest<'_>,
    ) -> Result<(), Problem> {
        let Some(Token { secret, is_guessable }) = &self.token else {
            return Err(Problem::new(
                403,
                "no_token",
                "the API is off until it has a token: start the server with --admin-token-file FILE, or with \
                 SOCKEYE_ADMIN_TOKEN in the environment",
            ));
        };
        let place = address.map(network);
        self.strangers.retain(|_, stranger| stranger.rest_ms(now) > 0);
        let mut lines = request.lines("Authorization");
        let line = lines.next().filter(|_| lines.next().is_none());
        let is_right = line.and_then(bearer).is_some_and(|token| secret.matches(token));
        if is_right && !is_guessable {
            return Ok(());
        }
        if let Some(stranger) = self.strangers.get(&place).filter(|stranger| stranger.wrong >= WRONG_MAX) {
            let seconds = stranger.rest_ms(now).div_ceil(1_000);
            let message = format!("too many wrong tokens from this address: try again in {seconds} s");
            return Err(
                Problem::new(429, "too_many_attempts", message).header("Retry-After", seconds.to_string())
            );
        }
        if line.is_none() {
            let message = "show the token: Authorization: Bearer TOKEN";
            return Err(Problem::new(401, "unauthorized", message).header("WWW-Authenticate", CHALLENGE));
        }
        if is_right {
            return Ok(());
        }
        self.remember(now, place);
        let challenge = format!("{CHALLENGE}, error=\"invalid_token\"");
        Err(Problem::new(401, "wrong_token", "this is not the token").header("WWW-Authenticate", challenge))
    }

    fn remember(&mut self, now: Tick, place: Option<IpAddr>) {
        if !self.strangers.contains_key(&place) && self.strangers.len() >= STRANGERS_MAX {
            let oldest = self.strangers.iter().min_by_key(|(_, stranger)| stranger.since.as_ms());
            if let Some(oldest) = oldest.map(|(place, _)| *place) {
                self.strangers.remove(&oldest);
            }
        }
        let stranger = self.strangers.entry(place).or_insert(Stranger { since: now, wrong: 0 });
        stranger.wrong += 1;
        if stranger.wrong == WRONG_MAX {
            let address = place.map_or_else(|| "unix".to_owned(), |place| place.to_string());
            log::warn!(address:% = address; "too many wrong tokens: others from there wait for a minute");
        }
    }
}

/// RFC 6750 §3
const CHALLENGE: &str = "Bearer realm=\"sockeye\"";

/// The token of an Authorization line. RFC 6750 §2.1
fn bearer(line: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = line.split_at_checked(line.iter().position(|&byte| byte == b' ')?)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer") && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

/// Who has one address of IPv6 has a network of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye::hub::auth::Secret;

    fn ask(guard: &mut Guard, ms: u32, address: &str, lines: &str) -> u16 {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let request = HttpRequest::parse(head.as_bytes(), 10).unwrap();
        let outcome = guard.check(Tick::ZERO.after(ms), address.parse().ok(), &request);
        outcome.map_or_else(|problem| problem.status, |()| 200)
    }

    fn guard(is_guessable: bool) -> Guard {
        Guard::new(Secret::new("right").map(|secret| Token { secret, is_guessable }))
    }

    const RIGHT: &str = "Authorization: bearer  right\r\n";
    const WRONG: &str = "Authorization: Bearer wrong\r\n";

    #[test]
    fn who_shows_the_token_may_and_nobody_may_where_there_is_none() {
        let mut guard = guard(true);
        for (lines, status) in [
            (RIGHT, 200),
            ("Authorization: Bearer right\r\n", 200),
            ("", 401),
            (WRONG, 401),
            ("Authorization: Basic right\r\n", 401),
            ("Authorization: right\r\n", 401),
            ("Authorization: Bearer\r\n", 401),
            ("Authorization: Bearer right\r\nAuthorization: Bearer right\r\n", 401),
        ] {
            assert_eq!(ask(&mut guard, 0, "10.0.0.1", lines), status, "{lines:?}");
        }
        assert_eq!(ask(&mut Guard::new(None), 0, "10.0.0.1", RIGHT), 403);
    }

    #[test]
    fn an_address_that_was_wrong_too_often_waits_and_no_other_does() {
        let mut guard = guard(true);
        for _ in 0..WRONG_MAX {
            assert_eq!(ask(&mut guard, 0, "2001:db8::1", WRONG), 401);
        }
        for (ms, address, status) in [
            (0, "2001:db8::2", 429),
            (0, "2001:db8:0:1::1", 200),
            (0, "10.0.0.1", 200),
            (WINDOW_MS - 1, "2001:db8::1", 429),
            (WINDOW_MS, "2001:db8::1", 200),
        ] {
            assert_eq!(ask(&mut guard, ms, address, RIGHT), status, "{address} after {ms} ms");
        }
    }

    #[test]
    fn who_knows_a_token_that_nobody_guesses_waits_for_nobody_at_the_same_address() {
        let mut guard = guard(false);
        for _ in 0..WRONG_MAX {
            assert_eq!(ask(&mut guard, 0, "10.0.0.1", WRONG), 401);
        }
        assert_eq!([WRONG, "", RIGHT].map(|lines| ask(&mut guard, 0, "10.0.0.1", lines)), [429, 429, 200]);
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let mut guard = guard(true);
        for i in 0..2 * STRANGERS_MAX {
            ask(&mut guard, i as u32, &format!("10.0.{}.{}", i / 256, i % 256), WRONG);
        }
        assert_eq!(guard.strangers.len(), STRANGERS_MAX);
        assert_eq!(guard.strangers.values().map(|stranger| stranger.since.as_ms()).min(), Some(256));
    }
}

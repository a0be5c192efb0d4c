//! Who a token is: [`Identity`], and what holds a [`Secret`]. With the feature `auth` also a file of users, `Users`,
//! and signed tokens, `Jwt`.
//!
//! Nothing here reads a file, a clock or the network: texts, keys and the time come in as arguments. Nothing here
//! writes a token either, neither in an error nor in `Debug`.

#[cfg(feature = "auth")]
mod jwt;
#[cfg(feature = "auth")]
mod key;
#[cfg(all(test, feature = "auth"))]
mod test_keys;
#[cfg(feature = "auth")]
mod users;

#[cfg(feature = "auth")]
pub use {
    jwt::{Jwt, JwtFault},
    key::{InvalidKey, JwtAlgorithm, JwtKey, SECRET_BYTES_MIN, UnknownAlgorithm},
    users::{Users, UsersError, UsersFault},
};

use sha2::{Digest, Sha256};
use std::fmt;

/// Who somebody is, once a token has said so.
///
/// ```
/// use sockeye::hub::auth::Identity;
/// let alice = Identity { uuid: "7".into(), name: "Alice".into(), group: String::new() };
/// assert_eq!(alice.name, "Alice");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The user's id: what private messages are addressed to. One user may have many connections.
    pub uuid: String,
    /// What others see. Nobody's but [`ADMIN_ID`] is unique by it.
    pub name: String,
    /// The group, for the application: no dialect looks at it. Empty: none.
    pub group: String,
}

/// A password or a token that is known here, to be compared with what peers say it is.
///
/// Kept is its SHA-256, and digests are compared in constant time: how long a comparison takes says neither how much
/// of a guess was right nor how long the secret is, only how long the guess was.
///
/// ```
/// use sockeye::hub::auth::Secret;
/// let password = Secret::new("open sesame").expect("it is not empty");
/// assert!(password.matches(b"open sesame"));
/// assert!(!password.matches(b"open"));
/// assert_eq!(format!("{password:?}"), "Secret");
/// assert!(Secret::new("").is_none());
/// ```
#[derive(Clone)]
pub struct Secret {
    digest: [u8; 32],
}

impl Secret {
    /// None for an empty one, which whoever says nothing would know, and for one longer than [`TOKEN_BYTES_MAX`], which
    /// nobody could say.
    pub fn new(secret: impl AsRef<[u8]>) -> Option<Secret> {
        let secret = secret.as_ref();
        (1..=TOKEN_BYTES_MAX).contains(&secret.len()).then(|| Secret::digested(secret))
    }

    /// Whether `candidate` is this secret. One longer than [`TOKEN_BYTES_MAX`] is not, and is not hashed: whoever may
    /// say how much is hashed may keep the loop busy.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        candidate.len() <= TOKEN_BYTES_MAX && self.same(&Secret::digested(candidate))
    }

    fn digested(bytes: &[u8]) -> Secret {
        Secret { digest: Sha256::digest(bytes).into() }
    }

    /// `==` in constant time. There is no `PartialEq`, so that nobody derives one that is not.
    fn same(&self, other: &Secret) -> bool {
        constant_time_eq::constant_time_eq_32(&self.digest, &other.digest)
    }

    /// Where to look for it in a map. Two different secrets may have the same place.
    #[cfg(feature = "auth")]
    fn place(&self) -> u64 {
        let (place, _) = self.digest.split_first_chunk().expect("32 bytes begin with 8");
        u64::from_be_bytes(*place)
    }
}

impl fmt::Debug for Secret {
    /// The digest is not shown: it would let a weak password be guessed offline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The id, and the name, of the server's admin. No user has it.
pub const ADMIN_ID: &str = "admin";

/// What a token begins with that is `admin:` and the admin's password. No user's token does.
pub const ADMIN_PREFIX: &str = "admin:";

/// Longest id, name or group of a user, in bytes: 1 KiB. A longer one is refused, where it is configured and where a
/// token claims it.
pub const IDENTITY_BYTES_MAX: usize = 1_024;

/// Longest token or [`Secret`], in bytes: 8 KiB. A longer one is nobody's, and is neither hashed nor parsed.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_and_nothing_near_it() {
        let secret = Secret::new(b"s3cret").unwrap();
        assert!(secret.matches(b"s3cret"));
        for other in ["", "s", "s3cre", "s3cret ", "S3cret", "s3creu", "s3cret\0"] {
            assert!(!secret.matches(other.as_bytes()), "{other:?}");
        }
        assert!(Secret::new([0xff, 0]).unwrap().matches(&[0xff, 0]));
    }

    #[test]
    fn an_empty_secret_is_none() {
        assert!(Secret::new("").is_none());
        assert!(Secret::new(" ").is_some());
    }

    #[test]
    fn a_secret_ends_at_8_kib() {
        let mut longest = vec![b's'; 8_192];
        let secret = Secret::new(&longest).unwrap();
        assert!(secret.matches(&longest));
        longest.push(b's');
        assert!(!secret.matches(&longest));
        assert!(Secret::new(&longest).is_none());
        // Not because it is another one: its digest is the same.
        assert!(!Secret::digested(&longest).matches(&longest));
    }

    #[test]
    fn debug_says_nothing_of_a_secret() {
        let secret = Secret::new("a").unwrap();
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret Secret");
    }
}

//! Keys that tokens are signed with: each of one algorithm, and judged when it is configured, not when a token comes.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa::PublicEncryptingKey,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256},
};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::{fmt, str::FromStr};

/// How a token is signed: the ones of RFC 7518 §3.1 and RFC 8037 that are recommended there and in use.
///
/// ```
/// use sockeye::hub::auth::JwtAlgorithm;
/// assert_eq!("EdDSA".parse(), Ok(JwtAlgorithm::EdDsa));
/// assert_eq!(JwtAlgorithm::Rs256.name(), "RS256");
/// assert!("none".parse::<JwtAlgorithm>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256: whoever can check a token can also make one.
    Hs256,
    /// Ed25519, which tokens name `EdDSA` (RFC 8037). The name of RFC 9864, `Ed25519`, is not known.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256, of 2,048 to 8,192 bits.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
}

impl JwtAlgorithm {
    /// What a token's header calls it.
    pub fn name(self) -> &'static str {
        match self {
            JwtAlgorithm::Hs256 => "HS256",
            JwtAlgorithm::EdDsa => "EdDSA",
            JwtAlgorithm::Rs256 => "RS256",
            JwtAlgorithm::Es256 => "ES256",
        }
    }

    /// What jsonwebtoken calls it.
    pub(super) fn in_header(self) -> Algorithm {
        match self {
            JwtAlgorithm::Hs256 => Algorithm::HS256,
            JwtAlgorithm::EdDsa => Algorithm::EdDSA,
            JwtAlgorithm::Rs256 => Algorithm::RS256,
            JwtAlgorithm::Es256 => Algorithm::ES256,
        }
    }
}

impl fmt::Display for JwtAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for JwtAlgorithm {
    type Err = UnknownAlgorithm;

    /// Any case is taken: this reads what people configure, not what tokens say.
    fn from_str(text: &str) -> Result<JwtAlgorithm, UnknownAlgorithm> {
        let is = |algorithm: &JwtAlgorithm| algorithm.name().eq_ignore_ascii_case(text);
        ALGORITHMS.into_iter().find(is).ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// A text that names no algorithm that tokens are accepted with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownAlgorithm(String);

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = ALGORITHMS.map(JwtAlgorithm::name).join(", ");
        write!(f, "'{}' is no algorithm that tokens are accepted with: give one of {known}", self.0)
    }
}

impl std::error::Error for UnknownAlgorithm {}

/// A key, and the one algorithm it is for.
///
/// A token that names another algorithm is not checked with it, so a public key is never taken for a shared secret.
///
/// ```
/// use sockeye::hub::auth::{InvalidKey, JwtAlgorithm, JwtKey};
/// let key = JwtKey::new(JwtAlgorithm::Hs256, b"32 bytes or more, best at random")?;
/// assert_eq!(key.algorithm(), JwtAlgorithm::Hs256);
/// let short = JwtKey::new(JwtAlgorithm::Hs256, b"secret");
/// assert_eq!(short.unwrap_err(), InvalidKey::SecretTooShort { bytes: 6 });
/// # Ok::<(), InvalidKey>(())
/// ```
#[derive(Clone)]
pub struct JwtKey {
    algorithm: JwtAlgorithm,
    decoding: DecodingKey,
}

impl JwtKey {
    /// A key from `material`: for [`JwtAlgorithm::Hs256`] the secret itself, at least [`SECRET_BYTES_MIN`] bytes; for
    /// the others the public key in PEM, as `openssl pkey -pubout` writes it.
    pub fn new(algorithm: JwtAlgorithm, material: &[u8]) -> Result<JwtKey, InvalidKey> {
        let other = |_| InvalidKey::NotOfAlgorithm { algorithm };
        // jsonwebtoken takes what it is given, and would refuse each token without a reason: aws-lc, which it checks
        // signatures with, is asked now whether it could with this key.
        let decoding = match algorithm {
            JwtAlgorithm::Hs256 => DecodingKey::from_secret(secret(material)?),
            JwtAlgorithm::EdDsa => {
                let der = public_der(material)?;
                ParsedPublicKey::new(&ED25519, &der).map_err(other)?;
                DecodingKey::from_ed_der(&der)
            }
            JwtAlgorithm::Es256 => {
                let der = public_der(material)?;
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &der).map_err(other)?;
                DecodingKey::from_ec_der(&der)
            }
            JwtAlgorithm::Rs256 => {
                let der = public_der(material)?;
                let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der).map_err(other)?;
                // This says nothing of how many bits it has; what encrypts takes just as many.
                let spki: PublicKeyX509Der<'_> =
                    key.as_der().map_err(|_| InvalidKey::NotOfAlgorithm { algorithm })?;
                PublicEncryptingKey::from_der(spki.as_ref()).map_err(other)?;
                DecodingKey::from_rsa_der(&der)
            }
        };
        Ok(JwtKey { algorithm, decoding })
    }

    /// What it is for.
    pub fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    /// The key as jsonwebtoken takes it.
    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

impl fmt::Debug for JwtKey {
    /// The algorithm only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why something is no key. Never says any of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidKey {
    /// A secret of fewer than [`SECRET_BYTES_MIN`] bytes, which could be guessed offline from any token. RFC 7518 §3.2.
    SecretTooShort {
        /// How many there are.
        bytes: usize,
    },
    /// A secret that is a key in PEM. A public key is no secret.
    SecretIsPem,
    /// Not exactly one block of PEM, or one whose inside is no base64.
    NotPem,
    /// A block of PEM that holds something else than a public key.
    NotPublic {
        /// What it says it is.
        label: String,
    },
    /// A public key of another kind, of another curve or of too few bits.
    NotOfAlgorithm {
        /// What it was to be for.
        algorithm: JwtAlgorithm,
    },
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidKey::SecretTooShort { bytes } => write!(
                f,
                "the secret has {bytes} bytes, at least {SECRET_BYTES_MIN}: make one with openssl rand -hex 32"
            ),
            InvalidKey::SecretIsPem => f.write_str(
                "this is a key in PEM, and HS256 needs a secret: give its own algorithm, EdDSA, RS256 or ES256",
            ),
            InvalidKey::NotPem => f.write_str(
                "this is not one key in PEM: it begins with -----BEGIN PUBLIC KEY-----, as openssl pkey -pubout \
                 writes it",
            ),
            InvalidKey::NotPublic { label } if label.ends_with("PRIVATE KEY") => f.write_str(
                "this is a private key, which only who makes tokens needs: give the public one, as \
                 openssl pkey -pubout writes it",
            ),
            InvalidKey::NotPublic { label } => write!(
                f,
                "this is a {}, not a PUBLIC KEY: get it with openssl x509 -pubkey -noout if it is a certificate",
                label.escape_debug()
            ),
            InvalidKey::NotOfAlgorithm { algorithm } => {
                let needs = match algorithm {
                    JwtAlgorithm::Hs256 => "a secret",
                    JwtAlgorithm::EdDsa => "one of Ed25519",
                    JwtAlgorithm::Rs256 => "one of RSA with 2,048 to 8,192 bits",
                    JwtAlgorithm::Es256 => "one of the curve P-256 (prime256v1)",
                };
                write!(f, "this public key is not for {algorithm}, which needs {needs}")
            }
        }
    }
}

impl std::error::Error for InvalidKey {}

/// `material`, if it can be a secret.
fn secret(material: &[u8]) -> Result<&[u8], InvalidKey> {
    // A public key that serves as a secret is how anybody signs what RS256 should have refused.
    if material.trim_ascii_start().starts_with(b"-----BEGIN ") {
        return Err(InvalidKey::SecretIsPem);
    }
    if material.len() < SECRET_BYTES_MIN {
        return Err(InvalidKey::SecretTooShort { bytes: material.len() });
    }
    Ok(material)
}

/// The inside of the one block of PEM in `material`. RFC 7468.
fn public_der(material: &[u8]) -> Result<Vec<u8>, InvalidKey> {
    let mut blocks = pem::parse_many(material).map_err(|_| InvalidKey::NotPem)?;
    let (Some(block), true) = (blocks.pop(), blocks.is_empty()) else { return Err(InvalidKey::NotPem) };
    match block.tag() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Ok(block.into_contents()),
        label => Err(InvalidKey::NotPublic { label: label.chars().take(40).collect() }),
    }
}

/// Fewest bytes of a secret for HS256: as many as its digest has. RFC 7518 §3.2.
pub const SECRET_BYTES_MIN: usize = 32;

const ALGORITHMS: [JwtAlgorithm; 4] =
    [JwtAlgorithm::Hs256, JwtAlgorithm::EdDsa, JwtAlgorithm::Rs256, JwtAlgorithm::Es256];

#[cfg(test)]
mod tests {
    use super::{super::test_keys, *};
    use JwtAlgorithm::{EdDsa, Es256, Hs256, Rs256};

    fn fault(algorithm: JwtAlgorithm, material: &str) -> InvalidKey {
        JwtKey::new(algorithm, material.as_bytes()).expect_err(material)
    }

    #[test]
    fn each_algorithm_takes_its_own_key_and_no_other() {
        let all = [
            (test_keys::ED25519_PUBLIC, Some(EdDsa)),
            (test_keys::P256_PUBLIC, Some(Es256)),
            (test_keys::RSA_PUBLIC, Some(Rs256)),
            (test_keys::RSA_PKCS1_PUBLIC, Some(Rs256)),
            (test_keys::P384_PUBLIC, None),
            (test_keys::RSA_1024_PUBLIC, None),
        ];
        for (key, its) in all {
            for algorithm in [EdDsa, Es256, Rs256] {
                let made = JwtKey::new(algorithm, key.as_bytes());
                if its == Some(algorithm) {
                    assert_eq!(made.expect(key).algorithm(), algorithm);
                } else {
                    assert_eq!(made.expect_err(key), InvalidKey::NotOfAlgorithm { algorithm });
                }
            }
        }
    }

    #[test]
    fn a_secret_has_32_bytes_or_more_and_is_no_key_in_pem() {
        assert!(JwtKey::new(Hs256, &[0xff; 32]).is_ok());
        assert_eq!(fault(Hs256, &"s".repeat(31)), InvalidKey::SecretTooShort { bytes: 31 });
        assert_eq!(fault(Hs256, ""), InvalidKey::SecretTooShort { bytes: 0 });
        assert_eq!(fault(Hs256, test_keys::RSA_PUBLIC), InvalidKey::SecretIsPem);
        assert_eq!(fault(Hs256, &format!("\n {}", test_keys::P256_PRIVATE)), InvalidKey::SecretIsPem);
    }

    #[test]
    fn what_is_no_public_key_is_told_by_what_it_is() {
        let label = |label: &str| InvalidKey::NotPublic { label: label.to_owned() };
        assert_eq!(fault(EdDsa, test_keys::ED25519_PRIVATE), label("PRIVATE KEY"));
        assert!(fault(EdDsa, test_keys::ED25519_PRIVATE).to_string().contains("openssl pkey -pubout"));
        assert_eq!(
            fault(Rs256, "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
            label("CERTIFICATE")
        );
        let inside = "-----BEGIN PUBLIC KEY-----\nA*==\n-----END PUBLIC KEY-----\n";
        let unended = "-----BEGIN PUBLIC KEY-----\nAA==\n";
        let two = format!("{0}{0}", test_keys::ED25519_PUBLIC);
        for no_pem in ["", "-----BEGIN ", "MCowBQYDK2VwAyEA", inside, unended, &two] {
            assert_eq!(fault(EdDsa, no_pem), InvalidKey::NotPem);
        }
        assert_eq!(JwtKey::new(EdDsa, &[0xff; 32]).unwrap_err(), InvalidKey::NotPem);
    }

    #[test]
    fn line_ends_and_what_stands_around_the_block_do_not_matter() {
        let text = format!("Key of the issuer\r\n{}\r\n", test_keys::ED25519_PUBLIC.replace('\n', "\r\n"));
        assert!(JwtKey::new(EdDsa, text.as_bytes()).is_ok());
    }

    #[test]
    fn algorithms_are_read_in_any_case_and_none_is_none() {
        for algorithm in ALGORITHMS {
            assert_eq!(algorithm.to_string().to_lowercase().parse(), Ok(algorithm));
        }
        for unknown in ["none", "", "HS512", "HS256 "] {
            let error = unknown.parse::<JwtAlgorithm>().unwrap_err().to_string();
            assert!(error.ends_with("HS256, EdDSA, RS256, ES256"), "{error}");
        }
    }

    #[test]
    fn debug_says_nothing_of_a_key() {
        let key = JwtKey::new(Hs256, &[b'k'; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "JwtKey { algorithm: Hs256, .. }");
    }
}

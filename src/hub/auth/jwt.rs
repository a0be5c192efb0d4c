//! Signed tokens: JSON Web Tokens in their compact form, RFC 7519 and RFC 7515 §7.1, with what RFC 8725 advises.
//!
//! Which algorithm a token is signed with is decided by the key, never by the token. Reading a token and checking its
//! signature is jsonwebtoken's; what stands here is which keys it is given, and what the claims must say. Encrypted
//! tokens, and keys that a token brings along, are not for here.

use super::{ADMIN_ID, IDENTITY_BYTES_MAX, Identity, JwtKey, TOKEN_BYTES_MAX};
use jsonwebtoken::{
    Validation, decode, decode_header,
    errors::{Error, ErrorKind},
};
use serde_json::{Map, Value};
use std::{collections::HashSet, fmt};

/// Checks signed tokens, and says whose they are.
///
/// Of the claims, `sub` is the user's id, `name` (or `preferred_username`, or else `sub`) the name, and `group` the
/// group. `exp` and `nbf` are compared with the time that is passed in.
///
/// ```
/// use sockeye::hub::auth::{Jwt, JwtAlgorithm, JwtFault, JwtKey};
/// let key = JwtKey::new(JwtAlgorithm::Hs256, b"an example's secret, of 32 bytes")?;
/// let mut jwt = Jwt::new(key);
/// jwt.audience = Some("chat".to_owned());
/// assert_eq!(jwt.verify("a.b", 1_795_219_719_780), Err(JwtFault::Malformed));
/// # Ok::<(), sockeye::hub::auth::InvalidKey>(())
/// ```
#[derive(Clone, Debug)]
pub struct Jwt {
    /// Keys that may have signed. A token is checked with those of its algorithm; `kid` is not looked at. Two of one
    /// algorithm are for the time in which one replaces the other.
    pub keys: Vec<JwtKey>,
    /// Whom a token must be for, as one of its `aud`. Default None: one that is for somebody in particular is refused,
    /// because it may well be for somebody else. RFC 7519 §4.1.3.
    pub audience: Option<String>,
    /// How far the clock of who made a token may be off, in milliseconds. Default 30 s.
    pub leeway_ms: u32,
    /// Whether a token must say when it ends (`exp`). Default true: one that never ends cannot be taken back.
    pub expiry_required: bool,
}

impl Jwt {
    /// What checks tokens with `key`, and else with the defaults.
    pub fn new(key: JwtKey) -> Jwt {
        Jwt { keys: vec![key], audience: None, leeway_ms: 30_000, expiry_required: true }
    }

    /// Whose token this is at `now_unix_ms`, in milliseconds since 1970, or why it is nobody's.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Identity, JwtFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtFault::TooLong { bytes: token.len() });
        }
        let claims = self.signed_claims(token)?;
        self.check_time(&claims, now_unix_ms)?;
        self.check_audience(&claims)?;
        identity(&claims)
    }

    /// What a token claims, once it is known that one of our keys signed it.
    fn signed_claims(&self, token: &str) -> Result<Map<String, Value>, JwtFault> {
        let header = decode_header(token).map_err(|error| match error.kind() {
            // JSON, but no header of a signature: `alg` is not there, is `none` or is another that is not known.
            ErrorKind::Json(error) if error.is_data() => JwtFault::Algorithm,
            _ => fault(&error),
        })?;
        // RFC 7515 §4.1.11: what is critical must be understood, and nothing of it is.
        if header.crit.is_some() {
            return Err(JwtFault::Critical);
        }
        let mut refusal = JwtFault::Algorithm;
        for key in self.keys.iter().filter(|key| key.algorithm().in_header() == header.alg) {
            match decode(token, key.decoding(), &validation(key)) {
                Ok(data) => return Ok(data.claims),
                Err(error) => match fault(&error) {
                    // Another key may have signed it.
                    JwtFault::Signature => refusal = JwtFault::Signature,
                    fault => return Err(fault),
                },
            }
        }
        Err(refusal)
    }

    /// `exp` and `nbf`, RFC 7519 §4.1.4 and §4.1.5: seconds since 1970, with fractions. As floating point, so that no
    /// claim overflows; half a millisecond is lost of what lies beyond the year 100,000.
    fn check_time(&self, claims: &Map<String, Value>, now_unix_ms: u64) -> Result<(), JwtFault> {
        let (now_ms, leeway_ms) = (now_unix_ms as f64, f64::from(self.leeway_ms));
        match seconds(claims, "exp")? {
            Some(exp) if now_ms < exp * 1_000.0 + leeway_ms => {}
            Some(_) => return Err(JwtFault::Expired),
            None if self.expiry_required => return Err(JwtFault::Missing { claim: "exp" }),
            None => {}
        }
        match seconds(claims, "nbf")? {
            Some(nbf) if now_ms + leeway_ms < nbf * 1_000.0 => Err(JwtFault::NotYet),
            _ => Ok(()),
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), JwtFault> {
        let wrong = Err(JwtFault::WrongType { claim: "aud" });
        let audience = self.audience.as_deref();
        let is_ours = match claims.get("aud") {
            None if audience.is_some() => return Err(JwtFault::Missing { claim: "aud" }),
            None => return Ok(()),
            Some(Value::String(aud)) => Some(aud.as_str()) == audience,
            Some(Value::Array(all)) if !all.iter().all(Value::is_string) => return wrong,
            Some(Value::Array(all)) => all.iter().any(|aud| aud.as_str() == audience),
            Some(_) => return wrong,
        };
        if is_ours { Ok(()) } else { Err(JwtFault::Audience) }
    }
}

/// Why a token is nobody's. Says nothing that the token said, so that it is fit for a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JwtFault {
    /// Longer than [`TOKEN_BYTES_MAX`]; nothing of it was looked at.
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// Not three parts of base64url without padding, of which the first two are JSON objects; or with `exp`, `nbf`,
    /// `sub` or `aud` twice, or a list or an object for one of the first three.
    Malformed,
    /// Signed in a way that no key is for, or (`none`) not at all. Also where the header is JSON, but not that of a
    /// signed token: without `alg`, or with a field twice.
    Algorithm,
    /// The header demands something of who reads it (`crit`).
    Critical,
    /// Not signed by any of the keys, or changed since.
    Signature,
    /// A claim that is needed is not there.
    Missing {
        /// Which.
        claim: &'static str,
    },
    /// A claim is of another type than it should be.
    WrongType {
        /// Which.
        claim: &'static str,
    },
    /// `exp` has passed.
    Expired,
    /// `nbf` is still to come.
    NotYet,
    /// For somebody else (`aud`), or for somebody where nobody is configured.
    Audience,
    /// `sub` is empty, which is nobody.
    NoSubject,
    /// `sub` is `admin`, who has a password and no token.
    ReservedSubject,
    /// A claim that becomes part of the [`Identity`] is longer than [`IDENTITY_BYTES_MAX`].
    ClaimTooLong {
        /// Which.
        claim: &'static str,
        /// How long.
        bytes: usize,
    },
}

impl fmt::Display for JwtFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwtFault::TooLong { bytes } => {
                write!(f, "a token of {bytes} bytes (at most {TOKEN_BYTES_MAX})")
            }
            JwtFault::Malformed => f.write_str("not a signed token (JWT)"),
            JwtFault::Algorithm => f.write_str("signed with an algorithm that no key is for"),
            JwtFault::Critical => f.write_str("the header has 'crit', of which nothing is understood"),
            JwtFault::Signature => f.write_str("the signature is not that of a known key"),
            JwtFault::Missing { claim } => write!(f, "the claim '{claim}' is missing"),
            JwtFault::WrongType { claim } => write!(f, "the claim '{claim}' is of the wrong type"),
            JwtFault::Expired => f.write_str("expired ('exp')"),
            JwtFault::NotYet => f.write_str("not valid yet ('nbf')"),
            JwtFault::Audience => f.write_str("for another audience ('aud') than the configured one"),
            JwtFault::NoSubject => f.write_str("the claim 'sub' is empty"),
            JwtFault::ReservedSubject => {
                write!(f, "the claim 'sub' is '{ADMIN_ID}', which is the server's admin")
            }
            JwtFault::ClaimTooLong { claim, bytes } => {
                write!(f, "the claim '{claim}' has {bytes} bytes (at most {IDENTITY_BYTES_MAX})")
            }
        }
    }
}

impl std::error::Error for JwtFault {}

/// The signature only: jsonwebtoken would take the time from a clock of its own, and to the second.
fn validation(key: &JwtKey) -> Validation {
    Validation {
        required_spec_claims: HashSet::new(),
        validate_exp: false,
        validate_nbf: false,
        validate_aud: false,
        ..Validation::new(key.algorithm().in_header())
    }
}

fn fault(error: &Error) -> JwtFault {
    match error.kind() {
        ErrorKind::InvalidSignature => JwtFault::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => JwtFault::Algorithm,
        _ => JwtFault::Malformed,
    }
}

/// A NumericDate, RFC 7519 §2.
fn seconds(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<f64>, JwtFault> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    value.as_f64().map(Some).ok_or(JwtFault::WrongType { claim })
}

fn identity(claims: &Map<String, Value>) -> Result<Identity, JwtFault> {
    let sub = text(claims, "sub")?.ok_or(JwtFault::Missing { claim: "sub" })?;
    match sub {
        "" => return Err(JwtFault::NoSubject),
        ADMIN_ID => return Err(JwtFault::ReservedSubject),
        _ => {}
    }
    // In many places people choose the name in their tokens themselves, and here one of them is the server's.
    let fit = |name: &&str| !name.is_empty() && *name != ADMIN_ID;
    let name = text(claims, "name")?.filter(fit);
    let name = name.or(text(claims, "preferred_username")?.filter(fit)).unwrap_or(sub);
    let group = text(claims, "group")?.unwrap_or_default();
    Ok(Identity { uuid: sub.to_owned(), name: name.to_owned(), group: group.to_owned() })
}

/// A claim that is a string, if it is there. Issuers also write null for what they do not know.
fn text<'c>(claims: &'c Map<String, Value>, claim: &'static str) -> Result<Option<&'c str>, JwtFault> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > IDENTITY_BYTES_MAX => {
            Err(JwtFault::ClaimTooLong { claim, bytes: text.len() })
        }
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwtFault::WrongType { claim }),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{JwtAlgorithm, test_keys},
        *,
    };
    use JwtAlgorithm::{EdDsa, Es256, Hs256, Rs256};
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{Algorithm, EncodingKey, crypto};

    const SECRET: &[u8] = b"a secret that tests share, 32 and more bytes";
    /// 2026-11-21, in seconds.
    const NOW: u64 = 1_795_219_719;
    const GOOD: &str = r#"{"sub":"7","name":"Alice","group":"g","exp":1795219779}"#;

    fn key(algorithm: JwtAlgorithm) -> JwtKey {
        let material = match algorithm {
            Hs256 => SECRET,
            EdDsa => test_keys::ED25519_PUBLIC.as_bytes(),
            Rs256 => test_keys::RSA_PUBLIC.as_bytes(),
            Es256 => test_keys::P256_PUBLIC.as_bytes(),
        };
        JwtKey::new(algorithm, material).unwrap()
    }

    fn der(pem: &str) -> Vec<u8> {
        pem::parse(pem).unwrap().into_contents()
    }

    fn hmac(secret: &[u8], signed: &str) -> String {
        crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap()
    }

    fn signature(algorithm: JwtAlgorithm, signed: &str) -> String {
        let key = match algorithm {
            Hs256 => return hmac(SECRET, signed),
            EdDsa => EncodingKey::from_ed_der(&der(test_keys::ED25519_PRIVATE)),
            Rs256 => EncodingKey::from_rsa_der(&der(test_keys::RSA_PRIVATE)),
            Es256 => EncodingKey::from_ec_der(&der(test_keys::P256_PRIVATE)),
        };
        crypto::sign(signed.as_bytes(), &key, algorithm.in_header()).unwrap()
    }

    fn part(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn token_with(header: &str, claims: &str, signature: impl Fn(&str) -> String) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", signature(&signed))
    }

    fn token(algorithm: JwtAlgorithm, claims: &str) -> String {
        let header = format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#);
        token_with(&header, claims, |signed| signature(algorithm, signed))
    }

    fn jwt(algorithm: JwtAlgorithm) -> Jwt {
        Jwt::new(key(algorithm))
    }

    /// What becomes of claims that are well signed.
    fn claims(jwt: &Jwt, claims: &str) -> Result<Identity, JwtFault> {
        jwt.verify(&token(Hs256, claims), NOW * 1_000)
    }

    fn name(claims_text: &str) -> String {
        claims(&jwt(Hs256), claims_text).expect(claims_text).name
    }

    #[test]
    fn a_token_of_each_algorithm_is_who_it_says() {
        let alice = Identity { uuid: "7".into(), name: "Alice".into(), group: "g".into() };
        for algorithm in [Hs256, EdDsa, Rs256, Es256] {
            let token = token(algorithm, GOOD);
            assert_eq!(jwt(algorithm).verify(&token, NOW * 1_000), Ok(alice.clone()), "{algorithm}");
        }
    }

    #[test]
    fn the_example_of_rfc_8037_is_signed() {
        // Appendix A: not our own signing, and a payload that is no JSON, so it is refused only after its signature.
        let text = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                    -----END PUBLIC KEY-----\n";
        let jwt = Jwt::new(JwtKey::new(EdDsa, text.as_bytes()).unwrap());
        let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AI\
                     bQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(jwt.verify(token, 0), Err(JwtFault::Malformed));
        assert_eq!(jwt.verify(&token.replace("hgyY", "hgyZ"), 0), Err(JwtFault::Signature));
    }

    #[test]
    fn ed25519_has_one_name() {
        // That of RFC 9864 is not jsonwebtoken's.
        let token = token_with(r#"{"alg":"Ed25519"}"#, GOOD, |signed| signature(EdDsa, signed));
        assert_eq!(jwt(EdDsa).verify(&token, NOW * 1_000), Err(JwtFault::Algorithm));
    }

    #[test]
    fn a_public_key_is_no_secret() {
        // Whoever takes the algorithm from the token takes this one: anybody has the public key.
        let public = test_keys::RSA_PUBLIC;
        for secret in [public.as_bytes(), public.trim_end().as_bytes(), &der(public)] {
            let token = token_with(r#"{"alg":"HS256"}"#, GOOD, |signed| hmac(secret, signed));
            assert_eq!(jwt(Rs256).verify(&token, NOW * 1_000), Err(JwtFault::Algorithm));
            // Said to be RS256, it is no signature.
            let token = token_with(r#"{"alg":"RS256"}"#, GOOD, |signed| hmac(secret, signed));
            assert_eq!(jwt(Rs256).verify(&token, NOW * 1_000), Err(JwtFault::Signature));
        }
    }

    #[test]
    fn an_algorithm_without_a_key_is_refused_and_none_always() {
        for alg in ["none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS256", "EdDSA", "PS256"] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            let unsigned = token_with(&header, GOOD, |_| String::new());
            assert!(unsigned.ends_with('.'));
            for token in [unsigned, token_with(&header, GOOD, |signed| signature(Hs256, signed))] {
                assert_eq!(jwt(Hs256).verify(&token, NOW * 1_000), Err(JwtFault::Algorithm), "{alg}");
            }
        }
        for header in ["{}", "[]", r#"{"typ":"HS256"}"#] {
            let token = token_with(header, GOOD, |signed| signature(Hs256, signed));
            assert_eq!(jwt(Hs256).verify(&token, NOW * 1_000), Err(JwtFault::Algorithm), "{header}");
        }
        for alg in ["1", "null", r#"["HS256"]"#] {
            let header = format!(r#"{{"alg":{alg}}}"#);
            let token = token_with(&header, GOOD, |signed| signature(Hs256, signed));
            assert_eq!(jwt(Hs256).verify(&token, NOW * 1_000), Err(JwtFault::Malformed), "{header}");
        }
        let mut nothing = jwt(Hs256);
        nothing.keys.clear();
        assert_eq!(claims(&nothing, GOOD), Err(JwtFault::Algorithm));
    }

    #[test]
    fn what_was_changed_or_signed_by_another_is_refused() {
        for algorithm in [Hs256, EdDsa, Rs256, Es256] {
            let token = token(algorithm, GOOD);
            let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
            let other = part(GOOD.replace("\"7\"", "\"8\""));
            let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
            flipped[10] ^= 1;
            let cut = part(&flipped[1..]);
            for token in [
                format!("{header}.{other}.{signature}"),
                format!("{}.{payload}.{signature}", part(format!(r#"{{"alg":"{algorithm}"}}"#))),
                format!("{header}.{payload}.{}", part(&flipped)),
                format!("{header}.{payload}.{cut}"),
                format!("{header}.{payload}."),
                format!("{header}.{payload}.{}", part([0; 64])),
            ] {
                assert_eq!(
                    jwt(algorithm).verify(&token, NOW * 1_000),
                    Err(JwtFault::Signature),
                    "{algorithm}"
                );
            }
        }
        let stranger = token_with(r#"{"alg":"HS256"}"#, GOOD, |signed| hmac(&[7; 32], signed));
        assert_eq!(jwt(Hs256).verify(&stranger, NOW * 1_000), Err(JwtFault::Signature));
    }

    #[test]
    fn the_signature_is_judged_before_the_claims() {
        let expired = token_with(r#"{"alg":"HS256"}"#, r#"{"exp":1}"#, |signed| hmac(&[7; 32], signed));
        assert_eq!(jwt(Hs256).verify(&expired, NOW * 1_000), Err(JwtFault::Signature));
    }

    #[test]
    fn several_keys_are_tried_each_with_its_own_algorithm() {
        let mut jwt = Jwt::new(JwtKey::new(Hs256, &[7; 32]).unwrap());
        jwt.keys.extend([key(Es256), key(Hs256)]);
        for algorithm in [Hs256, Es256] {
            assert!(jwt.verify(&token(algorithm, GOOD), NOW * 1_000).is_ok(), "{algorithm}");
        }
        assert_eq!(jwt.verify(&token(EdDsa, GOOD), NOW * 1_000), Err(JwtFault::Algorithm));
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        let good = token(Hs256, GOOD);
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
        for bad in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "a".to_owned(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}.{signature}="),
            format!("{header}.{payload}.{signature}.{signature}"),
            format!("{header}.{payload}.{signature}.{signature}.{signature}"),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{}.{payload}.{signature}", part("{")),
            format!("{}.{payload}.{signature}", part(b"{\"alg\":\"HS256\xff\"}")),
        ] {
            assert_eq!(jwt(Hs256).verify(&bad, NOW * 1_000), Err(JwtFault::Malformed), "{bad:?}");
        }
        for payload in ["", "7", "[]", "{", "{\"sub\":\"7\"} x", &"[".repeat(4_000)] {
            assert_eq!(claims(&jwt(Hs256), payload), Err(JwtFault::Malformed), "{payload:?}");
        }
    }

    #[test]
    fn what_is_there_twice_is_refused() {
        // Of two, another reader may take the other one.
        for header in [
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":"HS256","alg":"none"}"#,
            r#"{"alg":"HS256","crit":null,"crit":["b64"]}"#,
        ] {
            let token = token_with(header, GOOD, |signed| signature(Hs256, signed));
            assert_eq!(jwt(Hs256).verify(&token, NOW * 1_000), Err(JwtFault::Algorithm), "{header}");
        }
        for claim in [r#""exp":1e12"#, r#""nbf":1"#, r#""sub":"8""#, r#""aud":"chat""#] {
            let twice = GOOD.replace('{', &format!("{{{claim},{claim},"));
            assert_eq!(claims(&jwt(Hs256), &twice), Err(JwtFault::Malformed), "{claim}");
        }
    }

    #[test]
    fn what_a_header_demands_is_refused() {
        let header = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
        let token = token_with(header, GOOD, |signed| signature(Hs256, signed));
        assert_eq!(jwt(Hs256).verify(&token, NOW * 1_000), Err(JwtFault::Critical));
    }

    #[test]
    fn a_token_ends_at_8_kib() {
        let of =
            |bytes: usize| token(Hs256, &GOOD.replace('{', &format!(r#"{{"x":"{}","#, "x".repeat(bytes))));
        let most = (5_900..6_144).rev().map(of).find(|token| token.len() <= 8_192).unwrap();
        assert!(most.len() > 8_188);
        assert!(jwt(Hs256).verify(&most, NOW * 1_000).is_ok());
        let over = of(6_144);
        assert_eq!(jwt(Hs256).verify(&over, NOW * 1_000), Err(JwtFault::TooLong { bytes: over.len() }));
    }

    #[test]
    fn exp_ends_a_token_to_the_millisecond_after_the_leeway() {
        let (mut jwt, token) = (jwt(Hs256), token(Hs256, r#"{"sub":"7","exp":1795219719}"#));
        assert!(jwt.verify(&token, NOW * 1_000 + 29_999).is_ok());
        assert_eq!(jwt.verify(&token, NOW * 1_000 + 30_000), Err(JwtFault::Expired));
        jwt.leeway_ms = 0;
        assert!(jwt.verify(&token, NOW * 1_000 - 1).is_ok());
        assert_eq!(jwt.verify(&token, NOW * 1_000), Err(JwtFault::Expired));
    }

    #[test]
    fn nbf_begins_a_token_to_the_millisecond_before_the_leeway() {
        let (mut jwt, token) = (jwt(Hs256), token(Hs256, r#"{"sub":"7","exp":1e12,"nbf":1795219719}"#));
        assert_eq!(jwt.verify(&token, NOW * 1_000 - 30_001), Err(JwtFault::NotYet));
        assert!(jwt.verify(&token, NOW * 1_000 - 30_000).is_ok());
        jwt.leeway_ms = 0;
        assert_eq!(jwt.verify(&token, NOW * 1_000 - 1), Err(JwtFault::NotYet));
        assert!(jwt.verify(&token, NOW * 1_000).is_ok());
    }

    #[test]
    fn times_may_be_fractions_and_of_any_size() {
        let mut jwt = jwt(Hs256);
        jwt.leeway_ms = 0;
        let half = token(Hs256, r#"{"sub":"7","exp":1795219719.5}"#);
        assert!(jwt.verify(&half, NOW * 1_000 + 499).is_ok());
        assert_eq!(jwt.verify(&half, NOW * 1_000 + 500), Err(JwtFault::Expired));
        for exp in ["18446744073709551615", "1e308", "99999999999999999999999999", "1.7976931348623157e308"] {
            assert!(claims(&jwt, &format!(r#"{{"sub":"7","exp":{exp}}}"#)).is_ok(), "{exp}");
            let nbf = claims(&jwt, &format!(r#"{{"sub":"7","exp":1e308,"nbf":{exp}}}"#));
            assert_eq!(nbf, Err(JwtFault::NotYet), "{exp}");
        }
        for exp in ["0", "-0", "-1", "-1e308", "-9223372036854775808", "1e-300"] {
            assert_eq!(
                claims(&jwt, &format!(r#"{{"sub":"7","exp":{exp}}}"#)),
                Err(JwtFault::Expired),
                "{exp}"
            );
        }
        for exp in ["1e400", "NaN", "Infinity"] {
            assert_eq!(
                claims(&jwt, &format!(r#"{{"sub":"7","exp":{exp}}}"#)),
                Err(JwtFault::Malformed),
                "{exp}"
            );
        }
        for claim in ["exp", "nbf"] {
            let wrong = JwtFault::WrongType { claim };
            for (value, fault) in [
                ("\"1795219779\"", wrong),
                ("null", wrong),
                ("true", wrong),
                ("[1795219779]", JwtFault::Malformed),
            ] {
                let text = GOOD.replace("\"exp\":1795219779", "\"exp\":1795219779,\"nbf\":1");
                let old = if claim == "exp" { "\"exp\":1795219779" } else { "\"nbf\":1" };
                let text = text.replace(old, &format!("\"{claim}\":{value}"));
                assert_eq!(claims(&jwt, &text), Err(fault), "{text}");
            }
        }
    }

    #[test]
    fn a_token_must_say_when_it_ends_unless_told_otherwise() {
        let mut jwt = jwt(Hs256);
        assert_eq!(claims(&jwt, r#"{"sub":"7"}"#), Err(JwtFault::Missing { claim: "exp" }));
        jwt.expiry_required = false;
        assert!(claims(&jwt, r#"{"sub":"7"}"#).is_ok());
        assert_eq!(claims(&jwt, r#"{"sub":"7","exp":1}"#), Err(JwtFault::Expired));
    }

    #[test]
    fn a_token_is_for_who_is_configured_and_else_for_nobody_in_particular() {
        let anybody = jwt(Hs256);
        let chat = Jwt { audience: Some("chat".into()), ..jwt(Hs256) };
        let with = |aud: &str| GOOD.replace('{', &format!(r#"{{"aud":{aud},"#));
        for aud in [r#""chat""#, r#"["chat"]"#, r#"["mail","chat"]"#] {
            assert!(claims(&chat, &with(aud)).is_ok(), "{aud}");
            assert_eq!(claims(&anybody, &with(aud)), Err(JwtFault::Audience), "{aud}");
        }
        for aud in [r#""mail""#, r#""chat ""#, r#""Chat""#, r#""""#, "[]", r#"["mail"]"#] {
            assert_eq!(claims(&chat, &with(aud)), Err(JwtFault::Audience), "{aud}");
        }
        for aud in ["null", "7", r#"{"chat":1}"#, r#"["chat",7]"#, "[null]", r#"[["chat"]]"#] {
            for jwt in [&chat, &anybody] {
                assert_eq!(claims(jwt, &with(aud)), Err(JwtFault::WrongType { claim: "aud" }), "{aud}");
            }
        }
        assert_eq!(claims(&chat, GOOD), Err(JwtFault::Missing { claim: "aud" }));
        assert!(claims(&anybody, GOOD).is_ok());
    }

    #[test]
    fn the_subject_is_somebody_and_not_the_admin() {
        let jwt = jwt(Hs256);
        let with = |sub: &str| format!(r#"{{"sub":{sub},"exp":1e12}}"#);
        assert_eq!(claims(&jwt, r#"{"exp":1e12}"#), Err(JwtFault::Missing { claim: "sub" }));
        assert_eq!(claims(&jwt, &with("null")), Err(JwtFault::Missing { claim: "sub" }));
        assert_eq!(claims(&jwt, &with("\"\"")), Err(JwtFault::NoSubject));
        assert_eq!(claims(&jwt, &with("\"admin\"")), Err(JwtFault::ReservedSubject));
        assert_eq!(claims(&jwt, &with("\"\\u0061dmin\"")), Err(JwtFault::ReservedSubject));
        for sub in ["7", "true"] {
            assert_eq!(claims(&jwt, &with(sub)), Err(JwtFault::WrongType { claim: "sub" }), "{sub}");
        }
        for sub in ["[\"7\"]", "{}"] {
            assert_eq!(claims(&jwt, &with(sub)), Err(JwtFault::Malformed), "{sub}");
        }
        let long = "x".repeat(1_024);
        assert_eq!(claims(&jwt, &with(&format!("\"{long}\""))).unwrap().uuid, long);
        let fault = JwtFault::ClaimTooLong { claim: "sub", bytes: 1_025 };
        assert_eq!(claims(&jwt, &with(&format!("\"{long}x\""))), Err(fault));
    }

    #[test]
    fn the_name_is_the_first_that_is_fit_and_the_group_a_string() {
        assert_eq!(name(r#"{"sub":"7","exp":1e12,"name":"A","preferred_username":"B"}"#), "A");
        assert_eq!(name(r#"{"sub":"7","exp":1e12,"preferred_username":"B"}"#), "B");
        assert_eq!(name(r#"{"sub":"7","exp":1e12,"name":"","preferred_username":"B"}"#), "B");
        assert_eq!(name(r#"{"sub":"7","exp":1e12,"name":null}"#), "7");
        assert_eq!(name(r#"{"sub":"7","exp":1e12,"name":"admin","preferred_username":"admin"}"#), "7");
        let jwt = jwt(Hs256);
        assert_eq!(claims(&jwt, r#"{"sub":"7","exp":1e12}"#).unwrap().group, "");
        let long = "x".repeat(1_025);
        for claim in ["name", "preferred_username", "group"] {
            let with = |value: &str| claims(&jwt, &format!(r#"{{"sub":"7","exp":1e12,"{claim}":{value}}}"#));
            assert_eq!(with("[\"g\"]"), Err(JwtFault::WrongType { claim }));
            assert_eq!(with(&format!("\"{long}\"")), Err(JwtFault::ClaimTooLong { claim, bytes: 1_025 }));
        }
    }

    #[test]
    fn debug_says_nothing_of_the_keys() {
        let said = format!("{:?}", jwt(Hs256));
        assert!(said.contains("JwtKey { algorithm: Hs256, .. }"), "{said}");
    }
}

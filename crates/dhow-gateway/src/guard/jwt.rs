//! JSON Web Tokens: whether one was signed by an issuer that the function trusts, for it, and now.
//!
//! The signature is the library's to check. The claims are read here with their types, because a
//! moment that is written as text must be wrong and not absent.

use std::time::Instant;

use dhow_core::access::{Algorithm, Issuer, KeySet};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;

use super::jwks::{self, KeySets, Keys, Unavailable};

/// Bytes of a token. They are checked before anything of it is known to be true.
const MOST: usize = 16 << 10;
/// Keys that a token without a key's name is tried with.
const MOST_TRIES: usize = 16;

/// One issuer, ready to check its tokens.
pub(super) struct Trusted {
    issuer: Issuer,
    keys: Keys,
}

/// Why a token is not believed. Whoever sent it is told no more than this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadToken {
    /// It is not a signed token, or of an issuer or an algorithm that is not trusted.
    #[error("the token is not one that this function believes")]
    Untrusted,
    /// The signature is not that of a key of the issuer.
    #[error("the token's signature does not hold")]
    Signature,
    /// It was made for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It has not begun.
    #[error("the token does not hold yet")]
    TooEarly,
    /// The issuer's keys are not there.
    #[error(transparent)]
    Keys(#[from] Unavailable),
}

/// What a token says, as far as it matters here. Each claim has its type or the token is none.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    /// Seconds since 1970, as `nbf`; a fraction is allowed.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    sub: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Trusted {
    pub(super) fn new(issuer: &Issuer, key_sets: &KeySets) -> Self {
        let keys = match &issuer.keys {
            KeySet::Url(url) => key_sets.remote(url),
            // What can't be read has no keys: nothing is believed then. Manifests are checked.
            KeySet::Inline(text) => {
                let none = |_| JwkSet { keys: vec![] };
                Keys::Inline(jwks::read(text.as_bytes()).unwrap_or_else(none).into())
            }
        };
        Self { issuer: issuer.clone(), keys }
    }
}

/// Whom `token` stands for, if one of `trusted` made it. `now_s` is seconds since 1970.
pub(super) async fn check(
    trusted: &[Trusted],
    token: &str,
    now: Instant,
    now_s: f64,
) -> Result<String, BadToken> {
    if token.len() > MOST {
        return Err(BadToken::Untrusted);
    }
    // Before the signature: to know whose keys to take. Nothing of it is believed yet.
    let said = unverified(token).ok_or(BadToken::Untrusted)?;
    let trusted_issuers = trusted.len();
    let trusted = trusted.iter().find(|trusted| trusted.issuer.issuer == said.iss);
    let Trusted { issuer, keys } = trusted.ok_or(BadToken::Untrusted)?;
    let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken::Untrusted)?;
    let pinned = |algorithm: &&Algorithm| library(**algorithm) == header.alg;
    let algorithm = *issuer.algorithms.iter().find(pinned).ok_or(BadToken::Untrusted)?;
    let set = keys.with(header.kid.as_deref(), now).await?;
    let candidates = set.keys.iter().filter(|key| match &header.kid {
        Some(id) => key.common.key_id.as_ref() == Some(id),
        None => true,
    });
    let claims = candidates
        .filter(|key| fits(key, algorithm))
        .take(MOST_TRIES)
        .find_map(|key| verified(token, key, algorithm))
        .ok_or(BadToken::Signature)?;
    hold(&claims, issuer, now_s)?;
    let subject = claims.sub.unwrap_or_default();
    // Two issuers may have the same name for different people.
    Ok(match trusted_issuers {
        1 => subject,
        _ => format!("{} {subject}", claims.iss),
    })
}

/// The claims of a token that nobody has checked.
fn unverified(token: &str) -> Option<Claims> {
    use base64::Engine as _;
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    parts.next().is_none().then(|| serde_json::from_slice(&bytes).ok())?
}

/// The claims, if `key` signed them.
fn verified(token: &str, key: &Jwk, algorithm: Algorithm) -> Option<Claims> {
    let mut signature = Validation::new(library(algorithm));
    // What the claims say is looked at in one place, in `hold`.
    signature.validate_exp = false;
    signature.validate_aud = false;
    signature.required_spec_claims.clear();
    let key = DecodingKey::from_jwk(key).ok()?;
    Some(jsonwebtoken::decode::<Claims>(token, &key, &signature).ok()?.claims)
}

/// Whether a key may be used with an algorithm: of its kind, for signatures, and for no other.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let of_kind = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(
            algorithm,
            Algorithm::Rs256
                | Algorithm::Rs384
                | Algorithm::Rs512
                | Algorithm::Ps256
                | Algorithm::Ps384
                | Algorithm::Ps512
        ),
        AlgorithmParameters::EllipticCurve(parameters) => matches!(
            (&parameters.curve, algorithm),
            (EllipticCurve::P256, Algorithm::Es256) | (EllipticCurve::P384, Algorithm::Es384)
        ),
        AlgorithmParameters::OctetKeyPair(parameters) => {
            parameters.curve == EllipticCurve::Ed25519 && algorithm == Algorithm::EdDsa
        }
        AlgorithmParameters::OctetKey(_) => false,
    };
    let said = key.common.key_algorithm.as_ref();
    let for_it = said.is_none_or(|said: &KeyAlgorithm| said.to_string() == algorithm.as_str());
    let signs =
        key.common.public_key_use.as_ref().is_none_or(|r#use| *r#use == PublicKeyUse::Signature);
    of_kind && for_it && signs
}

/// Whether claims, whose signature holds, are for this function and for now.
fn hold(claims: &Claims, issuer: &Issuer, now_s: f64) -> Result<(), BadToken> {
    let leeway = issuer.leeway.as_secs_f64();
    if claims.iss != issuer.issuer {
        return Err(BadToken::Untrusted);
    }
    let is_ours = |audience: &String| issuer.audiences.contains(audience);
    let for_us = match &claims.aud {
        Audience::One(audience) => is_ours(audience),
        Audience::Several(audiences) => audiences.iter().any(is_ours),
    };
    if !for_us {
        return Err(BadToken::Audience);
    }
    // Numbers of JSON are finite.
    if claims.exp + leeway <= now_s {
        return Err(BadToken::Expired);
    }
    match claims.nbf {
        Some(begin) if begin - leeway > now_s => Err(BadToken::TooEarly),
        _ => Ok(()),
    }
}

fn library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Library;
    match algorithm {
        Algorithm::Rs256 => Library::RS256,
        Algorithm::Rs384 => Library::RS384,
        Algorithm::Rs512 => Library::RS512,
        Algorithm::Ps256 => Library::PS256,
        Algorithm::Ps384 => Library::PS384,
        Algorithm::Ps512 => Library::PS512,
        Algorithm::Es256 => Library::ES256,
        Algorithm::Es384 => Library::ES384,
        Algorithm::EdDsa => Library::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use dhow_core::access::LEEWAY;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::*;

    const NOW: f64 = 1_000_000.0;

    /// A key pair, made by another library than the one that checks.
    struct Signer {
        pair: Ed25519KeyPair,
        id: &'static str,
    }

    impl Signer {
        fn new(id: &'static str) -> Self {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            Self { pair: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap(), id }
        }

        fn jwk(&self) -> Value {
            let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.id})
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
            let text = text.join(".");
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(self.pair.sign(text.as_bytes())))
        }

        fn token(&self, claims: &Value) -> String {
            self.sign(&json!({"alg": "EdDSA", "kid": self.id}), claims)
        }
    }

    fn trusted(keys: &[Value], algorithms: &[Algorithm]) -> Vec<Trusted> {
        let issuer = Issuer {
            issuer: "https://issuer".to_owned(),
            audiences: vec!["api".to_owned()],
            algorithms: algorithms.to_vec(),
            keys: KeySet::Inline(json!({"keys": keys}).to_string()),
            leeway: LEEWAY.default,
        };
        let none = KeySets::new(std::sync::Arc::new(|_| panic!("nothing is fetched")));
        vec![Trusted::new(&issuer, &none)]
    }

    fn good() -> Value {
        json!({"iss": "https://issuer", "aud": "api", "exp": NOW + 60.0, "sub": "ada"})
    }

    async fn verdict(trusted: &[Trusted], token: &str) -> Result<String, BadToken> {
        check(trusted, token, Instant::now(), NOW).await
    }

    #[tokio::test]
    async fn a_token_of_the_issuer_is_believed() {
        let signer = Signer::new("a");
        let trusted = trusted(&[Signer::new("b").jwk(), signer.jwk()], &[Algorithm::EdDsa]);
        assert_eq!(verdict(&trusted, &signer.token(&good())).await, Ok("ada".to_owned()));
        // Without a key's name, all are tried; without a subject, nobody is named.
        let mut claims = good();
        claims["aud"] = json!(["other", "api"]);
        claims.as_object_mut().unwrap().remove("sub");
        let nameless = signer.sign(&json!({"alg": "EdDSA"}), &claims);
        assert_eq!(verdict(&trusted, &nameless).await, Ok(String::new()));
    }

    #[tokio::test]
    async fn every_claim_is_enforced() {
        let signer = Signer::new("a");
        let trusted = trusted(&[signer.jwk()], &[Algorithm::EdDsa]);
        let leeway = LEEWAY.default.as_secs_f64();
        for (claim, value, expected) in [
            ("exp", json!(NOW - leeway + 1.0), Ok("ada".to_owned())),
            ("exp", json!(NOW - leeway), Err(BadToken::Expired)),
            ("exp", json!("4102444800"), Err(BadToken::Untrusted)),
            ("exp", json!(null), Err(BadToken::Untrusted)),
            ("nbf", json!(NOW + leeway), Ok("ada".to_owned())),
            ("nbf", json!(NOW + leeway + 1.0), Err(BadToken::TooEarly)),
            ("nbf", json!("99999999999"), Err(BadToken::Untrusted)),
            ("aud", json!("other"), Err(BadToken::Audience)),
            ("aud", json!([]), Err(BadToken::Audience)),
            ("aud", json!(null), Err(BadToken::Untrusted)),
            ("iss", json!("https://issuer/"), Err(BadToken::Untrusted)),
            ("iss", json!(null), Err(BadToken::Untrusted)),
        ] {
            let mut claims = good();
            claims[claim] = value.clone();
            assert_eq!(
                verdict(&trusted, &signer.token(&claims)).await,
                expected,
                "{claim} {value}"
            );
        }
        for claim in ["exp", "aud", "iss"] {
            let mut claims = good();
            claims.as_object_mut().unwrap().remove(claim);
            let verdict = verdict(&trusted, &signer.token(&claims)).await;
            assert_eq!(verdict, Err(BadToken::Untrusted), "{claim}");
        }
    }

    #[tokio::test]
    async fn a_signature_is_a_pinned_algorithms_and_a_known_keys() {
        let (signer, stranger) = (Signer::new("a"), Signer::new("a"));
        let trusted_keys = trusted(&[signer.jwk()], &[Algorithm::EdDsa]);
        let forged = stranger.token(&good());
        assert_eq!(verdict(&trusted_keys, &forged).await, Err(BadToken::Signature));
        let other_id = signer.sign(&json!({"alg": "EdDSA", "kid": "b"}), &good());
        assert_eq!(verdict(&trusted_keys, &other_id).await, Err(BadToken::Signature));

        let token = signer.token(&good());
        let (start, end) = token.rsplit_once('.').unwrap();
        let (header, claims) = start.split_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let mut changed = good();
        changed["sub"] = json!("eve");
        let changed = URL_SAFE_NO_PAD.encode(changed.to_string());
        for (bad, expected) in [
            (format!("{header}.{claims}."), BadToken::Signature),
            (format!("{header}.{changed}.{end}"), BadToken::Signature),
            (format!("{none}.{claims}."), BadToken::Untrusted),
            (format!("{none}.{claims}.{end}"), BadToken::Untrusted),
            (start.to_owned(), BadToken::Untrusted),
            (format!("{token}.{end}"), BadToken::Untrusted),
            ("a.b.c".to_owned(), BadToken::Untrusted),
            (String::new(), BadToken::Untrusted),
            (format!("{token}{}", "A".repeat(MOST)), BadToken::Untrusted),
        ] {
            assert_eq!(verdict(&trusted_keys, &bad).await, Err(expected), "{bad}");
        }
        // A public key is no shared secret, whatever the token says.
        let hmac = signer.sign(&json!({"alg": "HS256", "kid": "a"}), &good());
        assert_eq!(verdict(&trusted_keys, &hmac).await, Err(BadToken::Untrusted));
        let not_pinned = trusted(&[signer.jwk()], &[Algorithm::Rs256, Algorithm::Es256]);
        assert_eq!(verdict(&not_pinned, &token).await, Err(BadToken::Untrusted));
        // A key that says it is for something else.
        for (member, value) in [("use", "enc"), ("alg", "RS256")] {
            let mut jwk = signer.jwk();
            jwk[member] = json!(value);
            let trusted = trusted(&[jwk], &[Algorithm::EdDsa]);
            assert_eq!(verdict(&trusted, &token).await, Err(BadToken::Signature), "{member}");
        }
    }
}

//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, from a verifier: stored key and server key.
//!
//! No channel binding (there is no TLS). The whole exchange is run for unknown users too, with a made-up salt, so
//! that they cannot be told from wrong passwords.

use crate::backend::ScramVerifier;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac};

/// The name of the mechanism.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// Why an exchange ends.
#[derive(Debug, PartialEq, Eq)]
pub enum ScramError {
    /// The client's message is not SCRAM.
    Malformed(&'static str),
    /// The proof is wrong.
    WrongPassword,
}

/// An exchange after the client's first message.
pub struct Exchange {
    verifier: ScramVerifier,
    nonce: String,
    /// `client-first-bare,server-first`
    auth_prefix: String,
    gs2_header: String,
}

impl Exchange {
    /// Answers the client's first message: the exchange and the server's first message. `nonce` is the server's part,
    /// printable and without commas.
    pub fn start(verifier: ScramVerifier, first: &[u8], nonce: &str) -> Result<(Exchange, String), ScramError> {
        let first = std::str::from_utf8(first).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let gs2_end =
            first.match_indices(',').nth(1).map(|(i, _)| i + 1).ok_or(ScramError::Malformed("no GS2 header"))?;
        let (gs2_header, bare) = first.split_at(gs2_end);
        if !(gs2_header.starts_with("n,") || gs2_header.starts_with("y,")) {
            return Err(ScramError::Malformed("channel binding is not supported"));
        }
        let client_nonce = bare
            .split(',')
            .find_map(|a| a.strip_prefix("r="))
            .filter(|n| !n.is_empty())
            .ok_or(ScramError::Malformed("no client nonce"))?;
        if bare.starts_with("m=") {
            return Err(ScramError::Malformed("mandatory extensions are not supported"));
        }
        let nonce = format!("{client_nonce}{nonce}");
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let auth_prefix = format!("{bare},{server_first}");
        Ok((Exchange { verifier, nonce, auth_prefix, gs2_header: gs2_header.to_owned() }, server_first))
    }

    /// Checks the client's final message; gives the server's.
    pub fn finish(self, last: &[u8]) -> Result<String, ScramError> {
        let last = std::str::from_utf8(last).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let (without_proof, proof) = last.rsplit_once(",p=").ok_or(ScramError::Malformed("no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|a| a.strip_prefix("c=")).unwrap_or_default();
        if BASE64.decode(binding).ok().as_deref() != Some(self.gs2_header.as_bytes()) {
            return Err(ScramError::Malformed("channel binding does not match"));
        }
        if attributes.next().and_then(|a| a.strip_prefix("r=")) != Some(&self.nonce) {
            return Err(ScramError::Malformed("nonce does not match"));
        }
        let proof = BASE64.decode(proof).map_err(|_| ScramError::Malformed("proof is not base64"))?;
        if proof.len() != 32 {
            return Err(ScramError::Malformed("proof has the wrong length"));
        }
        let message = format!("{},{without_proof}", self.auth_prefix);
        let signature = sign(&self.verifier.stored_key, message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let stored = digest::digest(&digest::SHA256, &client_key);
        if !same(stored.as_ref(), &self.verifier.stored_key) {
            return Err(ScramError::WrongPassword);
        }
        Ok(format!("v={}", BASE64.encode(sign(&self.verifier.server_key, message.as_bytes()))))
    }
}

/// A verifier that no password matches, the same for the same user as long as the process lives.
pub fn decoy(user: &str, process_secret: &[u8; 32]) -> ScramVerifier {
    let derive = |what: &str| sign(process_secret, format!("{what}:{user}").as_bytes());
    ScramVerifier {
        salt: derive("salt").as_ref()[..16].to_vec(),
        iterations: 4096,
        stored_key: derive("stored").as_ref().to_vec(),
        server_key: derive("server").as_ref().to_vec(),
    }
}

fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// Equality in a time that does not depend on where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(password: &str) -> ScramVerifier {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let mut salted = [0u8; 32];
        let rounds = std::num::NonZeroU32::new(4096).expect("not zero");
        ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let client_key = sign(&salted, b"Client Key");
        ScramVerifier {
            salt,
            iterations: 4096,
            stored_key: digest::digest(&digest::SHA256, client_key.as_ref()).as_ref().to_vec(),
            server_key: sign(&salted, b"Server Key").as_ref().to_vec(),
        }
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn rfc_7677_example() {
        let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let (exchange, server_first) = Exchange::start(verifier("pencil"), first, nonce).expect("starts");
        assert_eq!(
            server_first,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let end = exchange.finish(last).expect("right password");
        assert_eq!(end, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let (exchange, _) = Exchange::start(verifier("crayon"), first, nonce).expect("starts");
        assert_eq!(exchange.finish(last), Err(ScramError::WrongPassword));
    }
}

//! SCRAM-SHA-256 verifiers (RFC 5802, 7677): what is kept of a password.

use hw_repr::SqlError;
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2, rand};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// Iterations of new verifiers, PostgreSQL's default.
pub const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;

/// What the server keeps of a password. Cannot be turned back into it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramVerifierData {
    /// Salt.
    pub salt: Vec<u8>,
    /// Iterations of PBKDF2.
    pub iterations: u32,
    /// SHA-256 of the client key.
    pub stored_key: Vec<u8>,
    /// The server key.
    pub server_key: Vec<u8>,
}

/// Keys are never printed.
impl std::fmt::Debug for ScramVerifierData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramVerifierData(SCRAM-SHA-256, {} iterations)", self.iterations)
    }
}

/// A verifier with a new random salt.
pub fn verifier(password: &str) -> Result<ScramVerifierData, SqlError> {
    let mut salt = vec![0u8; SALT_BYTES];
    rand::SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| SqlError::internal("the system gave no random bytes for a salt"))?;
    Ok(verifier_with(password, &salt, ITERATIONS))
}

/// The verifier of a password for this salt. As PostgreSQL does, a password that SASLprep refuses is taken as it is.
pub fn verifier_with(password: &str, salt: &[u8], iterations: u32) -> ScramVerifierData {
    let prepared = stringprep::saslprep(password);
    let password = prepared.as_deref().unwrap_or(password);
    let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let mut salted = [0u8; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let server_key = hmac::sign(&key, b"Server Key");
    ScramVerifierData {
        salt: salt.to_vec(),
        iterations: rounds.get(),
        stored_key: digest::digest(&digest::SHA256, client_key.as_ref()).as_ref().to_vec(),
        server_key: server_key.as_ref().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677: the client's proof verifies and the server's signature is the RFC's.
    #[test]
    fn example_of_rfc_7677() {
        use std::fmt::Write;
        let salt = [91u8, 109, 153, 104, 157, 18, 53, 142, 236, 160, 75, 20, 18, 54, 250, 129];
        let v = verifier_with("pencil", &salt, 4096);
        let auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &v.server_key), auth.as_bytes());
        let mut hex = String::new();
        signature.as_ref().iter().for_each(|b| write!(hex, "{b:02x}").expect("to a string"));
        // v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=
        assert_eq!(hex, "eabae24d1062db75a9451ff0b6ea7e98c8546549ff741e672d3251b2397de46e");
        assert_eq!(v.stored_key.len(), 32);
    }

    #[test]
    fn salts_differ_and_nothing_is_printed() {
        let (a, b) = (verifier("x").expect("a"), verifier("x").expect("b"));
        assert_ne!(a.salt, b.salt);
        assert_ne!(a.stored_key, b.stored_key);
        assert_eq!(format!("{a:?}"), "ScramVerifierData(SCRAM-SHA-256, 4096 iterations)");
    }
}

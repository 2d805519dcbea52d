//! TLS between members, which needs nothing but the cluster token.
//!
//! Both sides derive the same Ed25519 certificate authority from the token and trust nothing else. Each start makes a
//! fresh key with a certificate that the authority has signed. So a side that completes the handshake knows the token,
//! in either direction, and no certificate is ever distributed or renewed.

use std::error::Error;
use std::sync::Arc;

use hkdf::Hkdf;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ED25519, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::Sha256;
use tokio_rustls::TlsAcceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// The name in every leaf. Members are told apart by the ids in the messages, not by their certificates.
const LEAF_NAME: &str = "dyad-member";
const CA_SALT: &[u8] = b"dyad cluster ca v1";
/// The first bytes of a PKCS#8 v1 document that holds an Ed25519 seed (RFC 8410).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The certificate that a member shows on the cluster port, and the authority that it trusts.
#[derive(Clone)]
pub struct ClusterTls {
    ca: Certificate,
    identity: Identity,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for ClusterTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterTls(<derived from the token>)")
    }
}

/// The certificates could not be made. This does not happen with a token that the settings accept.
#[derive(Debug, thiserror::Error)]
#[error("the members' certificates cannot be derived from the cluster token: {0}")]
pub struct TlsError(String);

impl ClusterTls {
    /// Derives the authority from `token` and makes a fresh certificate.
    ///
    /// # Errors
    /// A certificate cannot be signed.
    pub fn from_token(token: &[u8]) -> Result<ClusterTls, TlsError> {
        make(token).map_err(|error| TlsError(error.to_string()))
    }

    /// The configuration of the side that connects.
    pub fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(self.ca.clone())
            .identity(self.identity.clone())
            .domain_name(LEAF_NAME)
    }

    /// The side that accepts. It refuses a client without a certificate of the same authority.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

fn make(token: &[u8]) -> Result<ClusterTls, Box<dyn Error>> {
    let ca_key = authority_key(token)?;
    let ca_params = authority_params();
    let ca = ca_params.self_signed(&ca_key)?;
    let leaf_key = KeyPair::generate_for(&PKCS_ED25519)?;
    let leaf = leaf_params()?.signed_by(&leaf_key, &Issuer::new(ca_params, ca_key))?;
    let key = PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into());
    Ok(ClusterTls {
        acceptor: acceptor(ca.der(), leaf.der(), key)?,
        ca: Certificate::from_pem(ca.pem()),
        identity: Identity::from_pem(leaf.pem(), leaf_key.serialize_pem()),
    })
}

fn acceptor(
    ca: &CertificateDer<'static>,
    leaf: &CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, Box<dyn Error>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    let members = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(members)
        .with_single_cert(vec![leaf.clone()], key)?;
    config.alpn_protocols.push(b"h2".to_vec());
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn authority_key(token: &[u8]) -> Result<KeyPair, rcgen::Error> {
    let mut pkcs8 = [0u8; 48];
    pkcs8[..16].copy_from_slice(&ED25519_PKCS8);
    Hkdf::<Sha256>::new(Some(CA_SALT), token)
        .expand(b"ed25519 seed", &mut pkcs8[16..])
        .expect("32 bytes are within HKDF's limit");
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.to_vec().into(), &PKCS_ED25519)
}

/// Fixed serial and dates: all members make the same certificate.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "dyad cluster");
    params.serial_number = Some(SerialNumber::from(1u64));
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![LEAF_NAME.to_owned()])?;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_makes_one_authority_and_another_token_another() {
        let make = |token: &[u8]| ClusterTls::from_token(token).unwrap().ca;
        let one = make(b"0123456789abcdef0123456789abcdef");
        assert_eq!(one.clone().into_inner(), make(b"0123456789abcdef0123456789abcdef").into_inner());
        assert_ne!(one.into_inner(), make(b"0123456789abcdef0123456789abcdeF").into_inner());
    }
}

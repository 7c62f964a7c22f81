//! Certificates of a test's own: an authority and what it vouches for, in PEM; good for nothing but tests.

use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// A CA that nobody else trusts.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: String,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// Another one each time.
    ///
    /// # Panics
    ///
    /// If keys cannot be made.
    #[must_use]
    pub fn new() -> Authority {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let key = KeyPair::generate().expect("a source of chance");
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A name of its own: two of one name are told apart by their signatures only, which is another error.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("CA {number} of a test"));
        let pem = params.self_signed(&key).expect("sound parameters").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these DNS names and IP addresses.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.sign(&params(names))
    }

    /// One that was good until some years ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Certificate {
        let mut params = params(names);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().expect("a source of chance");
        let pem = params.signed_by(&key, &self.issuer).expect("sound parameters").pem();
        Certificate { pem, key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| String::from(*name)).collect();
    CertificateParams::new(names).expect("names and addresses")
}

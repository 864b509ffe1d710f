//! Certificates and keys, made anew by each test.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// A certificate with its key.
pub(crate) struct Made {
    certificate: rcgen::Certificate,
    params: CertificateParams,
    key: KeyPair,
}

/// What a certificate is going to say.
pub(crate) struct Plan {
    params: CertificateParams,
    key: KeyPair,
}

impl Plan {
    /// For these names and addresses. The common name is the first.
    pub(crate) fn new(names: &[&str]) -> Plan {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let first = names.first().cloned();
        let params = CertificateParams::new(names).unwrap();
        let plan = Plan {
            params,
            key: KeyPair::generate().unwrap(),
        };
        match first {
            Some(first) => plan.common_name(&first),
            None => plan,
        }
    }

    pub(crate) fn common_name(mut self, name: &str) -> Plan {
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        self.params.distinguished_name = subject;
        self
    }

    pub(crate) fn authority(mut self) -> Plan {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    /// CA:FALSE in words, not only by leaving CA:TRUE out.
    pub(crate) fn no_authority(mut self) -> Plan {
        self.params.is_ca = IsCa::ExplicitNoCa;
        self
    }

    /// Valid from the first day of one year to the first day of another.
    pub(crate) fn years(mut self, from: i32, to: i32) -> Plan {
        self.params.not_before = date_time_ymd(from, 1, 1);
        self.params.not_after = date_time_ymd(to, 1, 1);
        self
    }

    /// With a key of Ed25519 instead of ECDSA with P-256.
    pub(crate) fn ed25519(mut self) -> Plan {
        self.key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        self
    }

    pub(crate) fn self_signed(self) -> Made {
        Made {
            certificate: self.params.self_signed(&self.key).unwrap(),
            params: self.params,
            key: self.key,
        }
    }

    pub(crate) fn signed_by(self, issuer: &Made) -> Made {
        let issuer = Issuer::from_params(&issuer.params, &issuer.key);
        Made {
            certificate: self.params.signed_by(&self.key, &issuer).unwrap(),
            params: self.params,
            key: self.key,
        }
    }
}

impl Made {
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }
}

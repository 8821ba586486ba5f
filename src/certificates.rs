//! Makes certificates: a CA, and server and client certificates that it signs. `saker setup certs` offers it to
//! administrators; `saker serve` without configuration uses it for a development certificate.
//!
//! All keys are ECDSA P-256. Key files are created with mode 0600 and an existing file is never overwritten, except the
//! development certificate, which is Saker's own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::since_epoch;

const DAY: u64 = 24 * 3600;

/// Clocks differ a little: a certificate is valid from this long before it was made.
const CLOCK_SKEW: u64 = 3600;

/// Validity of a CA.
pub const CA_DAYS: u32 = 3650;

/// Validity of a server or client certificate: what common clients still accept.
pub const LEAF_DAYS: u32 = 825;

/// A development leaf that expires sooner than this is made anew.
const DEVELOPMENT_RENEWAL: u64 = 7 * DAY;

/// What went wrong while making or reading a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot {action} `{}`: {source}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("`{}` is not a PEM certificate: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("`{}` is not the key of `{}`", .key.display(), .cert.display())]
    KeyMismatch { key: PathBuf, cert: PathBuf },
    #[error("`{}` is not the certificate of a CA", .0.display())]
    NotACa(PathBuf),
    #[error("the CA `{}` has expired: make a new one and distribute it", .0.display())]
    CaExpired(PathBuf),
    #[error("`{0}` is neither an IP address nor a DNS name")]
    Host(String),
    #[error("the system's random number generator failed")]
    Random,
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate and its key, in PEM.
#[derive(Debug)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// A CA that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    not_after: u64,
}

/// What a leaf is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// Names and addresses that clients connect to.
    Server { hosts: &'a [Host] },
    /// The name that the server knows the client by.
    Client { name: &'a str },
}

/// A subject alternative name of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Ip(IpAddr),
    Dns(String),
}

impl Host {
    /// Where every server certificate is valid: connections of the machine to itself.
    pub fn loopback() -> Vec<Host> {
        vec![
            Host::Dns("localhost".to_owned()),
            Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Host::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ]
    }

    /// Reads an IP address or a DNS name; the first label of a name may be `*`.
    pub fn parse(text: &str) -> Result<Host, CertificateError> {
        if let Ok(ip) = text.parse() {
            return Ok(Host::Ip(ip));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        // A last label of digits is a mistyped address.
        let last_is_number = name
            .rsplit('.')
            .next()
            .is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
        if name.len() > 253 || last_is_number || !name.split('.').all(label) {
            return Err(CertificateError::Host(text.escape_debug().to_string()));
        }
        Ok(Host::Dns(text.to_ascii_lowercase()))
    }
}

impl Authority {
    /// Makes a CA that may sign leaves and no further CA.
    pub fn make(name: &str, days: u32) -> Result<(Authority, Pair), CertificateError> {
        let key = KeyPair::generate()?;
        let not_after = now() + u64::from(days) * DAY;
        let mut params = params(name, not_after)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = Pair {
            cert: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        };
        let issuer = Issuer::new(params, key);
        Ok((Authority { issuer, not_after }, pair))
    }

    /// Loads a CA that exists.
    pub fn load(cert_path: &Path, key_path: &Path) -> Result<Authority, CertificateError> {
        let facts = Facts::read(cert_path)?;
        let key = read_key(key_path)?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(CertificateError::KeyMismatch {
                key: key_path.to_owned(),
                cert: cert_path.to_owned(),
            });
        }
        if !facts.is_ca {
            return Err(CertificateError::NotACa(cert_path.to_owned()));
        }
        if facts.not_after <= now() {
            return Err(CertificateError::CaExpired(cert_path.to_owned()));
        }
        let pem = read(cert_path)?;
        Ok(Authority {
            issuer: Issuer::from_ca_cert_pem(&pem, key)?,
            not_after: facts.not_after,
        })
    }

    /// Signs a new certificate with a new key. It does not outlive the CA.
    pub fn issue(&self, role: Role<'_>, days: u32) -> Result<Pair, CertificateError> {
        let not_after = (now() + u64::from(days) * DAY).min(self.not_after);
        let mut params = match role {
            Role::Server { .. } => params("saker", not_after)?,
            Role::Client { name } => params(name, not_after)?,
        };
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        match role {
            Role::Server { hosts } => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                for host in hosts {
                    params.subject_alt_names.push(match host {
                        Host::Ip(ip) => SanType::IpAddress(*ip),
                        Host::Dns(name) => SanType::DnsName(name.clone().try_into()?),
                    });
                }
            }
            Role::Client { name } => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                if let Ok(Host::Dns(name)) = Host::parse(name) {
                    params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
                }
            }
        }
        let key = KeyPair::generate()?;
        Ok(Pair {
            cert: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn params(common_name: &str, not_after: u64) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now().saturating_sub(CLOCK_SKEW));
    params.not_after = epoch + Duration::from_secs(not_after);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let mut serial = [0; 16];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut serial).map_err(|_| CertificateError::Random)?;
    // A serial number is positive and not zero; setting one bit keeps 126 random ones.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn now() -> u64 {
    since_epoch().as_secs()
}

/// What an existing certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub subject: String,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// Seconds since the Unix epoch.
    pub not_after: u64,
    /// SHA-256 of the whole certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    pub is_ca: bool,
    /// DER of the subject's public key.
    public_key: Vec<u8>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
}

impl Facts {
    /// Reads the first certificate of a PEM file.
    pub fn read(path: &Path) -> Result<Facts, CertificateError> {
        let text = read(path)?;
        let unreadable = |reason: String| CertificateError::Unreadable {
            path: path.to_owned(),
            reason,
        };
        let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|e| unreadable(e.to_string()))?;
        let (_, cert) = X509Certificate::from_der(&pem.contents).map_err(|e| unreadable(e.to_string()))?;
        let mut facts = Facts {
            subject: cert.subject().to_string(),
            names: Vec::new(),
            not_after: u64::try_from(cert.validity().not_after.timestamp()).unwrap_or(0),
            fingerprint: fingerprint(&pem.contents),
            is_ca: cert.is_ca(),
            public_key: cert.public_key().raw.to_vec(),
            subject_key_id: None,
            authority_key_id: None,
        };
        for extension in cert.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(san) => {
                    facts.names.extend(san.general_names.iter().filter_map(name_text));
                }
                ParsedExtension::SubjectKeyIdentifier(id) => facts.subject_key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    facts.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    /// The last day of validity, as `2036-11-20`.
    pub fn expiry_date(&self) -> String {
        let seconds = i64::try_from(self.not_after).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_second(seconds) {
            Ok(time) => time.strftime("%Y-%m-%d").to_string(),
            Err(_) => "never".to_owned(),
        }
    }
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok()
            .map(|ip| ip.to_string()),
        _ => None,
    }
}

fn fingerprint(der: &[u8]) -> String {
    // The TLS library's own SHA-256, so that no further crate is needed for one hash.
    let rustls::SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        return String::new();
    };
    let digest = suite.common.hash_provider.hash(der);
    let bytes: Vec<String> = digest.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    bytes.join(":")
}

fn read(path: &Path) -> Result<String, CertificateError> {
    fs::read_to_string(path).map_err(|source| CertificateError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

fn read_key(path: &Path) -> Result<KeyPair, CertificateError> {
    KeyPair::from_pem(&read(path)?).map_err(|error| CertificateError::Unreadable {
        path: path.to_owned(),
        reason: format!("no usable private key ({error})"),
    })
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Public,
    Private,
}

impl Mode {
    fn bits(self) -> u32 {
        match self {
            Mode::Public => 0o644,
            Mode::Private => 0o600,
        }
    }
}

/// Creates a file that must not exist yet. It never has wider permissions than it ends with, and is not left half-written.
pub fn create_new(path: &Path, contents: &str, mode: Mode) -> Result<(), CertificateError> {
    let failed = |source| CertificateError::File {
        action: "create",
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode.bits())
        .open(path)
        .map_err(failed)?;
    let written = file.write_all(contents.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // The file is ours: it did not exist before. That it cannot be removed adds nothing to the first error.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

/// Puts a file in the place of what is there, in one step.
fn replace(path: &Path, contents: &str, mode: Mode) -> Result<(), CertificateError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(CertificateError::File {
                action: "remove",
                path: temporary,
                source,
            });
        }
        _ => {}
    }
    create_new(&temporary, contents, mode)?;
    fs::rename(&temporary, path).map_err(|source| CertificateError::File {
        action: "replace",
        path: path.to_owned(),
        source,
    })
}

/// Makes the directory, if needed.
pub fn make_directory(dir: &Path) -> Result<(), CertificateError> {
    fs::create_dir_all(dir).map_err(|source| CertificateError::File {
        action: "create",
        path: dir.to_owned(),
        source,
    })
}

/// The files of the development certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevCertificate {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Whether the leaf was made just now.
    pub created: bool,
}

/// The certificate of `saker serve` without configuration: made when it is not there, does not fit its CA, or is about to expire.
pub fn ensure_development(dir: &Path) -> Result<DevCertificate, CertificateError> {
    make_directory(dir)?;
    // Two servers starting at once must not mix one's CA with the other's leaf. The lock ends with the handle.
    let lock = File::open(dir).and_then(|handle| handle.lock().map(|()| handle));
    let _lock = lock.map_err(|source| CertificateError::File {
        action: "lock",
        path: dir.to_owned(),
        source,
    })?;
    let ca_key = dir.join("dev-ca.key");
    let mut files = DevCertificate {
        ca: dir.join("dev-ca.crt"),
        cert: dir.join("dev-server.crt"),
        key: dir.join("dev-server.key"),
        created: false,
    };
    if development_is_usable(&files) {
        return Ok(files);
    }
    let authority = match Authority::load(&files.ca, &ca_key) {
        Ok(authority) if authority.not_after > now() + DEVELOPMENT_RENEWAL => authority,
        _ => {
            let (authority, pair) = Authority::make("Saker development CA", CA_DAYS)?;
            replace(&ca_key, &pair.key, Mode::Private)?;
            replace(&files.ca, &pair.cert, Mode::Public)?;
            authority
        }
    };
    let hosts = Host::loopback();
    let pair = authority.issue(Role::Server { hosts: &hosts }, LEAF_DAYS)?;
    replace(&files.key, &pair.key, Mode::Private)?;
    replace(&files.cert, &pair.cert, Mode::Public)?;
    files.created = true;
    Ok(files)
}

fn development_is_usable(files: &DevCertificate) -> bool {
    let (Ok(ca), Ok(cert), Ok(key)) = (Facts::read(&files.ca), Facts::read(&files.cert), read_key(&files.key)) else {
        return false;
    };
    let soon = now() + DEVELOPMENT_RENEWAL;
    ca.not_after > soon
        && cert.not_after > soon
        && cert.authority_key_id.is_some()
        && cert.authority_key_id == ca.subject_key_id
        && cert.public_key == key.subject_public_key_info()
}

#[cfg(test)]
mod tests;

//! What stands behind a name: a literal, or one of the many things that only stand for one.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use hashbrown::HashSet;

use super::names::{self, Name};
use super::random;
use super::words::{PLACEHOLDER, PLACEHOLDER_PART, REFERENCE_TAIL};

/// Why a value is no secret, or that it may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Empty,
    /// Stands where somebody has to write a value: `changeme`, `<password>`, `xxxx`.
    Placeholder,
    /// Is filled in from elsewhere: `${DB_PASSWORD}`, `{{ .Values.password }}`.
    Template,
    /// Says where the secret is: a path, `vault:secret/db`, `secretKeyRef`.
    Reference,
    /// Needs a key that is not here: `ENC[…]`, `vault:v1:…`, a SealedSecret.
    Ciphertext,
    /// Is for everybody: a public key, a certificate, a digest.
    Public,
    /// Words for people.
    Text,
    Number,
    /// None of these.
    Literal,
}

static WORDS: LazyLock<HashSet<&'static [u8]>> =
    LazyLock::new(|| PLACEHOLDER.split_ascii_whitespace().map(str::as_bytes).collect());
static PARTS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    // INVARIANT: a handful of short literals is no more than the automaton can hold.
    AhoCorasick::new(PLACEHOLDER_PART.split_ascii_whitespace()).unwrap_or_else(|e| unreachable!("{e}"))
});
static TAILS: LazyLock<HashSet<&'static [u8]>> =
    LazyLock::new(|| REFERENCE_TAIL.split_ascii_whitespace().map(str::as_bytes).collect());

/// Beginnings of references to where a secret is kept.
const REFERENCES: &str = "\
    vault: op:// arn: ref+ sm:// ssm: ssm/ gsm: gcpsm: akv: azurekv kv: keyvault: secretref: secret:// secret: \
    secrets:// file: env: env. env( awssm aws-sm awssecret aws_secret aws: projects/ berglas:// doppler: bws: \
    keeper:// infisical: conjur k8s: kubernetes: configmap: lookup( pass: keyring: cmd: exec: sops: resolve: \
    {{resolve: from: secretsmanager paramstore lastpass: 1password: bw:// gopass: process.env os.environ \
    os.getenv system.getenv getenv env[ environ import.meta rails.application settings. config. self. this. var. \
    local. data. module. params. values. context. http:// https:// s3:// gs:// unix: tcp:// url( \
    @microsoft.keyvault @@ !vault !env !ref !sub !getatt !secret !import !include urn: oci:// data:image \
    data:font spiffe:// base64decode random_password generate(";

/// Beginnings of what only a key opens.
const CIPHERTEXTS: &str = "\
    ENC[ ENC( {cipher} {CIPHER} vault:v AQICAH AQECAH $ANSIBLE_VAULT -----BEGIN·PGP·MESSAGE \
    -----BEGIN·AGE·ENCRYPTED -----BEGIN·PKCS7 -----BEGIN·CMS gAAAAA U2FsdGVkX1 {AES} {AES256} {3DES} \
    {aes} {DES} {xor} CiQA CiA age1 DPAPI: {enc} enc: encrypted: ENCRYPTED: cipher: kms: KMS: secure: v2:aes \
    aes256: aes- eyJhbGciOiJSU0EtT0FFU eyJhbGciOiJkaXIi eyJlbmMi Salted__ $dek$ k8s:enc: awskms: gcpkms \
    AAAAAAAAAA0 LS0tLS1CRUdJTiBQR1AgTUVTU0FHR YWdlLWVuY3J5cHRpb24 age-encryption.org !encrypted ERP[ \
    secret-encrypted:";

/// Beginnings of what may be shown to anybody.
const PUBLICS: &str = "\
    ssh-rsa· ssh-ed25519· ssh-dss· ecdsa-sha2- sk-ssh- sk-ecdsa AAAAB3NzaC1yc2E AAAAC3NzaC1lZDI1NTE5 \
    AAAAE2VjZHNh pk_live_ pk_test_ pk.eyJ phc_ pk-lf- -----BEGIN·CERT -----BEGIN·PUBLIC \
    -----BEGIN·RSA·PUBLIC -----BEGIN·PGP·PUBLIC -----BEGIN·X509 -----BEGIN·DH \
    -----BEGIN·EC·PARAM -----BEGIN·SSH2·PUBLIC LS0tLS1CRUdJTiBDRVJU LS0tLS1CRUdJTiBQVUJM \
    MIIBIjANBgkq MFkwEwYHKoZI sha256: sha512: sha1: md5: sha256- sha512- sha384- h1: iVBORw0KGgo /9j/4AA R0lGOD \
    data:image PD94bWwg UEsDB xpub age1";

/// Characters that tell what a value is.
const ENOUGH: usize = 384;

/// What a value is, whatever its name.
pub fn classify(value: &[u8]) -> Value {
    let value = trim(value);
    if value.is_empty() {
        return Value::Empty;
    }
    if value.len() > 8192 {
        return Value::Text;
    }
    // What it is shows at its beginning.
    let whole = value;
    let value = &value[..value.len().min(ENOUGH)];
    let mut lower = [0; 64];
    let short = value.len().min(lower.len());
    lower[..short].copy_from_slice(&value[..short]);
    lower[..short].make_ascii_lowercase();
    let lower = &lower[..short];
    if is_placeholder(value, lower) {
        return Value::Placeholder;
    }
    if CIPHERTEXT.begin(value) || is_sealed(value) || is_jwe(whole) {
        return Value::Ciphertext;
    }
    if is_template(value) {
        return Value::Template;
    }
    if PUBLIC.begin(value) {
        return Value::Public;
    }
    if REFERENCE.begin(lower) || is_path(value) || is_code(value) {
        return Value::Reference;
    }
    if is_number(value) {
        return Value::Number;
    }
    if is_phrase(value) {
        return Value::Text;
    }
    Value::Literal
}

/// Beginnings, and the bytes that these begin with.
struct Starts {
    first: [bool; 256],
    all: Vec<Vec<u8>>,
}

impl Starts {
    /// From a list with spaces between; `·` stands for a space.
    fn new(list: &str) -> Starts {
        let all: Vec<Vec<u8>> = list
            .split_ascii_whitespace()
            .map(|start| start.replace('·', " ").into_bytes())
            .collect();
        let mut first = [false; 256];
        all.iter().for_each(|start| first[usize::from(start[0])] = true);
        Starts { first, all }
    }

    fn begin(&self, value: &[u8]) -> bool {
        value.first().is_some_and(|b| self.first[usize::from(*b)])
            && self.all.iter().any(|start| value.starts_with(start))
    }
}

static REFERENCE: LazyLock<Starts> = LazyLock::new(|| Starts::new(REFERENCES));
static CIPHERTEXT: LazyLock<Starts> = LazyLock::new(|| Starts::new(CIPHERTEXTS));
static PUBLIC: LazyLock<Starts> = LazyLock::new(|| Starts::new(PUBLICS));

/// Whether a literal is one that a name of this sort makes a secret.
pub fn is_secret(name: Name, value: &[u8]) -> bool {
    let value = trim(value);
    match name {
        Name::Password => value.len() >= 3 && !value.contains(&b' ') && !is_reference_by_words(value),
        Name::Secret => value.len() >= 8 && looks_secret(value),
        Name::Service => value.len() >= 16 && has_digit(value) && (random::is_random(value) || is_grouped(value)),
        Name::Other | Name::Public => false,
    }
}

/// Drawn at random, or at least nothing that a person would write for another.
pub fn looks_secret(value: &[u8]) -> bool {
    let value = &value[..value.len().min(ENOUGH)];
    if value.contains(&b' ') || is_reference_by_words(value) || random::is_repetitive(value) || is_host(value) {
        return false;
    }
    random::is_random(value)
        || random::is_uuid(value)
        || is_bootstrap(value)
        || is_grouped(value)
        || is_block(value)
        || (value.len() >= 8 && parts_random(value))
        || (value.len() >= 8 && mixed(value) && !is_words(value))
}

/// Letters and digits in groups as a UUID has them, whatever the characters: `aaff9112-x1ms-jzxn-fwee-…`.
pub fn is_grouped(value: &[u8]) -> bool {
    let mut groups = value.split(|b| *b == b'-');
    value.len() >= 24
        && has_digit(value)
        && groups.clone().count() >= 4
        && groups.next().is_some_and(|first| first.len() == 8)
        && value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && groups.all(|group| (4..=20).contains(&group.len()))
        && value.split(|b| *b == b'-').filter(|group| has_digit(group)).count() >= 2
}

/// One block of letters and digits that is no word with a number behind it.
fn is_block(value: &[u8]) -> bool {
    value.len() >= 16
        && value.iter().all(u8::is_ascii_alphanumeric)
        && has_digit(value)
        && value.iter().any(u8::is_ascii_alphabetic)
        && random::score(value) > -2.0
}

/// Six characters, a dot and sixteen (Kubernetes documentation, Bootstrap Tokens: token format).
fn is_bootstrap(value: &[u8]) -> bool {
    value.len() == 23
        && value[6] == b'.'
        && value
            .iter()
            .enumerate()
            .all(|(at, b)| at == 6 || b.is_ascii_lowercase() || b.is_ascii_digit())
        && has_digit(value)
}

/// Whether a part of it between signs was drawn at random: `key-9f…`, `a1b2:c3d4…`.
pub fn parts_random(value: &[u8]) -> bool {
    value
        .split(|b| !b.is_ascii_alphanumeric())
        .any(|part| part.len() >= 12 && random::is_random(part) && (has_digit(part) || part.len() >= 20))
}

/// Digits and letters, or letters of both cases, or signs among them.
fn mixed(value: &[u8]) -> bool {
    let class = |b: &u8| match b {
        b'0'..=b'9' => 1_u8,
        b'a'..=b'z' => 2,
        b'A'..=b'Z' => 4,
        _ => 8,
    };
    let classes = value.iter().map(class).fold(0, |all, one| all | one);
    let edges = value.windows(2).filter(|w| class(&w[0]) != class(&w[1])).count();
    classes.count_ones() >= 3 && edges >= 3 || (classes.count_ones() >= 2 && edges * 3 >= value.len())
}

/// Words with signs between: `x-internal-key`, `created_at`, `oauth2-client-credentials`, `cl100k_base`.
fn is_words(value: &[u8]) -> bool {
    let mut parts = 0;
    for part in value.split(|b| matches!(b, b'-' | b'_' | b'.' | b'/' | b':' | b'@')) {
        if part.is_empty() {
            continue;
        }
        parts += 1;
        let digits = part.iter().filter(|b| b.is_ascii_digit()).count();
        let plain =
            part.iter().all(u8::is_ascii_alphanumeric) && digits <= 4 && (part.len() < 8 || random::score(part) < 0.0);
        if !plain {
            return false;
        }
    }
    parts >= 1
}

/// Names where the secret is: words with `-`, `_` or `/` between, the last of which is `secret`, `credentials` and such.
pub fn is_reference_by_words(value: &[u8]) -> bool {
    if value.len() > 80
        || !value
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
    {
        return false;
    }
    let signs = value.iter().filter(|b| matches!(b, b'-' | b'_' | b'.' | b'/')).count();
    let hump = value
        .windows(2)
        .any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase());
    if signs == 0 && !hump {
        return false;
    }
    let words = names::Words::of(value);
    let end =
        if words.get(0).iter().all(u8::is_ascii_digit) || words.get(0).len() <= 2 && words.get(0).starts_with(b"v") {
            1
        } else {
            0
        };
    TAILS.contains(words.get(end))
        && value
            .split(|b| !b.is_ascii_alphanumeric())
            .all(|part| part.len() < 12 || !random::is_random(part))
}

/// White space and quotes around it do not count.
pub fn trim(value: &[u8]) -> &[u8] {
    let mut value = value.trim_ascii();
    while value.len() >= 2
        && let [first, .., last] = value
        && first == last
        && matches!(first, b'"' | b'\'' | b'`')
    {
        value = value[1..value.len() - 1].trim_ascii();
    }
    if matches!(value, b"\"" | b"'" | b"`") {
        return b"";
    }
    value
}

fn is_placeholder(value: &[u8], lower: &[u8]) -> bool {
    if value.len() <= 40 {
        let bare: &[u8] = lower
            .trim_ascii()
            .strip_suffix(b".")
            .or_else(|| lower.strip_suffix(b"!"))
            .unwrap_or(lower);
        if WORDS.contains(bare) || WORDS.contains(lower) {
            return true;
        }
    }
    let wraps = |open: u8, close: u8| value.first() == Some(&open) && value.last() == Some(&close) && value.len() >= 2;
    if wraps(b'<', b'>') || (wraps(b'[', b']') && value.iter().all(|b| !b.is_ascii_digit())) || (wraps(b'*', b'*')) {
        return true;
    }
    // The same sign over and over: xxxx, ****, ----, 0000.
    if value.len() >= 3 && random::is_repetitive(value) {
        return true;
    }
    let first = value[0];
    if value.iter().all(|b| *b == first) {
        return true;
    }
    let head = &lower[..lower.len().min(48)];
    if value.len() <= 64 && PARTS.is_match(head) && !(value.len() >= 20 && parts_random(value)) {
        return true;
    }
    // Documentation: AKIA…EXAMPLE, …EXAMPLEKEY.
    value.windows(6).any(|w| matches!(w, b"EXAMPL" | b"XXXXXX" | b"xxxxxx"))
}

/// Whether something fills the value in: the marks of some two dozen template languages.
pub fn is_template(value: &[u8]) -> bool {
    let has = |part: &[u8]| find(value, part).is_some();
    let mut pairs = value.windows(2);
    if pairs.any(|pair| matches!(pair, b"${" | b"$(" | b"{{" | b"<%" | b"#{" | b"$_" | b"[[" | b"{%")) {
        return true;
    }
    if value.starts_with(b"%(")
        || value.contains(&b'(') && (has(b"%env(") || has(b"getenv(") || has(b"(ENV"))
        || value.contains(&b'[') && (has(b"ENV[") || has(b"environ["))
        || has(b"process.env")
    {
        return true;
    }
    let wraps = |sign: &[u8]| value.len() > 2 * sign.len() && value.starts_with(sign) && value.ends_with(sign);
    if (wraps(b"%") || wraps(b"@") || wraps(b"__"))
        && value
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'@' | b'_' | b'.' | b'-'))
    {
        return true;
    }
    if value.first() == Some(&b'{')
        && value.last() == Some(&b'}')
        && value.len() < 80
        && !value.contains(&b'"')
        && !value.contains(&b':')
    {
        return true;
    }
    // $NAME, $1, $name.field
    value.first() == Some(&b'$')
        && value.len() >= 2
        && (value[1].is_ascii_alphabetic() || value[1] == b'_' || value.len() <= 3)
        && value[1..]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b':' | b'/' | b'@'))
        && !value[1..].starts_with(b"2a$")
}

fn is_path(value: &[u8]) -> bool {
    let plain = value
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'~' | b'\\' | b':' | b'*'));
    if !plain {
        return false;
    }
    let parts = value.iter().filter(|b| matches!(b, b'/' | b'\\')).count();
    let starts = matches!(value[0], b'/' | b'~')
        || value.starts_with(b"./")
        || value.starts_with(b"../")
        || value.get(1..3) == Some(b":\\");
    if starts {
        return !value
            .split(|b| matches!(b, b'/' | b'\\'))
            .any(|part| part.len() >= 16 && random::is_random(part));
    }
    // A file by its ending.
    let ends = [
        &b".pem"[..],
        b".key",
        b".crt",
        b".cer",
        b".jks",
        b".p12",
        b".pfx",
        b".txt",
        b".json",
        b".yaml",
        b".yml",
        b".conf",
        b".keytab",
        b".properties",
        b".env",
        b".php",
        b".html",
        b".svc",
        b".local",
        b".pub",
        b".asc",
        b".gpg",
        b".tfvars",
        b".ini",
        b".xml",
        b".sock",
        b".gz",
        b".sh",
        b".py",
        b".js",
    ];
    if ends
        .iter()
        .any(|end| value.len() > end.len() && value[value.len() - end.len()..].eq_ignore_ascii_case(end))
    {
        return true;
    }
    parts >= 1
        && value
            .split(|b| *b == b'/')
            .all(|part| part.len() < 20 && (part.len() < 8 || random::score(part) < 0.0))
}

/// An expression of a program: `app.config["x"]`, `get_password()`, `obj.password`.
fn is_code(value: &[u8]) -> bool {
    if value.ends_with(b"()")
        || value.ends_with(b");")
        || (value.contains(&b'(') && value.ends_with(b")") && !value.contains(&b' '))
    {
        return value[0].is_ascii_alphabetic() || value[0] == b'_' || value[0] == b'$';
    }
    if find(value, b"[\"").is_some()
        || find(value, b"['").is_some()
        || find(value, b"->").is_some()
        || find(value, b"::").is_some() && value.len() < 60 && !has_digit(value)
    {
        return true;
    }
    let dots = value.iter().filter(|b| **b == b'.').count();
    dots >= 1
        && !has_digit(value)
        && value.split(|b| *b == b'.').all(|part| {
            part.len() >= 2
                && part.len() <= 30
                && part.iter().all(|b| b.is_ascii_alphabetic() || *b == b'_')
                && random::score(part) < 0.0
        })
}

fn is_host(value: &[u8]) -> bool {
    value.iter().filter(|b| **b == b'.').count() >= 2
        && value
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':'))
        && value.split(|b| *b == b'.').all(|part| part.len() < 16)
}

fn is_number(value: &[u8]) -> bool {
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = &value[digits..];
    let unit = rest.len() <= 3 && rest.iter().all(u8::is_ascii_lowercase);
    let time = value.iter().all(|b| {
        b.is_ascii_digit() || matches!(b, b'.' | b':' | b'-' | b'+' | b'e' | b'T' | b'Z' | b'_' | b',' | b'x')
    });
    // Fourteen digits and more are none that anybody counts with.
    (digits > 0 && unit && digits < 14) || (time && value.len() < 30 && value[0] != b'x')
}

/// Text for people: several words, or a word of the language with a sign of its own.
fn is_phrase(value: &[u8]) -> bool {
    if value.iter().any(|b| *b >= 0x80) {
        // A secret is typed; what cannot be typed everywhere is a label.
        return true;
    }
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let count = words.clone().count();
    count >= 2
        && words.all(|word| {
            let letters = word.iter().filter(|b| b.is_ascii_alphabetic()).count();
            word.len() < 20 && (letters * 10 >= word.len() * 7 || word.len() <= 3)
        })
}

/// Bitnami SealedSecret: `Ag` and base64 of RSA-OAEP and AES-GCM, never short.
fn is_sealed(value: &[u8]) -> bool {
    value.len() >= 80
        && value.starts_with(b"Ag")
        && value
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
}

/// RFC 7516: five parts.
fn is_jwe(value: &[u8]) -> bool {
    value.starts_with(b"eyJ") && value.iter().filter(|b| **b == b'.').count() == 4
}

pub fn has_digit(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_digit)
}

pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

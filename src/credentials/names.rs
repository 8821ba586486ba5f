//! What a name says about its value: `db.password`, `STRIPE_API_KEY`, `passwordPolicy`, `пароль`.

use std::sync::LazyLock;

use hashbrown::HashMap;

use super::words::{NEUTRAL, OF_SECRET_KEYS, PASSWORD, PUBLIC, SECRET, SERVICES};

/// What a value of this name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Nothing that matters here.
    Other,
    /// Says that the value is for everybody: a public key, a digest, an identifier.
    Public,
    /// A service that gives keys, or a bare `key`.
    Service,
    /// A secret if it looks drawn at random.
    Secret,
    /// A secret whatever it is.
    Password,
}

/// Longer names are cut: the end says what it is.
const LONGEST: usize = 96;
/// Words of one name that are looked at, from its end.
const WORDS: usize = 12;

/// What a word is; bits, as one may be several things.
mod is {
    pub const PASSWORD: u8 = 1;
    pub const SECRET: u8 = 2;
    /// Makes a key a secret when it stands before it.
    pub const OF_KEYS: u8 = 4;
    pub const PUBLIC: u8 = 8;
    pub const NEUTRAL: u8 = 16;
    pub const SERVICE: u8 = 32;
}

static WORDS_OF: LazyLock<HashMap<&'static [u8], u8>> = LazyLock::new(|| {
    let mut words = HashMap::new();
    for (list, bit) in [
        (PASSWORD, is::PASSWORD),
        (SECRET, is::SECRET),
        (OF_SECRET_KEYS, is::OF_KEYS),
        (PUBLIC, is::PUBLIC),
        (NEUTRAL, is::NEUTRAL),
        (SERVICES, is::SERVICE),
    ] {
        for word in list.split_ascii_whitespace() {
            *words.entry(word.as_bytes()).or_insert(0) |= bit;
        }
    }
    words
});

/// What a word is.
fn word(word: &[u8]) -> u8 {
    WORDS_OF.get(word).copied().unwrap_or(0)
}

/// Ends of words that are written together with what is before them: `PGPASSWORD`, `nexusPassword`, `authtoken`.
const PASSWORD_ENDS: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passphrase",
    b"passwort",
    b"pwd",
    b"passcode",
    b"kennwort",
    b"wachtwoord",
    b"contrasena",
    b"salasana",
];
const SECRET_ENDS: &[&[u8]] = &[
    b"secret",
    b"token",
    b"apikey",
    b"secretkey",
    b"accesskey",
    b"privatekey",
    b"authkey",
    b"secretaccesskey",
    b"credentials",
    b"signingkey",
    b"encryptionkey",
    b"apisecret",
    b"presharedkey",
    b"accountkey",
    b"masterkey",
    b"samplekey",
    b"licensekey",
];
/// Words that end like one of those and are none.
const NOT_ENDS: &[&[u8]] = &[
    b"nonsecret",
    b"usepassword",
    b"nopassword",
    b"existingsecret",
    b"tlssecret",
    b"imagepullsecret",
    b"pullsecret",
    b"certsecret",
    b"nametoken",
    b"externalsecret",
    b"sealedsecret",
];

const WORDS_IN_KEY: &[&[u8]] = &[
    b"monkey",
    b"turkey",
    b"hockey",
    b"jockey",
    b"donkey",
    b"whiskey",
    b"hotkey",
    b"rowkey",
    b"sortkey",
    b"groupkey",
    b"primarykey",
    b"foreignkey",
    b"partitionkey",
    b"cachekey",
    b"pubkey",
    b"publickey",
    b"turnkey",
    b"lackey",
    b"malarkey",
    b"hashkey",
    b"rangekey",
    b"objectkey",
    b"mapkey",
    b"itemkey",
    b"labelkey",
    b"nodekey",
    b"indexkey",
    b"fieldkey",
    b"subkey",
];

/// A name in lower case, as words.
pub struct Words {
    text: [u8; LONGEST * 2],
    ends: [(u8, u8); WORDS],
    count: usize,
}

impl Words {
    /// The words of a name, the last first: split where case changes, and at every sign.
    pub fn of(name: &[u8]) -> Words {
        let mut from = name.len().saturating_sub(LONGEST);
        while from < name.len() && name[from] & 0xc0 == 0x80 {
            from += 1;
        }
        let name = &name[from..];
        let mut words = Words {
            text: [0; LONGEST * 2],
            ends: [(0, 0); WORDS],
            count: 0,
        };
        let mut length = 0;
        let mut starts = [(0_u8, 0_u8); LONGEST];
        let mut found = 0;
        let mut begun: Option<usize> = None;
        if name.is_ascii() {
            words.split_ascii(name);
            return words;
        }
        let text = String::from_utf8_lossy(name);
        let mut before = '\0';
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let letter = c.is_alphanumeric() || is_mark(c);
            let humps = c.is_uppercase()
                && (before.is_lowercase()
                    || (before.is_uppercase() && chars.peek().is_some_and(|next| next.is_lowercase())));
            let digit = c.is_ascii_digit() && !before.is_ascii_digit() && before.is_alphabetic();
            if (!letter || humps || digit)
                && let Some(start) = begun.take()
                && found < LONGEST
            {
                starts[found] = (start as u8, length as u8);
                found += 1;
            }
            if letter && length + 4 <= words.text.len() {
                begun.get_or_insert(length);
                for lower in c.to_lowercase() {
                    // A sign that a letter carries as a character of its own is no part of the word in our lists.
                    if length + lower.len_utf8() <= words.text.len() && lower != '\u{307}' {
                        length += lower.encode_utf8(&mut words.text[length..]).len();
                    }
                }
            }
            before = c;
        }
        if let Some(start) = begun
            && found < LONGEST
        {
            starts[found] = (start as u8, length as u8);
            found += 1;
        }
        for &range in starts[..found].iter().rev().take(WORDS) {
            words.ends[words.count] = range;
            words.count += 1;
        }
        words
    }

    /// The same for names without other letters, which most are.
    fn split_ascii(&mut self, name: &[u8]) {
        self.text[..name.len()].copy_from_slice(name);
        self.text[..name.len()].make_ascii_lowercase();
        let mut end = name.len();
        while end > 0 && self.count < WORDS {
            if !name[end - 1].is_ascii_alphanumeric() {
                end -= 1;
                continue;
            }
            let mut start = end - 1;
            while start > 0 && name[start - 1].is_ascii_alphanumeric() {
                let (a, b) = (name[start - 1], name[start]);
                let humps = b.is_ascii_uppercase()
                    && (a.is_ascii_lowercase()
                        || (a.is_ascii_uppercase() && name.get(start + 1).is_some_and(u8::is_ascii_lowercase)));
                let digit = b.is_ascii_digit() && a.is_ascii_alphabetic();
                if humps || digit {
                    break;
                }
                start -= 1;
            }
            self.ends[self.count] = (start as u8, end as u8);
            self.count += 1;
            end = start;
        }
    }

    /// The word at this place, counted from the end of the name.
    pub fn get(&self, at: usize) -> &[u8] {
        match self.ends[..self.count].get(at) {
            Some(&(start, end)) => &self.text[usize::from(start)..usize::from(end)],
            None => b"",
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).map(|at| self.get(at))
    }

    /// Words from `at` on and the ones before it, written together: `api` and `key`.
    fn joined<'b>(&self, at: usize, count: usize, buffer: &'b mut [u8; LONGEST]) -> &'b [u8] {
        let mut length = 0;
        for word in (at..at + count).rev().map(|at| self.get(at)) {
            let room = (LONGEST - length).min(word.len());
            buffer[length..length + room].copy_from_slice(&word[..room]);
            length += room;
        }
        &buffer[..length]
    }
}

/// Vowel signs and such, which are no letters by themselves.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{9ff}' | '\u{b80}'..='\u{bff}' | '\u{e00}'..='\u{e7f}' | '\u{610}'..='\u{65f}')
}

/// Whether a word of the name can make its value a password or a secret. What passes is looked at word by word.
#[inline]
pub fn may_matter(name: &[u8]) -> bool {
    let mut window = 0_u32;
    for (at, &b) in name.iter().enumerate() {
        window = window << 8 | u32::from(b | 0x20);
        if b >= 0x80 {
            return true;
        }
        // Words are told by their ends.
        if name.get(at + 1).is_some_and(u8::is_ascii_lowercase) {
            continue;
        }
        if (at >= 3 && STEMS.ends(window))
            | (at >= 2 && STEMS.is_short(window))
            | (window as u16 == u16::from_be_bytes(*b"pw"))
        {
            return true;
        }
    }
    may_end(name)
}

/// The same for a word by its last letters, in few steps.
#[inline]
pub fn is_stem(word: &[u8]) -> bool {
    match word.last_chunk::<4>() {
        Some(end) => {
            let window = u32::from_be_bytes(*end) | 0x2020_2020;
            STEMS.ends(window)
                | STEMS.is_short(window)
                | (window as u16 == u16::from_be_bytes(*b"pw"))
                | (end[3] >= 0x80)
        }
        None => may_end(word),
    }
}

/// The same for its last word alone, without the number behind it.
#[inline]
pub fn may_end(name: &[u8]) -> bool {
    let mut name = name;
    while let [rest @ .., last] = name
        && (last.is_ascii_digit() || matches!(last, b'_' | b'-' | b'.'))
    {
        name = rest;
    }
    // `TOKEN_PART_A`
    if let [rest @ .., b'_', _] = name {
        name = rest;
    }
    match name {
        [.., a, b, c, d] => {
            let four = lower(&[*a, *b, *c, *d]);
            STEMS.ends(four) || STEMS.is_short(four) || *d >= 0x80 || matches!([c | 0x20, d | 0x20], [b'p', b'w'])
        }
        [a, b, c] => STEMS.is_short(lower(&[*a, *b, *c])) || *c >= 0x80,
        [a, b] => matches!([a | 0x20, b | 0x20], [b'p', b'w'] | [b's', b'k'] | [b'a', b'k']),
        _ => false,
    }
}

/// How the words end that matter: one bit for each hash of four bytes, and of words of three.
struct Stems {
    four: Box<[u64; 1024]>,
    three: Box<[u64; 64]>,
}

static STEMS: LazyLock<Stems> = LazyLock::new(|| {
    let mut stems = Stems {
        four: Box::new([0; 1024]),
        three: Box::new([0; 64]),
    };
    for word in [PASSWORD, SECRET, "key keys"]
        .into_iter()
        .flat_map(str::split_ascii_whitespace)
    {
        let bytes = word.as_bytes();
        if let Some(end) = bytes.last_chunk::<4>() {
            let bit = stem(lower(end));
            stems.four[bit >> 6] |= 1 << (bit & 63);
        } else if bytes.len() == 3 {
            let bit = stem(lower(bytes)) & 4095;
            stems.three[bit >> 6] |= 1 << (bit & 63);
        }
    }
    stems
});

impl Stems {
    #[inline]
    fn ends(&self, four: u32) -> bool {
        let bit = stem(four);
        self.four[bit >> 6] >> (bit & 63) & 1 == 1
    }

    #[inline]
    fn is_short(&self, window: u32) -> bool {
        let bit = stem(window & 0xff_ffff) & 4095;
        self.three[bit >> 6] >> (bit & 63) & 1 == 1
    }
}

/// Whether the name of a service can be in a line.
pub fn may_serve(line: &[u8]) -> bool {
    static STARTS: LazyLock<Vec<u64>> = LazyLock::new(|| {
        let mut bits = vec![0_u64; 1 << 10];
        for word in SERVICES.split_ascii_whitespace() {
            if let Some(start) = word.as_bytes().first_chunk::<4>() {
                let bit = stem(lower(start));
                bits[bit >> 6] |= 1 << (bit & 63);
            }
        }
        bits
    });
    let starts = &**STARTS;
    line.windows(4).any(|w| {
        let bit = stem(lower(w));
        starts[bit >> 6] >> (bit & 63) & 1 == 1
    })
}

/// Up to four bytes, without case.
#[inline]
fn lower(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |window, b| window << 8 | u32::from(b | 0x20))
}

#[inline]
fn stem(window: u32) -> usize {
    (window.wrapping_mul(0x9e37_79b1) >> 16) as usize
}

/// What a value of this name is.
pub fn classify(name: &[u8]) -> Name {
    if !may_matter(name) {
        return Name::Other;
    }
    of_words(&Words::of(name))
}

pub fn of_words(words: &Words) -> Name {
    let mut at = 0;
    // `DB_PASSWORD_1`, `token_part_a`, `password_base64`.
    while at < words.count && at < 4 && (is_number(words.get(at)) || word(words.get(at)) & is::NEUTRAL != 0) {
        at += 1;
    }
    let mut best = of_last(words, at);
    if at > 0 {
        best = best.max(of_last(words, 0));
    }
    if best > Name::Public
        && words.iter().any(|word| {
            matches!(
                word,
                b"public" | b"publishable" | b"csrf" | b"xsrf" | b"vapid" | b"recaptcha" | b"pub"
            )
        })
    {
        return Name::Public;
    }
    best
}

fn of_last(words: &Words, at: usize) -> Name {
    let last = words.get(at);
    let before = words.get(at + 1);
    let mut buffer = [0; LONGEST];
    for count in [3, 2] {
        let joined = words.joined(at, count, &mut buffer);
        if joined.len() == last.len() {
            continue;
        }
        match word(joined) {
            bits if bits & is::PASSWORD != 0 => return Name::Password,
            bits if bits & is::SECRET != 0 => return Name::Secret,
            bits if bits & is::PUBLIC != 0 => return Name::Public,
            _ => {}
        }
    }
    let (bits, bits_before) = (word(last), word(before));
    if bits & is::PASSWORD != 0 {
        return match before {
            b"no" | b"use" | b"has" | b"allow" | b"enable" | b"disable" | b"require" | b"change" | b"reset"
            | b"forgot" | b"min" | b"max" | b"show" | b"hide" => Name::Other,
            _ => Name::Password,
        };
    }
    if matches!(last, b"key" | b"keys") {
        return match bits_before {
            bits if bits & is::PUBLIC != 0 => Name::Public,
            bits if bits & (is::OF_KEYS | is::SERVICE | is::SECRET) != 0 => Name::Secret,
            _ => Name::Service,
        };
    }
    if bits & is::SECRET != 0 {
        return match before {
            b"existing" | b"pull" | b"tls" | b"use" | b"has" | b"no" | b"enable" | b"disable" | b"max" | b"min"
            | b"next" => Name::Other,
            _ if bits_before & is::PUBLIC != 0 => Name::Public,
            _ => Name::Secret,
        };
    }
    if PASSWORD_ENDS.iter().any(|end| last.ends_with(end)) && !NOT_ENDS.contains(&last) {
        return Name::Password;
    }
    if SECRET_ENDS.iter().any(|end| last.ends_with(end)) && !NOT_ENDS.contains(&last) {
        return Name::Secret;
    }
    if bits & is::PUBLIC != 0 {
        return Name::Public;
    }
    // `codakey`, `sumokey`, and none of the English words.
    if last.len() > 4 && last.ends_with(b"key") && !WORDS_IN_KEY.contains(&last) {
        return Name::Service;
    }
    if bits & is::SERVICE != 0 {
        Name::Service
    } else {
        Name::Other
    }
}

fn is_number(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

/// Names of things that look drawn at random and are for everybody: identifiers and digests.
pub fn is_identifier(words: &Words) -> bool {
    let last = words.get(0);
    word(last) & is::PUBLIC != 0
        || matches!(
            last,
            b"id"
                | b"ids"
                | b"uid"
                | b"uuid"
                | b"guid"
                | b"sha"
                | b"ref"
                | b"version"
                | b"name"
                | b"url"
                | b"uri"
                | b"arn"
                | b"address"
                | b"accessor"
                | b"kid"
                | b"nonce"
                | b"iv"
                | b"salt0"
                | b"tag"
                | b"tags"
                | b"user"
                | b"email"
                | b"host"
                | b"domain"
                | b"path"
                | b"file"
                | b"dir"
        )
        || words.iter().any(|word| {
            matches!(
                word,
                b"sha1"
                    | b"sha256"
                    | b"sha512"
                    | b"md5"
                    | b"digest"
                    | b"checksum"
                    | b"integrity"
                    | b"commit"
                    | b"etag"
                    | b"fingerprint"
                    | b"uuid"
                    | b"public"
                    | b"csrf"
                    | b"certificate"
                    | b"cert"
                    | b"image"
                    | b"dnskey"
                    | b"bucket"
                    | b"dashboard"
            )
        })
}

/// Whether a word before a value says that it is secret.
pub fn is_secret_word(text: &[u8]) -> bool {
    word(text) & (is::SECRET | is::PASSWORD) != 0 || matches!(text, b"key" | b"access" | b"api" | b"private")
}

pub fn is_service(text: &[u8]) -> bool {
    word(text) & is::SERVICE != 0
}

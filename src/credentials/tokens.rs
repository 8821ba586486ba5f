//! Tokens that have a form of their own, found by how they begin.

use std::sync::LazyLock;

use super::kinds::{Check, Kind, TOKENS, class};
use super::{random, values};

/// A form, by its first bytes.
struct Form {
    prefix: &'static [u8],
    rest: &'static [u8],
    kind: &'static Kind,
}

struct Forms {
    /// Which first four, three and two bytes there are: one bit for each hash.
    begins: [Box<[u64; 1024]>; 3],
    /// By first byte, the longest beginning first.
    forms: Vec<Form>,
    /// Forms that begin with a run, or with one letter.
    open: Vec<Form>,
}

static FORMS: LazyLock<Forms> = LazyLock::new(|| {
    let mut begins = [(); 3].map(|()| Box::new([0_u64; 1024]));
    let (mut forms, mut open) = (Vec::new(), Vec::new());
    for kind in TOKENS {
        for form in kind.forms.split_ascii_whitespace() {
            let bytes = form.as_bytes();
            let literal = bytes.iter().position(|b| *b == b'<').unwrap_or(bytes.len());
            let form = Form {
                prefix: &bytes[..literal],
                rest: &bytes[literal..],
                kind,
            };
            if literal < 2 {
                open.push(form);
                continue;
            }
            let width = literal.min(4);
            let bit = mix(&bytes[..width]);
            begins[4 - width][bit >> 6] |= 1 << (bit & 63);
            forms.push(form);
        }
    }
    forms.sort_by(|a, b| a.prefix[0].cmp(&b.prefix[0]).then(b.prefix.len().cmp(&a.prefix.len())));
    Forms { begins, forms, open }
});

#[inline]
fn mix(bytes: &[u8]) -> usize {
    let word = bytes.iter().fold(0_u32, |word, b| word << 8 | u32::from(*b));
    (word.wrapping_mul(0x9e37_79b1) >> 16) as usize
}

/// A token in a text.
pub struct Token {
    pub end: usize,
    pub kind: &'static Kind,
    /// The check sum of the format is right, or there is none.
    pub checked: bool,
    /// How much of its beginning says only what it is.
    pub prefix: usize,
}

/// Whether a token may begin with these bytes.
#[inline]
pub fn may_begin(text: &[u8]) -> bool {
    let [four, three, two] = &FORMS.begins;
    let has = |bits: &[u64; 1024], bytes: &[u8]| {
        let bit = mix(bytes);
        bits[bit >> 6] >> (bit & 63) & 1 == 1
    };
    match text {
        [a, b, c, d, ..] => has(four, &[*a, *b, *c, *d]) || has(three, &[*a, *b, *c]) || has(two, &[*a, *b]),
        _ => false,
    }
}

/// The token that begins here, if one does.
pub fn at(text: &[u8], start: usize) -> Option<Token> {
    let forms = &FORMS.forms;
    let first = text[start];
    let from = forms.partition_point(|form| form.prefix[0] < first);
    forms[from..]
        .iter()
        .take_while(|form| form.prefix[0] == first)
        .find_map(|form| form.matches(text, start))
}

/// The same for forms that begin with a run of characters.
pub fn open_at(text: &[u8], start: usize) -> Option<Token> {
    FORMS.open.iter().find_map(|form| form.matches(text, start))
}

impl Form {
    fn matches(&self, text: &[u8], start: usize) -> Option<Token> {
        let body = start + self.prefix.len();
        if !text[start..].starts_with(self.prefix) {
            return None;
        }
        let mut end = body;
        let mut rest = self.rest;
        let mut last: Option<fn(u8) -> bool> = None;
        let mut full = false;
        while let Some((&b, more)) = rest.split_first() {
            if b != b'<' {
                if text.get(end) != Some(&b) {
                    return None;
                }
                end += 1;
                rest = more;
                last = None;
                continue;
            }
            let close = more.iter().position(|b| *b == b'>')?;
            let (run, after) = (&more[..close], &more[close + 1..]);
            rest = after;
            let (least, most) = bounds(&run[2..])?;
            let of = class(run[0]);
            // A run of anything ends where the next sign of the form is.
            let stop = rest.first().copied().filter(|b| *b != b'<');
            let count = text[end..]
                .iter()
                .take(most)
                .take_while(|b| of(**b) && (stop != Some(**b) || of(b'$')))
                .count();
            if count < least {
                return None;
            }
            end += count;
            full = count == most;
            last = Some(of);
        }
        // What goes on is another thing: a longer identifier, or a mask.
        let next = text.get(end).copied().unwrap_or(b' ');
        if full && (last.is_some_and(|of| of(next)) || next.is_ascii_alphanumeric()) {
            return None;
        }
        if matches!(next, b'#' | b'*' | b'{' | b'$') && self.kind.check != Check::None {
            return None;
        }
        let token = &text[start..end];
        let found = &text[body..end];
        let prefix = self.prefix.len();
        let check = self.kind.check;
        if !matches!(check, Check::None | Check::Jwt) && !varied(found) {
            return None;
        }
        let checked = match check {
            Check::None => values::find(token, b"xxxxxx").is_none() && !random::is_repetitive(found),
            Check::Base62Crc32 => has_base62_crc(found),
            Check::HexCrc32 => has_hex_crc(token),
            Check::Random => true,
            Check::Jwt => super::decode::base64(&token[..token.iter().position(|b| *b == b'.')?])?.starts_with(b"{"),
        };
        if !checked && matches!(check, Check::None | Check::Jwt) {
            return None;
        }
        Some(Token {
            end,
            kind: self.kind,
            checked,
            prefix,
        })
    }
}

/// `n` or `n-m`.
fn bounds(text: &[u8]) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(text).ok()?;
    match text.split_once('-') {
        Some((least, most)) => Some((least.parse().ok()?, most.parse().ok()?)),
        None => {
            let n = text.parse().ok()?;
            Some((n, n))
        }
    }
}

/// Not a placeholder, and no words: the body of a token is drawn at random.
fn varied(body: &[u8]) -> bool {
    if body.len() < 12 {
        return !random::is_repetitive(body);
    }
    if random::is_repetitive(body) || values::find(body, b"EXAMPLE").is_some() || has_mask(body) {
        return false;
    }
    let digits = body.iter().filter(|b| b.is_ascii_digit()).count();
    let ends_in_uuid = body.len() >= 36 && random::is_uuid(&body[body.len() - 36..]);
    if digits * 10 >= body.len() * 6 || ends_in_uuid {
        return true;
    }
    if digits >= 2 && random::score(body) > -4.0 {
        return true;
    }
    // No digits: only chance has letters in such an order.
    random::is_random(body) || values::parts_random(body) || (digits >= 2 && body.len() >= 16 && !words(body))
}

fn words(body: &[u8]) -> bool {
    body.split(|b| !b.is_ascii_alphanumeric())
        .all(|part| part.len() < 8 || random::score(part) < -1.0)
}

/// A long run of one character, as people write it where the rest of a token would be.
fn has_mask(body: &[u8]) -> bool {
    body.windows(6)
        .any(|w| w.iter().all(|b| b.eq_ignore_ascii_case(&w[0])) && !w[0].is_ascii_digit() && w[0] != b'A')
}

fn crc32(text: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(text);
    crc.sum()
}

fn has_base62_crc(body: &[u8]) -> bool {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((random, sum)) = body.split_last_chunk::<6>() else {
        return false;
    };
    let mut crc = crc32(random);
    sum.iter().rev().all(|b| {
        let digit = DIGITS[(crc % 62) as usize];
        crc /= 62;
        digit == *b
    })
}

fn has_hex_crc(token: &[u8]) -> bool {
    let Some((text, sum)) = token.split_last_chunk::<8>() else {
        return false;
    };
    let sum = std::str::from_utf8(sum)
        .ok()
        .and_then(|sum| u32::from_str_radix(sum, 16).ok());
    let text = text.strip_suffix(b"_").unwrap_or(text);
    sum == Some(crc32(text))
}

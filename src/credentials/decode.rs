//! What text is wrapped in: base64, hexadecimal digits, gzip, UTF-16, escapes. Bounded in depth, size and ratio.
//!
//! Decoded bytes may be secrets, and are wiped when they are let go.

use std::io::Read;

use zeroize::Zeroizing;

/// Layers that are taken off one another.
pub const DEPTH: u8 = 4;
/// Decoded bytes of one value.
pub const MOST: usize = 4 << 20;
/// What is compressed further is made to cost, not to be read.
const RATIO: usize = 200;

pub type Decoded = Zeroizing<Vec<u8>>;

fn value(b: u8) -> u32 {
    match b {
        b'A'..=b'Z' => u32::from(b - b'A'),
        b'a'..=b'z' => u32::from(b - b'a') + 26,
        b'0'..=b'9' => u32::from(b - b'0') + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => 64,
    }
}

/// Base64 of either alphabet (RFC 4648), with line breaks and with or without padding.
pub fn base64(text: &[u8]) -> Option<Decoded> {
    let mut out = Zeroizing::new(Vec::with_capacity((text.len() / 4 * 3 + 3).min(MOST)));
    let (mut bits, mut held, mut ended) = (0_u32, 0, false);
    for &b in text {
        match b {
            b'\n' | b'\r' | b' ' | b'\t' => continue,
            b'=' => {
                ended = true;
                continue;
            }
            _ => {}
        }
        let six = value(b);
        if six > 63 || ended {
            return None;
        }
        bits = bits << 6 | six;
        held += 6;
        if held >= 8 {
            held -= 8;
            if out.len() >= MOST {
                return None;
            }
            out.push((bits >> held) as u8);
        }
    }
    (held < 6).then_some(out)
}

/// The first bytes that base64 stands for: enough to see whether the rest is worth it.
pub fn base64_head(text: &[u8]) -> ([u8; 48], usize) {
    let mut out = [0; 48];
    let mut length = 0;
    let (mut bits, mut held) = (0_u32, 0);
    for &b in text.iter().take(64) {
        let six = value(b);
        if six > 63 {
            break;
        }
        bits = bits << 6 | six;
        held += 6;
        if held >= 8 {
            held -= 8;
            out[length] = (bits >> held) as u8;
            length += 1;
        }
    }
    (out, length)
}

pub fn hex(text: &[u8]) -> Option<Decoded> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let mut digits = text.iter().filter(|b| !b.is_ascii_whitespace());
    while let Some(high) = digits.next() {
        let low = digits.next()?;
        out.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(out)
}

/// Base32 (RFC 4648, section 6).
pub fn base32(text: &[u8]) -> Option<Decoded> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 8 * 5 + 5));
    let (mut bits, mut held) = (0_u64, 0);
    for &b in text {
        let five = match b {
            b'A'..=b'Z' => b - b'A',
            b'2'..=b'7' => b - b'2' + 26,
            b'=' | b'\n' | b'\r' => continue,
            _ => return None,
        };
        bits = bits << 5 | u64::from(five);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

/// Text that looks like text: nothing below a space but line ends and tabs, and no broken UTF-8 at its beginning.
pub fn is_text(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(512)];
    let odd = head
        .iter()
        .filter(|b| **b < 0x20 && !matches!(**b, b'\n' | b'\r' | b'\t' | 0x1b))
        .count();
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none() && e.valid_up_to() > 0,
    };
    !head.is_empty() && odd == 0 && valid && !head.contains(&0x7f)
}

/// Whether decoded bytes are worth a look, by their first ones.
pub fn is_known(head: &[u8]) -> bool {
    is_text(head) || Container::of(head).is_some()
}

/// Bytes that hold others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Gzip,
    Zlib,
    Zip,
    Utf16Little,
    Utf16Big,
    Utf8Mark,
    JavaKeystore,
    /// DER: a key, a certificate or PKCS#12.
    Der,
}

impl Container {
    pub fn of(bytes: &[u8]) -> Option<Container> {
        Some(match bytes {
            [0x1f, 0x8b, 8, ..] => Container::Gzip,
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Container::Zlib,
            [b'P', b'K', 3, 4, ..] => Container::Zip,
            [0xff, 0xfe, ..] => Container::Utf16Little,
            [0xfe, 0xff, ..] => Container::Utf16Big,
            [0xef, 0xbb, 0xbf, ..] => Container::Utf8Mark,
            [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => Container::JavaKeystore,
            [0x30, 0x82, _, _, 0x02 | 0x30, ..] | [0x30, 0x81, _, 0x02 | 0x30, ..] => Container::Der,
            // UTF-16 without a mark: every other byte of the first ones is zero.
            [a, 0, b, 0, c, 0, d, 0, ..] if [a, b, c, d].iter().all(|b| **b >= 9 && **b < 0x7f) => {
                Container::Utf16Little
            }
            [0, a, 0, b, 0, c, 0, d, ..] if [a, b, c, d].iter().all(|b| **b >= 9 && **b < 0x7f) => Container::Utf16Big,
            _ => return None,
        })
    }
}

/// Takes one layer off.
pub fn unwrap(container: Container, bytes: &[u8], mut give: impl FnMut(&[u8])) {
    match container {
        Container::Gzip => {
            if let Some(out) = inflate(flate2::read::MultiGzDecoder::new(bytes), bytes.len()) {
                give(&out);
            }
        }
        Container::Zlib => {
            if let Some(out) = inflate(flate2::read::ZlibDecoder::new(bytes), bytes.len()) {
                give(&out);
            }
        }
        Container::Zip => zip(bytes, give),
        Container::Utf16Little => give(&utf16(bytes, u16::from_le_bytes)),
        Container::Utf16Big => give(&utf16(bytes, u16::from_be_bytes)),
        Container::Utf8Mark => give(&bytes[3..]),
        Container::JavaKeystore | Container::Der => {}
    }
}

/// What was compressed, up to the bounds; what is broken gives what came before.
fn inflate(reader: impl Read, compressed: usize) -> Option<Decoded> {
    let most = MOST.min(compressed.saturating_mul(RATIO).max(4096));
    let mut out = Zeroizing::new(Vec::with_capacity(compressed.saturating_mul(4).min(most)));
    let mut reader = reader.take(most as u64);
    let mut block = Zeroizing::new([0; 4096]);
    while let Ok(n @ 1..) = reader.read(&mut *block) {
        // Growing by hand: what a vector leaves behind as it grows is not wiped.
        if out.len() + n > out.capacity() {
            let mut more = Zeroizing::new(Vec::with_capacity((out.len() + n).max(out.capacity() * 2)));
            more.extend_from_slice(&out);
            out = more;
        }
        out.extend_from_slice(&block[..n]);
    }
    (!out.is_empty()).then_some(out)
}

/// The entries of a ZIP archive that say how long they are (APPNOTE.TXT, 4.3.7).
fn zip(bytes: &[u8], mut give: impl FnMut(&[u8])) {
    let mut at = 0;
    for _ in 0..64 {
        let Some(header) = bytes.get(at..at + 30).filter(|h| h.starts_with(b"PK\x03\x04")) else {
            return;
        };
        let short = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let size = u32::from_le_bytes([header[18], header[19], header[20], header[21]]) as usize;
        let start = at + 30 + short(26) + short(28);
        let end = start.saturating_add(size);
        let Some(data) = bytes
            .get(start..end.min(bytes.len()))
            .filter(|_| size > 0 && end <= bytes.len())
        else {
            return;
        };
        match short(8) {
            0 => give(data),
            8 => {
                if let Some(out) = inflate(flate2::read::DeflateDecoder::new(data), data.len()) {
                    give(&out);
                }
            }
            _ => {}
        }
        at = end;
    }
}

fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> Decoded {
    let units = bytes.chunks_exact(2).map(|pair| order([pair[0], pair[1]]));
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len() * 2));
    for c in char::decode_utf16(units.take(MOST)) {
        let c = c.unwrap_or('\u{fffd}');
        if c != '\u{feff}' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out
}

/// Escapes of strings: `\u0070`, `\x70`, `\n`, `\"`. Line breaks stay line breaks.
pub fn escapes(text: &[u8]) -> Decoded {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    let mut high: Option<u32> = None;
    while at < text.len() {
        let b = text[at];
        if b != b'\\' {
            out.push(b);
            at += 1;
            continue;
        }
        let digits = |from: usize, count: usize| {
            let digits = text.get(from..from + count)?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (code, length) = match text.get(at + 1) {
            Some(b'u') => (digits(at + 2, 4), 6),
            Some(b'x') => (digits(at + 2, 2), 4),
            Some(b'n') => (Some(10), 2),
            Some(b'r') => (Some(13), 2),
            Some(b't') => (Some(9), 2),
            Some(sign @ (b'"' | b'\'' | b'\\' | b'/')) => (Some(u32::from(*sign)), 2),
            _ => (None, 1),
        };
        match code {
            Some(code @ 0xd800..=0xdbff) => high = Some(code),
            Some(code) => {
                let code = match high.take() {
                    Some(high) if (0xdc00..=0xdfff).contains(&code) => {
                        0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00)
                    }
                    _ => code,
                };
                let c = char::from_u32(code).unwrap_or('\u{fffd}');
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            None => out.push(b),
        }
        at += if code.is_some() { length } else { 1 };
    }
    out
}

/// `%70` of URLs and `&#112;` and `&amp;` of markup.
pub fn references(text: &[u8]) -> Decoded {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let percent = rest.strip_prefix(b"%").and_then(|rest| {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            Some((u32::from(u8::from_str_radix(digits, 16).ok()?), 3, true))
        });
        let entity = || {
            let end = rest.iter().take(12).position(|b| *b == b';')?;
            let name = std::str::from_utf8(rest.get(1..end)?).ok()?;
            let code = match name {
                "amp" => 38,
                "lt" => 60,
                "gt" => 62,
                "quot" => 34,
                "apos" => 39,
                _ => match name.strip_prefix("#x") {
                    Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                    None => name.strip_prefix('#')?.parse().ok()?,
                },
            };
            Some((code, end + 1, false))
        };
        let found = match rest[0] {
            b'%' => percent,
            b'&' => entity(),
            _ => None,
        };
        match found {
            Some((code, length, byte)) => {
                if byte {
                    out.push(code as u8);
                } else if let Some(c) = char::from_u32(code) {
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                at += length;
            }
            None => {
                out.push(rest[0]);
                at += 1;
            }
        }
    }
    out
}

//! Output strings: compiled once to pieces, rendered to text and to JSON values.

use super::eval::Run;
use super::program::SlotId;
use crate::credentials::mask;
use crate::fields::{Type, Value, View, evt};

/// A compiled output.
#[derive(Debug, Default)]
pub struct Output {
    pub pieces: Vec<Piece>,
    /// The fields it names, by key, each once: what `output_fields` holds.
    pub fields: Vec<OutputField>,
    /// The output as written, after appends.
    pub text: String,
}

#[derive(Debug)]
pub enum Piece {
    Text(Box<str>),
    Field {
        value: Printed,
        /// Pads and cuts to that many columns.
        width: Option<usize>,
    },
}

/// A slot and how its value is printed.
#[derive(Clone, Debug)]
pub struct Printed {
    pub slot: SlotId,
    pub kind: Type,
    pub evt: Option<evt::Computed>,
    /// Credentials in it are masked.
    pub mask: bool,
}

/// A key of `output_fields`.
#[derive(Debug)]
pub struct OutputField {
    pub key: String,
    /// The key as a JSON string with its colon.
    pub json_key: Box<str>,
    pub source: FieldSource,
}

/// Where the value of a key of `output_fields` comes from.
#[derive(Debug)]
pub enum FieldSource {
    Slot(Printed),
    /// Text of its own, from an `extra_fields` alias.
    Pieces(Vec<Piece>),
}

/// Longest text of a list in an output, in bytes.
const MAX_LIST: usize = 1023;

/// Appends the text of an output; what is absent prints as `<NA>`.
pub fn message<V: View>(pieces: &[Piece], run: &mut Run<'_, V>, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Field { value, width: None } => text(value, run, out),
            Piece::Field {
                value,
                width: Some(width),
            } => {
                let start = out.len();
                text(value, run, out);
                pad(out, start, *width);
            }
        }
    }
}

fn pad(out: &mut Vec<u8>, start: usize, width: usize) {
    let printed = String::from_utf8_lossy(&out[start..]).into_owned();
    let length = printed.chars().count();
    match printed.char_indices().nth(width) {
        Some((cut, _)) => {
            out.truncate(start);
            out.extend_from_slice(&printed.as_bytes()[..cut]);
        }
        None => out.extend(std::iter::repeat_n(b' ', width - length)),
    }
}

fn text<V: View>(printed: &Printed, run: &mut Run<'_, V>, out: &mut Vec<u8>) {
    let value = run.slot(printed.slot);
    if let (Value::Uint(n), Some(what)) = (value, printed.evt) {
        return evt::push_number(what, n, out);
    }
    let start = out.len();
    push_text(value, run, out);
    if printed.mask
        && let Some(masked) = mask::text(&out[start..])
    {
        out.truncate(start);
        out.extend_from_slice(&masked);
    }
}

fn push_text<V: View>(value: Value, run: &Run<'_, V>, out: &mut Vec<u8>) {
    match value {
        Value::Absent => out.extend_from_slice(b"<NA>"),
        Value::Text(t) => out.extend_from_slice(run.bytes(t)),
        Value::Bytes(t) => out.extend(
            run.bytes(t)
                .iter()
                .map(|&b| if b.is_ascii_graphic() || b == b' ' { b } else { b'.' }),
        ),
        Value::List(list) => {
            let start = out.len();
            out.push(b'(');
            for (i, item) in run.list(list).iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                push_text(*item, run, out);
            }
            out.push(b')');
            cut(out, start, MAX_LIST);
        }
        scalar => push_scalar(scalar, out),
    }
}

fn cut(out: &mut Vec<u8>, start: usize, max: usize) {
    if out.len() - start > max {
        let mut end = start + max;
        while end > start && out[end] & 0xC0 == 0x80 {
            end -= 1;
        }
        out.truncate(end);
    }
}

fn push_scalar(value: Value, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = match value {
        Value::Uint(n) => write!(out, "{n}"),
        Value::Int(n) => write!(out, "{n}"),
        Value::Double(d) => write!(out, "{d:.1}"),
        Value::Bool(b) => write!(out, "{b}"),
        Value::Ip(ip) => write!(out, "{ip}"),
        _ => Ok(()),
    };
}

/// Appends the JSON value of a key of `output_fields`.
pub fn json_value<V: View>(source: &FieldSource, time: u64, run: &mut Run<'_, V>, out: &mut Vec<u8>) {
    match source {
        FieldSource::Pieces(pieces) => {
            let mut buffer = Vec::new();
            message(pieces, run, &mut buffer);
            push_json_string(&buffer, out);
        }
        // Times print as text in messages and are a number of nanoseconds here.
        FieldSource::Slot(Printed { evt: Some(what), .. }) if what.is_time_text() => {
            push_scalar(Value::Uint(time), out)
        }
        FieldSource::Slot(printed) => {
            let value = run.slot(printed.slot);
            match value {
                Value::Absent => push_json(value, run, out),
                // Masked as text, so that an escape of JSON is none of a secret.
                _ if printed.mask => {
                    let mut buffer = Vec::new();
                    text(printed, run, &mut buffer);
                    push_json_string(&buffer, out);
                }
                _ => push_json(value, run, out),
            }
        }
    }
}

fn push_json<V: View>(value: Value, run: &Run<'_, V>, out: &mut Vec<u8>) {
    match value {
        Value::Absent => out.extend_from_slice(b"null"),
        Value::Text(t) | Value::Bytes(t) => push_json_string(run.bytes(t), out),
        Value::List(list) => {
            out.push(b'[');
            for (i, item) in run.list(list).iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                push_json(*item, run, out);
            }
            out.push(b']');
        }
        Value::Ip(_) => {
            out.push(b'"');
            push_scalar(value, out);
            out.push(b'"');
        }
        scalar => push_scalar(scalar, out),
    }
}

/// Appends bytes as a JSON string; what is not UTF-8 becomes U+FFFD.
pub fn push_json_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    push_escaped(bytes, out);
    out.push(b'"');
}

/// Appends bytes with JSON's escapes, without quotes around them.
///
/// Every other character that could steer a terminal or reverse the reading direction becomes `\uXXXX` too: JSON means
/// the same by it, and both forms of an alert may be printed where they are.
pub fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    push_json_escapes(bytes, out);
    if out[start..].is_ascii() && !out[start..].contains(&0x7f) {
        return;
    }
    let escaped = String::from_utf8_lossy(&out[start..]).into_owned();
    out.truncate(start);
    for c in escaped.chars() {
        if is_steering(c) {
            out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes());
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn push_json_escapes(bytes: &[u8], out: &mut Vec<u8>) {
    if simdutf8::basic::from_utf8(bytes).is_err() {
        let text = String::from_utf8_lossy(bytes).into_owned();
        return push_json_escapes(text.as_bytes(), out);
    }
    let mut plain = 0;
    for (i, &b) in bytes.iter().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..i]);
        plain = i + 1;
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    HEX[usize::from(b >> 4)],
                    HEX[usize::from(b & 15)],
                ]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
}

/// C1 controls, DEL, line separators, bidirectional controls, and invisible characters.
pub fn is_steering(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

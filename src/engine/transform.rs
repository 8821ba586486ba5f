//! The transformers: functions over values.

use super::ast::Transformer;
use crate::fields::{List, Place, Scratch, Text, Value};

/// Applies a transformer to its (one or two) arguments.
pub fn apply(
    transformer: Transformer,
    [first, second]: [Value; 2],
    option: Option<&str>,
    event: &[u8],
    scratch: &mut Scratch,
) -> Value {
    match transformer {
        Transformer::Val => first,
        Transformer::Tolower => each(first, scratch, &mut |text, scratch| {
            Some(mapped(text, event, scratch, u8::to_ascii_lowercase))
        }),
        Transformer::Toupper => each(first, scratch, &mut |text, scratch| {
            Some(mapped(text, event, scratch, u8::to_ascii_uppercase))
        }),
        Transformer::Basename => each(first, scratch, &mut |text, scratch| {
            let slash = memchr::memrchr(b'/', scratch.bytes_of(event, text));
            Some(Text {
                start: text.start + slash.map_or(0, |s| s as u32 + 1),
                ..text
            })
        }),
        Transformer::B64 => each(first, scratch, &mut |text, scratch| base64(text, event, scratch)),
        Transformer::Len => match first {
            Value::Text(text) | Value::Bytes(text) => Value::Uint(scratch.bytes_of(event, text).len() as u64),
            Value::List(list) => Value::Uint(u64::from(list.end - list.start)),
            _ => Value::Absent,
        },
        Transformer::Join => join(first, second, event, scratch),
        Transformer::Concat => Value::Absent,
        Transformer::Getopt => getopt(first, second, option, event, scratch),
    }
}

/// Applies `change` to a text, or to each element of a list of texts.
fn each(value: Value, scratch: &mut Scratch, change: &mut impl FnMut(Text, &mut Scratch) -> Option<Text>) -> Value {
    match value {
        Value::Text(text) => change(text, scratch).map_or(Value::Absent, Value::Text),
        Value::Bytes(text) => change(text, scratch).map_or(Value::Absent, Value::Bytes),
        Value::List(List { start, end }) => {
            let first = scratch.items.len();
            for i in start..end {
                let element = scratch.items[i as usize];
                let changed = each(element, scratch, change);
                if changed.is_absent() {
                    return Value::Absent;
                }
                scratch.items.push(changed);
            }
            scratch.list_from(first)
        }
        _ => Value::Absent,
    }
}

fn mapped(text: Text, event: &[u8], scratch: &mut Scratch, map: fn(&u8) -> u8) -> Text {
    let start = copy(text, event, scratch);
    scratch.bytes[start..].iter_mut().for_each(|b| *b = map(b));
    Text {
        start: start as u32,
        end: scratch.bytes.len() as u32,
        place: Place::Scratch,
    }
}

/// Appends a text to the scratch buffer and returns where it begins.
fn copy(text: Text, event: &[u8], scratch: &mut Scratch) -> usize {
    let start = scratch.bytes.len();
    match text.place {
        Place::Event => scratch
            .bytes
            .extend_from_slice(event.get(text.start as usize..text.end as usize).unwrap_or_default()),
        Place::Scratch => scratch.bytes.extend_from_within(text.start as usize..text.end as usize),
    }
    start
}

/// Decodes base64; padding may be missing. Nothing when the text is not base64.
fn base64(text: Text, event: &[u8], scratch: &mut Scratch) -> Option<Text> {
    let source = copy(text, event, scratch);
    let mut end = scratch.bytes.len();
    while end > source && scratch.bytes[end - 1] == b'=' {
        end -= 1;
    }
    if (end - source) % 4 == 1 || scratch.bytes.len() - end > 2 {
        return None;
    }
    let start = scratch.bytes.len();
    let (mut bits, mut count) = (0u32, 0);
    for i in source..end {
        let digit = match scratch.bytes[i] {
            b @ b'A'..=b'Z' => b - b'A',
            b @ b'a'..=b'z' => b - b'a' + 26,
            b @ b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            scratch.bytes.push((bits >> count) as u8);
        }
    }
    // Bits that no byte takes must be zero, or the text was not made by an encoder.
    if bits & ((1 << count) - 1) != 0 {
        return None;
    }
    Some(Text {
        start: start as u32,
        end: scratch.bytes.len() as u32,
        place: Place::Scratch,
    })
}

/// Joins the elements of a list; an absent separator joins without one.
pub fn join(separator: Value, list: Value, event: &[u8], scratch: &mut Scratch) -> Value {
    let Value::List(List { start, end }) = list else {
        return Value::Absent;
    };
    // Elements may lie in the same buffer, so the result is put together after them.
    let mut out = Vec::new();
    for i in start..end {
        if i > start
            && let Value::Text(text) = separator
        {
            out.extend_from_slice(scratch.bytes_of(event, text));
        }
        match scratch.items[i as usize] {
            Value::Text(text) | Value::Bytes(text) => out.extend_from_slice(scratch.bytes_of(event, text)),
            Value::Uint(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Value::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Value::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
            Value::Double(d) => out.extend_from_slice(format!("{d:.1}").as_bytes()),
            Value::Ip(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
            Value::Absent | Value::List(_) => return Value::Absent,
        }
    }
    Value::Text(scratch.text(|bytes| bytes.extend_from_slice(&out)))
}

/// Options of a command line as getopt(3) finds them: letters and their values, `?` for unknown ones.
///
/// Long options are passed over; the first word that is no option, or `--`, ends the search. With `wanted`, the last
/// value of that option: empty when its argument is missing, absent when it is not given.
fn getopt(argv: Value, options: Value, wanted: Option<&str>, event: &[u8], scratch: &mut Scratch) -> Value {
    let (Value::List(List { start, end }), Value::Text(options)) = (argv, options) else {
        return Value::Absent;
    };
    let options = scratch.bytes_of(event, options).to_vec();
    let words: Vec<Vec<u8>> = (start..end)
        .map(|i| match scratch.items[i as usize] {
            Value::Text(text) => scratch.bytes_of(event, text).to_vec(),
            _ => Vec::new(),
        })
        .collect();
    let mut found: Vec<(u8, Option<Vec<u8>>)> = Vec::new();
    let mut i = 0;
    while let Some(word) = words.get(i) {
        i += 1;
        if word == b"--" || word.len() < 2 || word[0] != b'-' {
            break;
        }
        if word[1] == b'-' {
            continue;
        }
        for (at, &letter) in word.iter().enumerate().skip(1) {
            let Some(place) = options.iter().position(|&o| o == letter && letter != b':') else {
                found.push((b'?', None));
                continue;
            };
            if options.get(place + 1) != Some(&b':') {
                // An option without an argument stands for itself.
                found.push((letter, Some(vec![letter])));
                continue;
            }
            let value = if at + 1 < word.len() {
                Some(word[at + 1..].to_vec())
            } else {
                i += 1;
                words.get(i - 1).cloned()
            };
            found.push((letter, value));
            break;
        }
    }
    if let Some(wanted) = wanted {
        let letter = wanted.as_bytes().first().copied().unwrap_or(0);
        return match found.iter().rev().find(|(l, _)| *l == letter) {
            Some((_, value)) => {
                Value::Text(scratch.text(|out| out.extend_from_slice(value.as_deref().unwrap_or_default())))
            }
            None => Value::Absent,
        };
    }
    let first = scratch.items.len();
    for (letter, value) in found {
        // An option whose argument is missing is none.
        let Some(value) = value.filter(|_| letter != b'?') else {
            if letter == b'?' {
                let text = scratch.text(|out| out.push(letter));
                scratch.items.push(Value::Text(text));
            }
            continue;
        };
        let text = scratch.text(|out| out.push(letter));
        scratch.items.push(Value::Text(text));
        if value != [letter] {
            let text = scratch.text(|out| out.extend_from_slice(&value));
            scratch.items.push(Value::Text(text));
        }
    }
    scratch.list_from(first)
}

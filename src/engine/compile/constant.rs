//! Constants of conditions, parsed to the type of the field they are compared with.

use std::net::IpAddr;

use super::check::{Checked, error};
use crate::engine::ast::{Literal, Operator};
use crate::engine::operator::{IpMatch, Number, Test, TextTest};
use crate::engine::pattern;
use crate::fields::Type;

/// A constant compared on its own, under a modifier.
pub fn single(kind: Type, operator: Operator, literal: &Literal) -> Checked<Test> {
    Ok(match kind {
        Type::Bool => Test::Bool {
            equal: operator == Operator::Eq,
            to: boolean(literal)?,
        },
        Type::Ip | Type::Net => Test::Ip {
            equal: operator == Operator::Eq,
            to: address(kind, literal)?,
        },
        Type::Port if operator == Operator::Ne => Test::OtherPort(number(kind, literal)?),
        kind if kind.is_number() => Test::Number(operator, number(kind, literal)?),
        _ => {
            let bytes = text(operator, literal)?;
            let invalid = |e: pattern::RegexError| {
                error(
                    format!("invalid regular expression '{}': {e}", literal.text),
                    &literal.span,
                )
            };
            match operator {
                Operator::Ne => Test::NotText(TextTest::Eq(bytes)),
                Operator::Contains | Operator::Bcontains => Test::Text(TextTest::Contains(Box::new(
                    memchr::memmem::Finder::new(&bytes).into_owned(),
                ))),
                Operator::Startswith | Operator::Bstartswith => Test::Text(TextTest::StartsWith(vec![bytes])),
                Operator::Endswith => Test::Text(TextTest::EndsWith(vec![bytes])),
                Operator::Glob => Test::Text(TextTest::Glob(vec![pattern::Glob::new(&bytes, false)])),
                Operator::Iglob => Test::Text(TextTest::Glob(vec![pattern::Glob::new(&bytes, true)])),
                Operator::Regex => Test::Text(TextTest::Regex(Box::new(
                    pattern::regex(&literal.text).map_err(invalid)?,
                ))),
                Operator::Icontains => {
                    let words = aho_corasick::AhoCorasick::builder()
                        .ascii_case_insensitive(true)
                        .build([&bytes]);
                    Test::Text(TextTest::Icontains(
                        words.map_err(|e| error(e.to_string(), &literal.span))?,
                    ))
                }
                _ => Test::Text(TextTest::Eq(bytes)),
            }
        }
    })
}

pub fn text(operator: Operator, literal: &Literal) -> Checked<Box<[u8]>> {
    let digits = literal.bytes();
    if digits.contains(&0) {
        return Err(error("a string constant cannot hold a NUL character", &literal.span));
    }
    if !matches!(operator, Operator::Bcontains | Operator::Bstartswith) {
        return Ok(digits.into());
    }
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [h, l] => Some((((*h as char).to_digit(16)? << 4) | (*l as char).to_digit(16)?) as u8),
            _ => None,
        })
        .collect();
    bytes.map(Vec::into_boxed_slice).ok_or_else(|| {
        error(
            "filter error: bcontains and bstartswith operator support hex strings only",
            &literal.span,
        )
        .with_help(Some(
            "write two hexadecimal digits for each byte, e.g. `7f454c46`".to_owned(),
        ))
    })
}

pub fn boolean(literal: &Literal) -> Checked<bool> {
    match literal.text.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(error(
            format!("filter error: unrecognized boolean value {other}"),
            &literal.span,
        )
        .with_help(Some("write `true` or `false`".to_owned()))),
    }
}

pub fn number(kind: Type, literal: &Literal) -> Checked<Number> {
    let text = literal.text.as_str();
    let bad = |help: Option<String>| error(format!("{text} is not a valid number"), &literal.span).with_help(help);
    if kind == Type::Port
        && let Some((_, port)) = SERVICES.iter().find(|(name, _)| *name == text)
    {
        return Ok(Number::Int((*port).into()));
    }
    let value: i128 = text.parse().map_err(|_| {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let value = hex.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        bad(value.map(|v| format!("numbers are decimal: write `{v}`")))
    })?;
    let range = match kind {
        Type::Port => 0..=i128::from(u16::MAX),
        Type::Int => i128::from(i64::MIN)..=i128::from(i64::MAX),
        Type::Double => i128::MIN..=i128::MAX,
        _ => i128::from(i64::MIN)..=i128::from(u64::MAX),
    };
    if !range.contains(&value) {
        let (low, high) = (range.start(), range.end());
        return Err(bad(Some(format!(
            "`{}` values lie between {low} and {high}",
            kind.name()
        ))));
    }
    Ok(Number::Int(value))
}

/// Names that may stand for a port, from the services that rules name in practice.
const SERVICES: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap2", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("redis", 6379),
    ("http-alt", 8080),
];

pub fn address(kind: Type, literal: &Literal) -> Checked<IpMatch> {
    let text = literal.text.as_str();
    let bad = || {
        let what = if kind == Type::Net {
            "network such as 10.0.0.0/8"
        } else {
            "IP address"
        };
        error(format!("filter error: '{text}' is not a valid {what}"), &literal.span)
    };
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) if kind == Type::Net => (ip, Some(prefix)),
        None if kind == Type::Ip => (text, None),
        _ => return Err(bad()),
    };
    let address: IpAddr = ip.parse().map_err(|_| bad())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix: u8 = prefix.map_or(Ok(longest), str::parse).map_err(|_| bad())?;
    if prefix > longest {
        return Err(bad());
    }
    Ok(IpMatch { address, prefix })
}

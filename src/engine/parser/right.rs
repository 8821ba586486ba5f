//! Right sides of comparisons: constants, lists, fields and transformers.

use super::{ParseError, is_bare};
use super::{Parsed, Parser, unescape};
use crate::engine::ast::*;

impl<'a> Parser<'a> {
    /// `val(field)` or a transformer.
    pub(super) fn right_operand(&mut self) -> Parsed<Option<Operand>> {
        let start = self.pos;
        let Some(transformer) = self.transformer() else {
            return Ok(None);
        };
        let operand = self.transformed(transformer, start)?;
        let OperandKind::Transformed {
            transformer: Transformer::Val,
            arguments,
            ..
        } = &operand.kind
        else {
            return Ok(Some(operand));
        };
        match arguments.as_slice() {
            [TransformerArgument::Operand(field)] => Ok(Some(field.clone())),
            _ => Err(ParseError {
                message: "'val' takes one field".to_owned(),
                span: operand.span,
            }),
        }
    }

    pub(super) fn numeric_right(&mut self) -> Parsed<Right> {
        if let Some(operand) = self.right_operand()? {
            return Ok(Right::Operand(operand));
        }
        let start = self.pos;
        if let Some(number) = self.number() {
            let span = start as u32..self.pos as u32;
            return Ok(Right::Value(Literal::plain(number, span)));
        }
        Err(self.error(format!(
            "expected a number value or a field with a valid transformer: {}",
            all_transformers()
        )))
    }

    pub(super) fn string_right(&mut self) -> Parsed<Right> {
        if let Some(operand) = self.right_operand()? {
            return Ok(Right::Operand(operand));
        }
        match self.literal()? {
            Some(literal) => Ok(Right::Value(literal)),
            None => Err(self.error(format!(
                "expected a string value or a field with a valid transformer: {}",
                all_transformers()
            ))),
        }
    }

    /// A modifier with its list; nothing when the word turns out to be an ordinary value.
    pub(super) fn modified_right(&mut self) -> Parsed<Option<(Modifier, Right)>> {
        let start = self.pos;
        let last = self.last.clone();
        for &modifier in Modifier::ALL {
            if !self.take(modifier.text()) {
                continue;
            }
            if !self.blanks() {
                break;
            }
            if self.byte() == b'(' {
                return Ok(Some((modifier, self.list()?)));
            }
            let name_start = self.pos;
            if let Some(name) = self.identifier()
                && !matches!(name, "and" | "or")
            {
                let span = name_start as u32..self.pos as u32;
                let items = vec![Literal::plain(name, span)];
                return Ok(Some((
                    modifier,
                    Right::List {
                        items,
                        parenthesised: false,
                    },
                )));
            }
            break;
        }
        self.pos = start;
        self.last = last;
        Ok(None)
    }

    pub(super) fn list_right(&mut self, had_blank: bool) -> Parsed<Right> {
        if self.byte() == b'(' {
            return self.list();
        }
        if !had_blank {
            return Err(self.error("expected a list after the operator"));
        }
        if let Some(operand) = self.right_operand()? {
            return Ok(Right::Operand(operand));
        }
        let start = self.pos;
        match self.identifier() {
            Some(name) => {
                let span = start as u32..self.pos as u32;
                Ok(Right::List {
                    items: vec![Literal::plain(name, span)],
                    parenthesised: false,
                })
            }
            None => Err(self.error("expected a list, a list's name, or a field with a transformer")),
        }
    }

    fn list(&mut self) -> Parsed<Right> {
        self.take("(");
        let mut items = Vec::new();
        self.blanks();
        if self.take(")") {
            return Ok(Right::List {
                items,
                parenthesised: true,
            });
        }
        loop {
            self.blanks();
            match self.literal()? {
                Some(literal) => items.push(literal),
                None => return Err(self.error("expected a string in the list")),
            }
            self.blanks();
            if self.take(")") {
                return Ok(Right::List {
                    items,
                    parenthesised: true,
                });
            }
            if !self.take(",") {
                return Err(self.error("expected a ')' token"));
            }
        }
    }

    pub(super) fn number(&mut self) -> Option<&'a str> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize, ok: fn(&u8) -> bool| {
            from + bytes[from.min(bytes.len())..].iter().take_while(|b| ok(b)).count()
        };
        let mut end = 0;
        if bytes.len() > 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X') {
            end = digits(2, u8::is_ascii_hexdigit);
            if end == 2 {
                end = 0;
            }
        }
        if end == 0 {
            let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
            end = digits(sign, u8::is_ascii_digit);
            if end == sign {
                return None;
            }
            if bytes.get(end) == Some(&b'.') {
                end = digits(end + 1, u8::is_ascii_digit);
            }
            if let (Some(b'e' | b'E'), Some(b'+' | b'-')) = (bytes.get(end), bytes.get(end + 1)) {
                let exponent = digits(end + 2, u8::is_ascii_digit);
                if exponent > end + 2 {
                    end = exponent;
                }
            }
        }
        let text = &self.rest()[..end];
        self.last = self.pos..self.pos + end;
        self.pos += end;
        Some(text)
    }

    pub(super) fn literal(&mut self) -> Parsed<Option<Literal>> {
        if matches!(self.byte(), b'"' | b'\'') && self.pos < self.text.len() {
            return self.quoted().map(Some);
        }
        let rest = self.rest();
        let end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
        if end == 0 {
            return Ok(None);
        }
        let span = self.pos as u32..(self.pos + end) as u32;
        self.last = self.pos..self.pos + end;
        self.pos += end;
        Ok(Some(Literal::plain(&rest[..end], span)))
    }

    pub(super) fn quoted(&mut self) -> Parsed<Literal> {
        let start = self.pos;
        let quote = self.byte() as char;
        let mut before = quote;
        for (at, c) in self.rest().char_indices().skip(1) {
            // A quote after a backslash never closes, not even where that backslash is escaped itself.
            let escaped = std::mem::replace(&mut before, c) == '\\';
            if c == quote && !escaped {
                let raw = &self.rest()[..at + 1];
                let bytes = unescape(raw).map_err(|(offset, message)| ParseError {
                    message,
                    span: (start + offset) as u32..(start + at) as u32,
                })?;
                self.last = start..start + at + 1;
                self.pos += at + 1;
                let span = start as u32..self.pos as u32;
                let (text, raw) = match String::from_utf8(bytes) {
                    Ok(text) => (text, None),
                    Err(e) => {
                        let text = String::from_utf8_lossy(e.as_bytes()).into_owned();
                        (text, Some(e.into_bytes().into_boxed_slice()))
                    }
                };
                return Ok(Literal {
                    text,
                    raw,
                    quoted: true,
                    span,
                });
            }
        }
        Err(ParseError {
            message: "string without a closing quote".to_owned(),
            span: start as u32..self.text.len() as u32,
        })
    }
}

fn all_transformers() -> String {
    Transformer::ALL
        .iter()
        .map(|t| format!("'{t}'"))
        .collect::<Vec<_>>()
        .join(", ")
}

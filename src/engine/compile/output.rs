//! Output strings to pieces and keys.

use super::build::Builder;
use super::{Options, check};
use crate::config::{AppendOutput, ExtraField};
use crate::engine::ast::{OperandKind, Transformer};
use crate::engine::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::engine::format::{FieldSource, Output, OutputField, Piece, Printed, push_json_string};
use crate::engine::load::RuleDef;
use crate::engine::parser;
use crate::engine::source::{At, Text};
use crate::event::Source;
use crate::fields::{Argument, Catalog, Extractor, Type, evt};

/// Compiles a rule's output with what the configuration appends to it.
pub fn compile(
    rule: &RuleDef,
    source: Source,
    catalog: &Catalog,
    builder: &mut Builder,
    options: &Options,
    found: &mut Vec<Diagnostic>,
) -> Output {
    let mut text = rule.output.clone();
    let mut compiler = OutputCompiler {
        catalog,
        builder,
        found,
        fields: Vec::new(),
    };
    for append in options.append_output.iter().filter(|a| applies(a, rule, source)) {
        if let Some(extra) = &append.extra_output {
            text.push(&Text::pinned(&format!(" {extra}"), rule.at.start));
        }
        for extra in &append.extra_fields {
            compiler.extra(extra, rule.at);
        }
    }
    for (name, value) in &options.static_fields {
        let pieces = vec![Piece::Text(value.as_str().into())];
        compiler.key(name, FieldSource::Pieces(pieces));
    }
    // The time stands in every alert.
    let time = compiler.builder.field(Extractor::Evt(evt::Computed::Time));
    compiler.key(
        "evt.time",
        FieldSource::Slot(Printed {
            slot: time,
            kind: Type::String,
            evt: Some(evt::Computed::Time),
        }),
    );
    let pieces = compiler.pieces(&text, Code::CompileOutput, true);
    if pieces.is_empty() && !compiler.found.iter().any(Diagnostic::is_error) {
        let diagnostic = Diagnostic::new(Code::CompileOutput, "empty formatting token", text.whole());
        compiler.found.push(diagnostic);
    }
    let mut fields = compiler.fields;
    fields.sort_by(|a, b| a.key.cmp(&b.key));
    Output {
        pieces,
        fields,
        text: text.as_str().to_owned(),
    }
}

fn applies(append: &AppendOutput, rule: &RuleDef, source: Source) -> bool {
    append.matches.rule.as_ref().is_none_or(|name| *name == rule.name)
        && append.matches.source.as_ref().is_none_or(|name| name == source.name())
        && append.matches.tags.iter().all(|tag| rule.tags.contains(tag))
}

/// Message, where the field ends, help.
type FieldError = (String, usize, Option<String>);

fn printed(typed: &check::Typed) -> Printed {
    Printed {
        slot: typed.slot,
        kind: typed.kind,
        evt: None,
    }
}

struct OutputCompiler<'a> {
    catalog: &'a Catalog,
    builder: &'a mut Builder,
    found: &'a mut Vec<Diagnostic>,
    fields: Vec<OutputField>,
}

impl OutputCompiler<'_> {
    fn key(&mut self, key: &str, source: FieldSource) {
        if self.fields.iter().any(|f| f.key == key) {
            return;
        }
        let mut json_key = Vec::new();
        push_json_string(key.as_bytes(), &mut json_key);
        json_key.push(b':');
        let json_key = String::from_utf8_lossy(&json_key).into_owned().into_boxed_str();
        self.fields.push(OutputField {
            key: key.to_owned(),
            json_key,
            source,
        });
    }

    fn extra(&mut self, extra: &ExtraField, rule_at: At) {
        match extra {
            ExtraField::Field(name) => {
                self.pieces(
                    &Text::pinned(&format!("%{name}"), rule_at.start),
                    Code::CompileOutput,
                    true,
                );
            }
            ExtraField::Alias(aliases) => {
                for (alias, format) in aliases {
                    let pieces = self.pieces(&Text::pinned(format, rule_at.start), Code::CompileOutput, false);
                    self.key(alias, FieldSource::Pieces(pieces));
                }
            }
        }
    }

    /// Splits a format into text and fields; with `keys`, each field becomes a key of `output_fields`.
    fn pieces(&mut self, format: &Text, code: Code, keys: bool) -> Vec<Piece> {
        let text = format.as_str();
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut at = usize::from(text.starts_with('*'));
        while let Some(percent) = text[at..].find('%').map(|i| at + i) {
            plain.push_str(&text[at..percent]);
            let digits = text[percent + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let start = percent + 1 + digits;
            let width = text[percent + 1..start].parse().ok().filter(|_| digits > 0);
            if let Some(rest) = text[start..].strip_prefix("container.info") {
                // Upstream replaces the deprecated placeholder by nothing.
                at = text.len() - rest.len();
                let place = format.at(percent, at);
                self.found.push(Diagnostic::new(
                    Code::DeprecatedItem,
                    "%container.info is deprecated and no more useful, and will be dropped by Falco 1.0.0. The container plugin will automatically add required fields to the output message.",
                    place,
                ));
                continue;
            }
            match self.field(text, start) {
                Ok((end, key, printed)) => {
                    check::warn_retired(&text[start..end], format.at(percent, end), self.found);
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                    }
                    if keys {
                        self.key(&key, FieldSource::Slot(printed.clone()));
                    }
                    pieces.push(Piece::Field { value: printed, width });
                    at = end;
                }
                Err((message, end, help)) => {
                    let place = format.at(percent, end.max(percent + 1));
                    self.found.push(Diagnostic::new(code, message, place).with_help(help));
                    at = end.max(percent + 1);
                }
            }
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        pieces
    }

    /// The field that stands at `start`: where it ends, its key, and how it is printed.
    fn field(&mut self, text: &str, start: usize) -> Result<(usize, String, Printed), FieldError> {
        let rest = &text[start..];
        let unknown = "unknown filter: unexpected token after '".to_owned();
        let word_end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(rest.len());
        if rest[word_end..].starts_with('(') {
            let (operand, len) = parser::parse_operand(rest).map_err(|e| (e.message, start + word_end + 1, None))?;
            let wrong = |d: Diagnostic| (d.message, start + len, d.help);
            if matches!(&operand.kind, OperandKind::Transformed { transformer, .. } if *transformer == Transformer::Val)
            {
                let help = "name the field alone, e.g. `%proc.name`".to_owned();
                return Err((
                    "'val' can only stand on the right side of a comparison".to_owned(),
                    start + len,
                    Some(help),
                ));
            }
            // The fields themselves are keys as well, as upstream has them.
            for field in operand.fields() {
                let typed = check::operand(field, self.catalog, self.builder, self.found).map_err(wrong)?;
                self.key(&field.to_string(), FieldSource::Slot(printed(&typed)));
            }
            let typed = check::operand(&operand, self.catalog, self.builder, self.found).map_err(wrong)?;
            return Ok((start + len, operand.to_string(), printed(&typed)));
        }
        let Some((field, name_len)) = self.catalog.longest_prefix(rest, |field, after| {
            !matches!(field.argument, Argument::Key | Argument::Member { .. }) || after.starts_with('[')
        }) else {
            let word = rest[..word_end].trim_end_matches('.');
            let help = if word.is_empty() {
                Some("a `%` begins a field, e.g. `%ka.user.name`".to_owned())
            } else {
                did_you_mean(word, self.catalog.fields().iter().map(|f| f.name.as_ref()))
            };
            return Err((unknown, start + word.len(), help));
        };
        let name_end = start + name_len;
        let member = rest[..name_len].get(field.name.len() + 1..);
        let (argument, end) = match text[name_end..].strip_prefix('[').filter(|_| member.is_none()) {
            None => (member, name_end),
            Some(inner) => match inner.find(']') {
                Some(close) => (Some(&inner[..close]), name_end + close + 2),
                None => return Err(("missing `]` after a field's argument".to_owned(), text.len(), None)),
            },
        };
        let argument = argument.map(|a| a.trim_matches(['"', '\'']));
        let extractor = self
            .catalog
            .resolve(field, argument)
            .map_err(|e| (e.to_string(), end, None))?;
        let what = if let Extractor::Evt(what) = &extractor {
            Some(*what)
        } else {
            None
        };
        let kind = field.kind_with(argument);
        Ok((
            end,
            text[start..end].to_owned(),
            Printed {
                slot: self.builder.field(extractor),
                kind,
                evt: what,
            },
        ))
    }
}

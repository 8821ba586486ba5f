//! Output strings to pieces and keys.

use super::build::Builder;
use super::warn::warn_retired;
use super::{Options, check};
use crate::config::{AppendOutput, ExtraField};
use crate::engine::ast::{Operand, OperandKind, Transformer, TransformerArgument};
use crate::engine::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::engine::format::{FieldSource, Output, OutputField, Piece, Printed, push_json_string};
use crate::engine::load::RuleDef;
use crate::engine::parser;
use crate::engine::source::{At, Text};
use crate::event::Source;
use crate::fields::{Catalog, Extractor, Type, evt};

/// What `suggested_output` appends for processes: where they run.
const SUGGESTED: &str = "container_id=%container.id container_name=%container.name container_image_repository=%container.image.repository container_image_tag=%container.image.tag k8s_pod_name=%k8s.pod.name k8s_ns_name=%k8s.ns.name";

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
        mask: options.mask,
    };
    for append in options.append_output.iter().filter(|a| applies(a, rule, source)) {
        if append.suggested_output && matches!(source, Source::Syscall | Source::K8sExec) {
            text.push(&Text::pinned(&format!(" {SUGGESTED}"), rule.at.start));
        }
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
            mask: false,
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
        mask: false,
    }
}

struct OutputCompiler<'a> {
    catalog: &'a Catalog,
    builder: &'a mut Builder,
    found: &'a mut Vec<Diagnostic>,
    fields: Vec<OutputField>,
    /// Credentials in objects are masked.
    mask: bool,
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
                    warn_retired(&text[start..end], format.at(percent, end), self.found);
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
        if rest.is_empty() {
            let last = if text.ends_with('%') { "%" } else { "number" };
            let message = format!("invalid formatting syntax: formatting cannot end with a {last}");
            return Err((
                message,
                start,
                Some("a `%` begins a field, e.g. `%ka.user.name`".to_owned()),
            ));
        }
        let mut why = None;
        match parser::parse_operand(rest) {
            Ok((operand, len)) => match self.operand(&operand) {
                Ok(printed) => return Ok((start + len, operand.to_string(), printed)),
                Err(help) => why = help,
            },
            Err(e) => why = why.or(Some(e.message)),
        }
        // Without an argument the longest name that is a field's counts; what follows it is text.
        let word_end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(rest.len());
        if let Some((field, len)) = self.catalog.longest_prefix(&rest[..word_end]) {
            let member = rest[..len].get(field.name.len() + 1..);
            if let Ok(extractor) = self.catalog.resolve(field, member) {
                let printed = self.plain(extractor, field.kind_with(member));
                return Ok((start + len, rest[..len].to_owned(), printed));
            }
        }
        let word = rest[..word_end].trim_end_matches('.');
        let near = did_you_mean(word, self.catalog.fields().iter().map(|f| f.name.as_ref()));
        let message = "unknown filter: unexpected token after '".to_owned();
        Err((message, start + word.len(), near.or(why)))
    }

    /// A field or a transformer as printed; with the fields in it as keys. The error is what to do about it.
    fn operand(&mut self, operand: &Operand) -> Result<Printed, Option<String>> {
        if let OperandKind::Field { name, argument } = &operand.kind {
            let (field, member) = self.catalog.find(name).ok_or(None)?;
            let argument = argument.as_deref().or(member);
            let extractor = self.catalog.resolve(field, argument).map_err(|e| Some(e.to_string()))?;
            return Ok(self.plain(extractor, field.kind_with(argument)));
        }
        let mut inner = Vec::new();
        resolved(operand, &mut inner, &mut false)?;
        let mut typed = Vec::with_capacity(inner.len());
        for part in inner {
            let found = check::operand(part, self.catalog, self.builder, self.found);
            typed.push((part, found.map_err(|d| Some(d.help.unwrap_or(d.message)))?));
        }
        // The last is the operand itself, whose key comes with its piece.
        let (_, whole) = typed.pop().ok_or(None)?;
        let mut mask = false;
        for (part, typed) in typed {
            let source = match &part.kind {
                OperandKind::Field { .. } => self.operand(part)?,
                OperandKind::Transformed { .. } => printed(&typed),
            };
            mask |= source.mask;
            let source = Printed { mask, ..source };
            self.key(&part.to_string(), FieldSource::Slot(source));
        }
        Ok(Printed {
            mask,
            ..printed(&whole)
        })
    }

    fn plain(&mut self, extractor: Extractor, kind: Type) -> Printed {
        let evt = match &extractor {
            Extractor::Evt(what) => Some(*what),
            _ => None,
        };
        Printed {
            mask: self.mask && extractor.shows_object(),
            slot: self.builder.field(extractor),
            kind,
            evt,
        }
    }
}

/// The parts of an operand that become keys, as upstream has them: its fields, the transformers of its lists but for
/// the one that comes last before another, and itself at the end.
fn resolved<'a>(
    operand: &'a Operand,
    out: &mut Vec<&'a Operand>,
    after_transformer: &mut bool,
) -> Result<(), Option<String>> {
    match &operand.kind {
        OperandKind::Field { .. } => {
            out.push(operand);
            *after_transformer = false;
        }
        OperandKind::Transformed {
            transformer, arguments, ..
        } => {
            if *transformer == Transformer::Val {
                return Err(Some("name the field alone, e.g. `%proc.name`".to_owned()));
            }
            for argument in arguments {
                let parts = match argument {
                    TransformerArgument::List(items) => items.as_slice(),
                    other => std::slice::from_ref(other),
                };
                for part in parts {
                    if let TransformerArgument::Operand(inner) = part {
                        resolved(inner, out, after_transformer)?;
                    }
                }
            }
            if std::mem::replace(after_transformer, true) {
                out.pop();
            }
            out.push(operand);
        }
    }
    Ok(())
}

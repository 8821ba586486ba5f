//! Condition text to tree, in one pass, as upstream's grammar has it: greedy, and with keywords that are only
//! keywords where one is due.

use super::ast::*;

mod quoted;
mod right;

pub use quoted::unescape;

/// Deepest nesting that the rule loader allows.
pub const MAX_DEPTH: u32 = 1000;

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    pub message: String,
    /// Byte range in the condition's text.
    pub span: Span,
}

/// Parses a whole condition.
///
/// # Errors
/// The first place where the text stops being a condition.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    parse_with_depth(text, MAX_DEPTH)
}

/// Parses a whole condition that nests at most `max_depth` productions deep.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_depth(text: &str, max_depth: u32) -> Result<Expr, ParseError> {
    let mut parser = Parser {
        text,
        pos: 0,
        depth: 0,
        max_depth,
        last: 0..0,
    };
    let expr = parser.or()?;
    parser.blanks();
    if parser.pos < text.len() {
        return Err(parser.unexpected());
    }
    Ok(expr)
}

/// Parses one field or transformer, as exceptions and outputs name them, and returns it with the bytes it took.
///
/// # Errors
/// When the text does not begin with one.
pub fn parse_operand(text: &str) -> Result<(Operand, usize), ParseError> {
    let mut parser = Parser {
        text,
        pos: 0,
        depth: 0,
        max_depth: 100,
        last: 0..0,
    };
    match parser.operand()? {
        Some(operand) => Ok((operand, parser.pos)),
        None => Err(parser.error("a field or a transformer is due")),
    }
}

struct Parser<'a> {
    text: &'a str,
    pos: usize,
    depth: u32,
    max_depth: u32,
    /// The token read last, which messages name.
    last: std::ops::Range<usize>,
}

type Parsed<T> = Result<T, ParseError>;

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 8)
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_bare(c: char) -> bool {
    !matches!(
        c,
        '(' | ')' | '"' | '\'' | '=' | ',' | ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}'
    )
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.pos).copied().unwrap_or(0)
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        let end = self.rest().chars().next().map_or(self.pos, |c| self.pos + c.len_utf8());
        ParseError {
            message: message.into(),
            span: self.pos as u32..end as u32,
        }
    }

    fn unexpected(&self) -> ParseError {
        let token = &self.text[self.last.clone()];
        self.error(format!("unexpected token after '{token}', expecting 'or', 'and'"))
    }

    fn blanks(&mut self) -> bool {
        let start = self.pos;
        while is_blank(self.byte()) {
            self.pos += 1;
        }
        self.pos > start
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.last = self.pos..self.pos + token.len();
            self.pos += token.len();
        }
        found
    }

    /// Takes `and`, `or`, `not` when a blank or a parenthesis follows.
    fn keyword(&mut self, word: &str) -> bool {
        let next = self.text.as_bytes().get(self.pos + word.len()).copied().unwrap_or(0);
        // At the end of the text it is a keyword as well: what must follow is then missing.
        let ends = self.pos + word.len() >= self.text.len();
        (is_blank(next) || next == b'(' || ends) && self.take(word)
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(self.error(format!("exceeded max depth limit of {}", self.max_depth)));
        }
        Ok(())
    }

    fn or(&mut self) -> Parsed<Expr> {
        self.chain("or", Self::and, ExprKind::Or)
    }

    fn and(&mut self) -> Parsed<Expr> {
        self.chain("and", Self::not, ExprKind::And)
    }

    fn chain(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Parsed<Expr>,
        make: fn(Vec<Expr>) -> ExprKind,
    ) -> Parsed<Expr> {
        self.enter()?;
        self.blanks();
        let start = self.pos as u32;
        let first = part(self)?;
        self.blanks();
        let mut children = vec![first];
        while self.keyword(word) {
            self.blanks();
            children.push(part(self)?);
            self.blanks();
        }
        self.depth -= 1;
        let end = children.last().map_or(start, |c| c.span.end);
        match children.len() {
            1 => Ok(children.remove(0)),
            _ => Ok(Expr {
                kind: make(children),
                span: start..end,
            }),
        }
    }

    fn not(&mut self) -> Parsed<Expr> {
        self.enter()?;
        self.blanks();
        let start = self.pos as u32;
        let mut negated = false;
        while self.keyword("not") {
            negated = !negated;
            self.blanks();
        }
        let inner = self.check()?;
        self.depth -= 1;
        if !negated {
            return Ok(inner);
        }
        let span = start..inner.span.end;
        Ok(Expr {
            kind: ExprKind::Not(Box::new(inner)),
            span,
        })
    }

    fn check(&mut self) -> Parsed<Expr> {
        self.enter()?;
        let start = self.pos;
        let expr = if self.take("(") {
            self.enter()?;
            let inner = self.or()?;
            self.blanks();
            if !self.take(")") {
                return Err(self.error("expected a ')' token"));
            }
            self.depth -= 1;
            Expr {
                kind: inner.kind,
                span: start as u32..self.pos as u32,
            }
        } else if let Some(left) = self.operand()? {
            let kind = self.condition(left)?;
            Expr {
                kind,
                span: start as u32..self.pos as u32,
            }
        } else if let Some(name) = self.identifier() {
            Expr {
                kind: ExprKind::Macro(name.to_owned()),
                span: start as u32..self.pos as u32,
            }
        } else {
            return Err(self.error("expected a '(' token, a field check, or an identifier"));
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn identifier(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.bytes().position(|b| !is_word(b)).unwrap_or(rest.len());
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        self.last = self.pos..self.pos + end;
        self.pos += end;
        Some(&rest[..end])
    }

    /// Length of a field name at the cursor: words joined by at least one dot.
    fn field_name_len(&self) -> Option<usize> {
        let bytes = self.rest().as_bytes();
        let word = |from: usize| {
            let rest = bytes.get(from..)?;
            let len = rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len());
            (len > 0 && rest[0].is_ascii_alphabetic()).then_some(from + len)
        };
        let mut end = word(0)?;
        let mut parts = 1;
        while bytes.get(end) == Some(&b'.') {
            let Some(next) = word(end + 1) else { break };
            end = next;
            parts += 1;
        }
        (parts > 1).then_some(end)
    }

    /// A transformer's name directly before an opening parenthesis.
    fn transformer(&mut self) -> Option<Transformer> {
        let rest = self.rest();
        let found = Transformer::ALL
            .iter()
            .copied()
            .find(|t| rest.strip_prefix(t.text()).is_some_and(|after| after.starts_with('(')))?;
        self.last = self.pos..self.pos + found.text().len() + 1;
        self.pos += found.text().len() + 1;
        Some(found)
    }

    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let start = self.pos;
        if let Some(transformer) = self.transformer() {
            return self.transformed(transformer, start).map(Some);
        }
        let Some(len) = self.field_name_len() else {
            return Ok(None);
        };
        let name = self.rest()[..len].to_owned();
        self.last = start..start + len;
        self.pos += len;
        let argument = self.argument()?;
        Ok(Some(Operand {
            kind: OperandKind::Field { name, argument },
            span: start as u32..self.pos as u32,
        }))
    }

    fn argument(&mut self) -> Parsed<Option<String>> {
        if !self.take("[") {
            return Ok(None);
        }
        let argument = if matches!(self.byte(), b'"' | b'\'') {
            self.quoted()?.text
        } else {
            let rest = self.rest();
            let end = rest
                .find(|c: char| matches!(c, '[' | ']' | '"' | '\'') || c.is_ascii_whitespace())
                .unwrap_or(rest.len());
            if end == 0 {
                return Err(self.error("expected a valid field argument: a quoted string or a bare string"));
            }
            self.last = self.pos..self.pos + end;
            self.pos += end;
            rest[..end].to_owned()
        };
        if !self.take("]") {
            return Err(self.error("expected a ']' token"));
        }
        Ok(Some(argument))
    }

    fn transformed(&mut self, transformer: Transformer, start: usize) -> Parsed<Operand> {
        self.enter()?;
        let mut arguments = Vec::new();
        loop {
            self.blanks();
            arguments.push(self.transformer_argument(transformer)?);
            self.blanks();
            if !self.take(",") {
                break;
            }
        }
        if !self.take(")") {
            return Err(self.error("expected a ')' token closing the transformer"));
        }
        let argument = self.argument()?;
        if argument.is_some() && transformer != Transformer::Getopt {
            let message = format!("filter error: transformer '{transformer}' does not support field arguments");
            return Err(ParseError {
                message,
                span: start as u32..self.pos as u32,
            });
        }
        self.depth -= 1;
        let span = start as u32..self.pos as u32;
        Ok(Operand {
            kind: OperandKind::Transformed {
                transformer,
                arguments,
                argument,
            },
            span,
        })
    }

    fn transformer_argument(&mut self, outer: Transformer) -> Parsed<TransformerArgument> {
        let start = self.pos;
        if self.take("(") {
            let mut items = Vec::new();
            self.blanks();
            if self.take(")") {
                return Ok(TransformerArgument::List(items));
            }
            loop {
                self.blanks();
                if self.byte() == b'(' {
                    return Err(self.error("lists cannot hold lists"));
                }
                items.push(self.transformer_argument(outer)?);
                self.blanks();
                if self.take(")") {
                    return Ok(TransformerArgument::List(items));
                }
                if !self.take(",") {
                    return Err(self.error("expected a ')' token"));
                }
            }
        }
        if matches!(self.byte(), b'"' | b'\'') {
            return self.quoted().map(TransformerArgument::Constant);
        }
        if let Some(number) = self.number() {
            let span = start as u32..self.pos as u32;
            return Ok(TransformerArgument::Constant(Literal::plain(number, span)));
        }
        let operand = self
            .operand()?
            .ok_or_else(|| self.error("expected a field, a transformer, or a constant"))?;
        if let OperandKind::Transformed { transformer, .. } = &operand.kind
            && (*transformer == Transformer::Val || outer == Transformer::Val)
        {
            return Err(ParseError {
                message: "'val' takes a field and cannot be nested".to_owned(),
                span: operand.span,
            });
        }
        Ok(TransformerArgument::Operand(operand))
    }

    fn condition(&mut self, left: Operand) -> Parsed<ExprKind> {
        if let OperandKind::Transformed {
            transformer: Transformer::Val,
            ..
        } = left.kind
        {
            return Err(ParseError {
                message: "'val' can only stand on the right side of a comparison".to_owned(),
                span: left.span,
            });
        }
        self.blanks();
        let start = self.pos;
        // `in` begins `intersects`, `<` begins `<=`: the table lists the longer ones first.
        let Some(operator) = Operator::ALL
            .iter()
            .copied()
            .find(|op| self.rest().starts_with(op.text()))
        else {
            let all: Vec<String> = Operator::ALL.iter().map(|op| format!("'{op}'")).collect();
            return Err(self.error(format!("expected a valid check operator: one of {}", all.join(", "))));
        };
        self.take(operator.text());
        let operator_span = start as u32..self.pos as u32;
        let had_blank = self.blanks();
        let (modifier, right) = match operator {
            Operator::Exists => (None, Right::Nothing),
            op if op.is_numeric_only() => (None, self.numeric_right()?),
            op if op.takes_list() => (None, self.list_right(had_blank)?),
            op => {
                if op.is_word() && !had_blank {
                    return Err(self.error(format!("expected a blank after '{op}'")));
                }
                match if had_blank { self.modified_right()? } else { None } {
                    Some((modifier, right)) => (Some(modifier), right),
                    None => (None, self.string_right()?),
                }
            }
        };
        if operator == Operator::Exists && had_blank {
            // The blank belongs to what follows; the check ends at its operator.
            self.pos = operator_span.end as usize;
        }
        Ok(ExprKind::Check(Box::new(Check {
            left,
            operator,
            operator_span,
            modifier,
            right,
        })))
    }
}

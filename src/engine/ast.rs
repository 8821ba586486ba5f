//! The tree of a condition, and its canonical text.

use std::fmt;
use std::ops::Range;

/// Byte range in the condition's text.
pub type Span = Range<u32>;

/// A condition or a part of one.
#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Check(Box<Check>),
    /// The name of a macro.
    Macro(String),
}

/// One comparison.
#[derive(Clone, Debug)]
pub struct Check {
    pub left: Operand,
    pub operator: Operator,
    pub operator_span: Span,
    pub modifier: Option<Modifier>,
    pub right: Right,
}

/// What is compared.
#[derive(Clone, Debug)]
pub struct Operand {
    pub kind: OperandKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum OperandKind {
    Field {
        name: String,
        argument: Option<String>,
    },
    Transformed {
        transformer: Transformer,
        arguments: Vec<TransformerArgument>,
        argument: Option<String>,
    },
}

/// What a transformer is given.
#[derive(Clone, Debug)]
pub enum TransformerArgument {
    Operand(Operand),
    Constant(Literal),
    List(Vec<TransformerArgument>),
}

/// The right side of a comparison.
#[derive(Clone, Debug)]
pub enum Right {
    /// `exists` has none.
    Nothing,
    Value(Literal),
    /// A parenthesised list, or a bare name in its place.
    List {
        items: Vec<Literal>,
        parenthesised: bool,
    },
    /// `val(field)` or a transformer.
    Operand(Operand),
}

/// A constant with its place.
#[derive(Clone, Debug)]
pub struct Literal {
    pub text: String,
    /// The bytes it stands for, where `\xHH` made them something else than text.
    pub raw: Option<Box<[u8]>>,
    pub quoted: bool,
    pub span: Span,
}

impl Literal {
    /// A constant that is text as it stands.
    pub fn plain(text: &str, span: Span) -> Literal {
        Literal {
            text: text.to_owned(),
            raw: None,
            quoted: false,
            span,
        }
    }

    /// The bytes that values are compared with.
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The word of the language.
            pub const fn text(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            pub fn from_text(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }
    };
}

words! {
    /// Comparison operators, in the order in which messages list them. `==` is `=` under another name.
    Operator {
        Exists = "exists", Le = "<=", Lt = "<", Ge = ">=", Gt = ">", EqEq = "==", Eq = "=", Ne = "!=",
        Glob = "glob", Iglob = "iglob", Contains = "contains", Icontains = "icontains", Bcontains = "bcontains",
        Startswith = "startswith", Bstartswith = "bstartswith", Endswith = "endswith", Regex = "regex",
        Intersects = "intersects", In = "in", Pmatch = "pmatch",
    }
}

words! {
    /// How many of a list's items must satisfy an operator.
    Modifier { Oneof = "oneof", Anyof = "anyof", Allof = "allof" }
}

words! {
    /// Functions over fields, in the order in which messages list them.
    Transformer {
        Val = "val", Tolower = "tolower", Toupper = "toupper", B64 = "b64", Basename = "basename", Len = "len",
        Join = "join", Concat = "concat", Getopt = "getopt",
    }
}

impl Operator {
    pub const fn is_numeric_only(self) -> bool {
        matches!(self, Operator::Le | Operator::Lt | Operator::Ge | Operator::Gt)
    }

    pub const fn takes_list(self) -> bool {
        matches!(self, Operator::In | Operator::Intersects | Operator::Pmatch)
    }

    /// Operators written with letters need a blank before their value.
    pub fn is_word(self) -> bool {
        self.text().starts_with(|c: char| c.is_ascii_alphabetic())
    }
}

impl Operand {
    /// The fields in it, without their transformers.
    pub fn fields(&self) -> Vec<&Operand> {
        match &self.kind {
            OperandKind::Field { .. } => vec![self],
            OperandKind::Transformed { arguments, .. } => {
                arguments.iter().flat_map(TransformerArgument::fields).collect()
            }
        }
    }

    /// A field's name, without its argument.
    pub fn field_name(&self) -> Option<&str> {
        match &self.kind {
            OperandKind::Field { name, .. } => Some(name),
            OperandKind::Transformed { .. } => None,
        }
    }
}

impl TransformerArgument {
    fn fields(&self) -> Vec<&Operand> {
        match self {
            TransformerArgument::Operand(operand) => operand.fields(),
            TransformerArgument::Constant(_) => Vec::new(),
            TransformerArgument::List(items) => items.iter().flat_map(TransformerArgument::fields).collect(),
        }
    }
}

impl Expr {
    /// Calls `visit` with each comparison.
    pub fn checks<'a>(&'a self, visit: &mut impl FnMut(&'a Check)) {
        match &self.kind {
            ExprKind::And(children) | ExprKind::Or(children) => children.iter().for_each(|c| c.checks(visit)),
            ExprKind::Not(child) => child.checks(visit),
            ExprKind::Check(check) => visit(check),
            ExprKind::Macro(_) => {}
        }
    }
}

fn joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::And(children) => {
                f.write_str("(")?;
                joined(f, children, " and ")?;
                f.write_str(")")
            }
            ExprKind::Or(children) => {
                f.write_str("(")?;
                joined(f, children, " or ")?;
                f.write_str(")")
            }
            ExprKind::Not(child) => write!(f, "not {child}"),
            ExprKind::Check(check) => check.fmt(f),
            ExprKind::Macro(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.operator)?;
        if let Some(modifier) = self.modifier {
            write!(f, " {modifier}")?;
        }
        match &self.right {
            Right::Nothing => Ok(()),
            Right::Value(value) => write!(f, " {value}"),
            Right::List { items, .. } => {
                f.write_str(" (")?;
                joined(f, items, ", ")?;
                f.write_str(")")
            }
            Right::Operand(operand) => match &operand.kind {
                OperandKind::Field { .. } => write!(f, " val({operand})"),
                OperandKind::Transformed { .. } => write!(f, " {operand}"),
            },
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let argument = match &self.kind {
            OperandKind::Field { name, argument } => {
                f.write_str(name)?;
                argument
            }
            OperandKind::Transformed {
                transformer,
                arguments,
                argument,
            } => {
                write!(f, "{transformer}(")?;
                joined(f, arguments, ",")?;
                f.write_str(")")?;
                argument
            }
        };
        match argument {
            Some(argument) => write!(f, "[{argument}]"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TransformerArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransformerArgument::Operand(operand) => operand.fmt(f),
            TransformerArgument::Constant(literal) => literal.fmt(f),
            TransformerArgument::List(items) => {
                f.write_str("(")?;
                joined(f, items, ",")?;
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(self.bytes()))
    }
}

/// A constant as the language writes it: quoted only when it would not read back as a bare string.
pub fn escape(bytes: &[u8]) -> String {
    let plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\'' | '=' | '\\' | '\u{8}' | '\u{c}');
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(plain)
        && !text.is_empty()
    {
        return text.to_owned();
    }
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        push_escaped(chunk.valid(), &mut out);
        chunk.invalid().iter().for_each(|b| out += &format!("\\x{b:02x}"));
    }
    out.push('"');
    out
}

fn push_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

//! The field tables: a row says what a field is called, what type it has, and where its value comes from.
//!
//! A rule set resolves each field it uses once, at load, to an [`Extractor`]; evaluation hands extractors to the
//! event at hand through [`View`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::config::UserField;
use crate::event::Source;
use crate::json::path::{Compiled, Path, PathError, Rich};

pub mod evt;
pub mod jevt;
pub mod ka;
pub mod session;
pub mod syscall;
pub(crate) mod uri;
pub mod value;

pub use value::{List, Place, Scratch, Text, Value};

/// Types of the Falco language (libsinsp's `ppm_param_type`, as far as fields have them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    String,
    FsPath,
    Int,
    Uint,
    Bool,
    AbsTime,
    RelTime,
    Port,
    Double,
    Bytes,
    Ip,
    Net,
}

impl Type {
    /// The name in `saker fields` and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::FsPath => "path",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Bool => "bool",
            Type::AbsTime => "time",
            Type::RelTime => "duration",
            Type::Port => "port",
            Type::Double => "double",
            Type::Bytes => "bytes",
            Type::Ip => "ip",
            Type::Net => "net",
        }
    }

    pub const fn is_text(self) -> bool {
        matches!(self, Type::String | Type::FsPath)
    }

    pub const fn is_number(self) -> bool {
        matches!(
            self,
            Type::Int | Type::Uint | Type::AbsTime | Type::RelTime | Type::Port | Type::Double
        )
    }
}

/// Whether a field takes an argument, `field[argument]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Argument {
    None,
    /// A decimal number that may be left out.
    OptionalIndex,
    /// A key that must be given.
    Key,
    /// A key that may be left out.
    OptionalKey,
    /// The name of an event's parameter, in brackets or after a dot: `evt.arg.flags`, `evt.arg[flags]`, `evt.arg[0]`.
    Member {
        /// Any name will do, not only one that an event has.
        any: bool,
        /// The parameter's own type is the field's.
        typed: bool,
    },
    /// A name in brackets or after a dot that may be left out.
    OptionalMember,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// An RFC 9535 path over the audit event. An index argument takes the place of its first wildcard.
    JsonPath(Cow<'static, str>),
    /// The same over the pod of the request: the request object, or for a patch the object it led to.
    PodPath(Cow<'static, str>),
    /// An RFC 6901 pointer given as argument.
    Pointer,
    Audit(ka::Computed),
    Json(jevt::Computed),
    Evt(evt::Computed),
    /// A constant of saker.yaml.
    Static(Box<str>),
    /// A value that the view knows by number; for sources that bring their own table.
    External(u32),
}

/// One row of a field table.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: Cow<'static, str>,
    pub kind: Type,
    pub list: bool,
    pub argument: Argument,
    pub origin: Origin,
    pub doc: Cow<'static, str>,
    /// Cannot stand on the right of a comparison.
    pub no_rhs: bool,
    /// Cannot be given to a transformer.
    pub no_transformer: bool,
    /// Always has a value; an output may rely on it.
    pub always: bool,
    /// Why no event of the source ever has it: rules that are to run cannot use it.
    pub refused: Option<&'static str>,
}

impl Field {
    /// A string field without an argument.
    pub fn string(name: impl Into<Cow<'static, str>>, origin: Origin, doc: impl Into<Cow<'static, str>>) -> Field {
        Field {
            name: name.into(),
            kind: Type::String,
            list: false,
            argument: Argument::None,
            origin,
            doc: doc.into(),
            no_rhs: false,
            no_transformer: false,
            always: false,
            refused: None,
        }
    }

    pub fn list(self) -> Field {
        Field { list: true, ..self }
    }

    pub fn indexed(self) -> Field {
        Field {
            list: true,
            argument: Argument::OptionalIndex,
            ..self
        }
    }

    pub fn keyed(self) -> Field {
        Field {
            argument: Argument::Key,
            ..self
        }
    }

    pub fn of(self, kind: Type) -> Field {
        Field { kind, ..self }
    }

    pub fn always(self) -> Field {
        Field { always: true, ..self }
    }

    /// The type with that argument.
    pub fn kind_with(&self, argument: Option<&str>) -> Type {
        match (self.argument, argument) {
            (Argument::Member { typed: true, .. }, Some(name)) => syscall::member_type(name).unwrap_or(self.kind),
            _ => self.kind,
        }
    }

    fn takes_member(&self) -> bool {
        matches!(self.argument, Argument::Member { .. } | Argument::OptionalMember)
    }
}

/// How one field with its argument is found in an event. Equal extractors find the same value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Extractor {
    Json(ka::Direct),
    /// A path beyond names, indexes and wildcards: evaluated by the JSONPath crate over a parsed copy.
    Rich {
        path: Arc<Rich>,
        list: bool,
    },
    Audit {
        what: ka::Computed,
        index: Option<u32>,
        key: Option<Box<str>>,
    },
    Whole(jevt::Computed),
    Evt(evt::Computed),
    Static(Box<str>),
    External(u32, Option<Box<str>>),
}

impl Extractor {
    /// Whether the value is a piece of the event as it came, in which a secret may stand.
    pub fn shows_object(&self) -> bool {
        match self {
            Extractor::Json(direct) => direct.shows_object(),
            Extractor::Rich { .. } => true,
            Extractor::Whole(what) => *what == jevt::Computed::Object,
            Extractor::Evt(what) => *what == evt::Computed::PluginInfo,
            _ => false,
        }
    }

    /// A rough cost, in units of reading a top-level string; decides the order of checks.
    pub fn cost(&self) -> u32 {
        match self {
            Extractor::Json(direct) => direct.cost(),
            Extractor::Evt(_) | Extractor::Static(_) | Extractor::External(..) => 1,
            Extractor::Audit { what, .. } => what.cost(),
            Extractor::Whole(_) => 50,
            Extractor::Rich { .. } => 500,
        }
    }
}

/// An event as the engine sees it: bytes, and a way from extractors to values.
pub trait View {
    /// The bytes that texts with [`Place::Event`] refer to.
    fn bytes(&self) -> &[u8];
    /// The value of one field; what the event does not have is [`Value::Absent`].
    fn extract(&mut self, extractor: &Extractor, scratch: &mut Scratch) -> Value;
    /// True when index keys may be trusted; false makes the engine consider every rule.
    fn indexable(&self) -> bool {
        true
    }
}

/// The fields that rules of one source may use.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    fields: Vec<Field>,
    by_name: HashMap<Cow<'static, str>, usize>,
}

static K8S_AUDIT: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::new([ka::table(), jevt::table(), evt::table()].concat()));

static SYSCALL: LazyLock<Catalog> = LazyLock::new(|| Catalog::new([evt::table(), syscall::table()].concat()));

/// An exec session's events carry the audit entry and the process.
static K8S_EXEC: LazyLock<Catalog> = LazyLock::new(|| {
    let tables = [ka::table(), jevt::table(), evt::table(), syscall::session_table()];
    Catalog::new(tables.concat())
});

impl Catalog {
    /// A catalog of exactly these rows; of two with one name the last counts.
    pub fn new(fields: Vec<Field>) -> Catalog {
        let by_name = fields.iter().enumerate().map(|(i, f)| (f.name.clone(), i)).collect();
        Catalog { fields, by_name }
    }

    /// The catalog of a source, without fields of the user's own.
    pub fn of(source: Source) -> Catalog {
        match source {
            Source::K8sAudit => K8S_AUDIT.clone(),
            Source::Syscall => SYSCALL.clone(),
            Source::K8sExec => K8S_EXEC.clone(),
            Source::Internal => Catalog::new(evt::table()),
        }
    }

    /// Adds fields of the user's own.
    ///
    /// # Errors
    /// Names that are taken or malformed, and paths that are no RFC 9535 JSONPath.
    pub fn with_user_fields(self, own: &[UserField]) -> Result<Catalog, Vec<UserFieldError>> {
        let mut errors = Vec::new();
        let mut fields = self.fields.clone();
        for field in own {
            if self.get(&field.name).is_some() {
                errors.push(UserFieldError::Taken(field.name.clone()));
            } else if !is_field_name(&field.name) {
                errors.push(UserFieldError::Name(field.name.clone()));
            } else if let Err(e) = Compiled::parse(&field.path) {
                errors.push(UserFieldError::Path(field.name.clone(), e));
            } else {
                let row = Field::string(
                    field.name.clone(),
                    Origin::JsonPath(field.path.clone().into()),
                    field.desc.clone(),
                );
                fields.push(if field.list { row.list() } else { row });
            }
        }
        if errors.is_empty() {
            Ok(Catalog::new(fields))
        } else {
            Err(errors)
        }
    }

    /// Adds `static.NAME` constants.
    pub fn with_static_fields<'a>(self, constants: impl Iterator<Item = (&'a String, &'a String)>) -> Catalog {
        let mut fields = self.fields;
        for (name, value) in constants {
            let origin = Origin::Static(value.as_str().into());
            fields.push(Field::string(format!("static.{name}"), origin, "constant of saker.yaml").always());
        }
        Catalog::new(fields)
    }

    pub fn get(&self, name: &str) -> Option<&Field> {
        self.by_name.get(name).map(|&i| &self.fields[i])
    }

    /// The field of a name as rules write it, and the argument that the name itself holds: `evt.arg.flags` is
    /// `evt.arg` with `flags`.
    pub fn find<'n>(&self, name: &'n str) -> Option<(&Field, Option<&'n str>)> {
        if let Some(field) = self.get(name) {
            return Some((field, None));
        }
        name.rmatch_indices('.').find_map(|(dot, _)| {
            let field = self.get(&name[..dot]).filter(|field| field.takes_member())?;
            Some((field, Some(&name[dot + 1..])))
        })
    }

    /// All rows, in table order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The longest field that `text` begins with and that needs no argument in brackets: the field, and how much of
    /// the text is its name.
    pub fn longest_prefix(&self, text: &str) -> Option<(&Field, usize)> {
        (1..=text.len()).rev().find_map(|len| {
            let (field, member) = self.find(text.get(..len)?)?;
            self.resolve(field, member).ok()?;
            Some((field, len))
        })
    }

    /// Resolves a field with its argument.
    ///
    /// # Errors
    /// When the argument is missing, not wanted, or not of the right form.
    pub fn resolve(&self, field: &Field, argument: Option<&str>) -> Result<Extractor, ArgumentError> {
        let name = || field.name.to_string();
        let mut index = None;
        match (field.argument, argument) {
            (Argument::None, Some(_)) => return Err(ArgumentError::NotWanted(name())),
            (Argument::Key | Argument::Member { .. }, None) => return Err(ArgumentError::Missing(name())),
            (Argument::Member { any: false, typed }, Some(text)) => {
                let numbered = !typed && parse_index(text).is_some();
                if !numbered && syscall::member_type(text).is_none() {
                    return Err(ArgumentError::NoSuchMember(name(), text.to_owned()));
                }
            }
            (Argument::OptionalIndex, Some(text)) => {
                index = Some(parse_index(text).ok_or_else(|| ArgumentError::NotAnIndex(name(), text.to_owned()))?)
            }
            _ => {}
        }
        Ok(match &field.origin {
            Origin::JsonPath(path) => ka::resolve_path(path, field, index, false),
            Origin::PodPath(path) => ka::resolve_path(path, field, index, true),
            Origin::Pointer => Extractor::Json(ka::Direct::pointer(Path::pointer(argument.unwrap_or_default()))),
            Origin::Audit(what) => Extractor::Audit {
                what: *what,
                index,
                key: argument.filter(|_| index.is_none()).map(Into::into),
            },
            Origin::Json(what) => Extractor::Whole(*what),
            Origin::Evt(what) => Extractor::Evt(*what),
            Origin::Static(value) => Extractor::Static(value.clone()),
            Origin::External(number) => Extractor::External(*number, argument.map(Into::into)),
        })
    }
}

/// Decimal digits without leading zeros.
fn parse_index(text: &str) -> Option<u32> {
    if text.len() > 1 && text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Letters, digits and underscores in at least two parts joined by dots.
fn is_field_name(name: &str) -> bool {
    let part = |p: &str| {
        p.starts_with(|c: char| c.is_ascii_alphabetic()) && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    name.contains('.') && name.split('.').all(part)
}

/// What is wrong with an argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    #[error("field `{0}` takes no argument")]
    NotWanted(String),
    #[error("field `{0}` needs an argument, as in `{0}[...]`")]
    Missing(String),
    #[error("field `{0}` takes an index such as `{0}[0]`, not `{1}`")]
    NotAnIndex(String, String),
    #[error("no event has a parameter `{1}` for field `{0}`")]
    NoSuchMember(String, String),
}

/// What is wrong with a field of the user's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserFieldError {
    #[error("field `{0}` exists already")]
    Taken(String),
    #[error("`{0}` is not a field name: write parts of letters, digits and `_` joined by dots, e.g. `ka.my.team`")]
    Name(String),
    #[error("field `{0}`: {1}")]
    Path(String, PathError),
}

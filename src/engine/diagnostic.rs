//! Errors and warnings of rule files, as values: a stable code, a place, a message, and help.

use super::source::{At, Location, SourceMap, Text};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

macro_rules! codes {
    ($($variant:ident = $severity:ident $name:literal, $description:literal;)+) => {
        /// The code of a diagnostic. `LOAD_*` are Falco's; those that begin with `SAKER_` are ours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($variant),+ }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),+ }
            }

            pub const fn description(self) -> &'static str {
                match self { $(Code::$variant => $description),+ }
            }

            pub const fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity),+ }
            }
        }
    };
}

codes! {
    FileRead = Error "LOAD_ERR_FILE_READ", "File read error";
    YamlParse = Error "LOAD_ERR_YAML_PARSE", "YAML parse error";
    YamlValidate = Error "LOAD_ERR_YAML_VALIDATE", "Error validating internal structure of YAML file";
    CompileCondition = Error "LOAD_ERR_COMPILE_CONDITION", "Error compiling condition";
    CompileOutput = Error "LOAD_ERR_COMPILE_OUTPUT", "Error compiling output";
    Validate = Error "LOAD_ERR_VALIDATE", "Error validating rule/macro/list/exception objects";
    UnknownSource = Warning "LOAD_UNKNOWN_SOURCE", "Unknown event source";
    UnsafeNaCheck = Warning "LOAD_UNSAFE_NA_CHECK", "Unsafe <NA> comparison in condition";
    NoEvttype = Warning "LOAD_NO_EVTTYPE", "Condition has no event-type restriction";
    UnknownFilter = Warning "LOAD_UNKNOWN_FILTER", "Unknown field or event-type in condition or output";
    UnusedMacro = Warning "LOAD_UNUSED_MACRO", "Unused macro";
    UnusedList = Warning "LOAD_UNUSED_LIST", "Unused list";
    UnknownItem = Warning "LOAD_UNKNOWN_ITEM", "Unknown rules file item";
    DeprecatedItem = Warning "LOAD_DEPRECATED_ITEM", "Used deprecated item";
    AppendNoValues = Warning "LOAD_APPEND_NO_VALUES", "Overriding/appending with no values";
    ExceptionNameNotUnique = Warning "LOAD_EXCEPTION_NAME_NOT_UNIQUE", "Multiple exceptions defined with the same name";
    InvalidMacroName = Warning "LOAD_INVALID_MACRO_NAME", "Invalid macro name";
    InvalidListName = Warning "LOAD_INVALID_LIST_NAME", "Invalid list name";
    CompileConditionWarning = Warning "LOAD_COMPILE_CONDITION", "Warning in rule condition";
    UnknownKey = Warning "LOAD_UNKNOWN_KEY", "Unknown key in item";
    DuplicateKey = Warning "SAKER_DUPLICATE_KEY", "Key given more than once in an item";
    LikelyList = Warning "SAKER_LIKELY_LIST", "A value looks like the name of a list that does not exist";
    AppendPrecedence = Warning "SAKER_APPEND_PRECEDENCE", "Appended text changes how a condition is read";
    NeverMatches = Warning "SAKER_NEVER_MATCHES", "Condition can never hold";
    AlwaysMatches = Warning "SAKER_ALWAYS_MATCHES", "Condition holds for every event";
    Shadowed = Warning "SAKER_SHADOWED", "An earlier rule matches every event that this rule matches";
    OutputFieldAbsent = Warning "SAKER_OUTPUT_FIELD_ABSENT", "The condition rules out that a field of the output has a value";
    LongName = Warning "SAKER_LONG_NAME", "A process name is longer than the kernel keeps it";
    Costly = Warning "SAKER_COSTLY", "Condition is costly and looked at for every event";
}

/// One finding about rule files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub message: String,
    /// What is underlined.
    pub at: At,
    /// What to do about it.
    pub help: Option<String>,
    /// Outermost first: kind and name of the items around the place, with where each begins, as upstream has them.
    pub context: Vec<Context>,
    /// The condition that is meant, where upstream goes on counting inside one.
    pub expression: Option<Box<Expression>>,
}

/// A place in a condition, as upstream counts: from the condition's own text, which folding and appends have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    pub text: String,
    /// The byte that is meant; nothing where upstream means the whole condition.
    pub offset: Option<usize>,
}

/// An item around a diagnostic, as upstream names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub item_type: &'static str,
    pub item_name: String,
    pub at: At,
}

impl Context {
    pub fn new(item_type: &'static str, item_name: &str, at: At) -> Context {
        Context {
            item_type,
            item_name: item_name.to_owned(),
            at,
        }
    }
}

impl Expression {
    /// The place of `at` in a condition's text, if it was written there.
    pub fn find(text: &Text, at: At) -> Option<Expression> {
        let end = || (at.start == text.whole().end).then_some(text.as_str().len());
        let offset = text.find(at.start).or_else(end)?;
        Some(Expression {
            text: text.as_str().to_owned(),
            offset: Some(offset),
        })
    }
}

impl Diagnostic {
    pub fn new(code: Code, message: impl Into<String>, at: At) -> Diagnostic {
        Diagnostic {
            code,
            message: message.into(),
            at,
            help: None,
            context: Vec::new(),
            expression: None,
        }
    }

    pub fn with_help(mut self, help: Option<String>) -> Diagnostic {
        self.help = help;
        self
    }

    pub fn is_error(&self) -> bool {
        self.code.severity() == Severity::Error
    }

    /// The diagnostic as text: where, what, the underlined source, help.
    pub fn render(&self, sources: &SourceMap) -> String {
        let word = if self.is_error() { "error" } else { "warning" };
        let Some(place) = sources.locate(self.at.start) else {
            return format!("{word}[{}]: {}\n", self.code.name(), printable(&self.message));
        };
        let width = self.width(sources, &place);
        let gutter = " ".repeat(place.line.to_string().len());
        // Tabs of the source are kept in front of the underline, so that it stands under its text.
        let lead: String = place
            .before
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let mut out = format!("{word}[{}]: {}\n", self.code.name(), printable(&self.message));
        out += &format!(
            "{gutter}--> {}:{}:{}\n",
            printable(place.file),
            place.line,
            place.column
        );
        out += &format!("{gutter} |\n{} | {}\n", place.line, printable(place.text));
        out += &format!("{gutter} | {lead}{}\n", "^".repeat(width));
        if let Some(help) = &self.help {
            out += &format!("{gutter} = help: {}\n", printable(help));
        }
        out
    }

    /// How many characters of the place's line are meant, at least one.
    pub fn width(&self, sources: &SourceMap, place: &Location<'_>) -> usize {
        let text = sources.slice(self.at);
        let line = text.lines().next().unwrap_or_default().trim_end();
        let rest = place.text.chars().count().saturating_sub(place.column - 1);
        line.chars().count().clamp(1, rest.max(1))
    }
}

/// Rule text on a terminal: control characters other than tab become visible.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// The known word most like `word`, if one is near enough to be meant.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match word.chars().count() {
        0..=2 => 1,
        3..=6 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, k)| (*distance, k.len()))
        .map(|(_, k)| k)
}

/// `did you mean `x`?`
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, known).map(|k| format!("did you mean `{k}`?"))
}

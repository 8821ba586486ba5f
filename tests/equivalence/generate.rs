//! Random rule sets and audit events, made from a tape of choices so that proptest can shrink them.

use serde_json::{Map, Value, json};

/// A tape of choices; at its end every choice is the first one.
pub struct Choices {
    tape: Vec<u16>,
    at: usize,
}

impl Choices {
    pub fn new(tape: Vec<u16>) -> Choices {
        Choices { tape, at: 0 }
    }

    pub fn below(&mut self, n: usize) -> usize {
        let choice = self.tape.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) % n
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// True once in `n` times.
    fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// One step from the event to a field's value.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Name(&'static str),
    Index(usize),
    All,
    /// Of a JSON pointer: a name or an index, as the value turns out.
    Token(&'static str),
    /// The pod of the request, wherever it is.
    Pod,
}

/// A field with the place where its value is.
pub struct Field {
    pub name: &'static str,
    pub steps: &'static [Step],
    pub list: bool,
    /// Values it often has.
    words: &'static [&'static str],
}

const fn field(name: &'static str, steps: &'static [Step], words: &'static [&'static str]) -> Field {
    Field {
        name,
        steps,
        list: false,
        words,
    }
}

const fn list(name: &'static str, steps: &'static [Step], words: &'static [&'static str]) -> Field {
    Field {
        list: true,
        ..field(name, steps, words)
    }
}

const VERBS: &[&str] = &["get", "create", "patch", "delete"];
const RESOURCES: &[&str] = &["pods", "secrets", "roles"];
const STAGES: &[&str] = &["ResponseComplete", "RequestReceived"];
const USERS: &[&str] = &["alice", "system:anonymous", "system:serviceaccount:kube-system:x"];
const IMAGES: &[&str] = &["a/b:1", "a/b:2", "c"];

use Step::*;

/// The fields of generated conditions. The first ones are those that the rule index can be built on.
pub const FIELDS: &[Field] = &[
    field("ka.verb", &[Name("verb")], VERBS),
    field("ka.target.resource", &[Name("objectRef"), Name("resource")], RESOURCES),
    field(
        "ka.target.subresource",
        &[Name("objectRef"), Name("subresource")],
        &["exec", "status"],
    ),
    field("ka.stage", &[Name("stage")], STAGES),
    field("ka.user.name", &[Name("user"), Name("username")], USERS),
    field("jevt.value[/verb]", &[Token("verb")], VERBS),
    field(
        "ka.target.namespace",
        &[Name("objectRef"), Name("namespace")],
        &["kube-system", "default"],
    ),
    field("ka.target.name", &[Name("objectRef"), Name("name")], &["abc", "ab"]),
    field("ka.impuser.name", &[Name("impersonatedUser"), Name("username")], USERS),
    field(
        "ka.useragent",
        &[Name("userAgent")],
        &["kubectl/v1.30 (linux)", "/opt/dir/sub"],
    ),
    field(
        "ka.response.code",
        &[Name("responseStatus"), Name("code")],
        &["200", "403"],
    ),
    field(
        "jevt.value[/responseStatus/code]",
        &[Token("responseStatus"), Token("code")],
        &["200", "403"],
    ),
    field(
        "ka.auth.decision",
        &[Name("annotations"), Name("authorization.k8s.io/decision")],
        &["allow", "forbid"],
    ),
    field(
        "ka.req.service.type",
        &[Name("requestObject"), Name("spec"), Name("type")],
        &["NodePort"],
    ),
    field(
        "jevt.value[/requestObject/spec/type]",
        &[Token("requestObject"), Token("spec"), Token("type")],
        &["NodePort"],
    ),
    field(
        "jevt.value[/user/groups/0]",
        &[Token("user"), Token("groups"), Token("0")],
        USERS,
    ),
    field("jevt.value[/objectRef]", &[Token("objectRef")], &["{}"]),
    field(
        "ka.req.pod.host_network",
        &[Pod, Name("spec"), Name("hostNetwork")],
        &["true", "false"],
    ),
    list("ka.user.groups", &[Name("user"), Name("groups"), All], USERS),
    list("ka.sourceips", &[Name("sourceIPs"), All], &["10.0.0.1", "::1"]),
    list("ka.sourceips[0]", &[Name("sourceIPs"), Index(0)], &["10.0.0.1", "::1"]),
    list(
        "ka.req.role.rules.verbs",
        &[Name("requestObject"), Name("rules"), All, Name("verbs"), All],
        VERBS,
    ),
    list(
        "ka.req.role.rules.verbs[1]",
        &[Name("requestObject"), Name("rules"), Index(1), Name("verbs"), All],
        VERBS,
    ),
    list(
        "ka.req.pod.containers.image",
        &[Pod, Name("spec"), Name("containers"), All, Name("image")],
        IMAGES,
    ),
];

/// Values for any field: empty, with blanks, quotes, escapes, and other scripts.
const WORDS: &[&str] = &[
    "a",
    "ab",
    "",
    "abc",
    "AB",
    "a b",
    "b",
    "ä",
    "Ä",
    "日本",
    "say \"a\"",
    "it's",
    "back\\slash",
    "line\nbreak",
    "tab\t",
    "a/b",
    "/opt/dir",
    "/opt/dir/sub",
    "/opt//dir2",
    "/",
    "🦅a",
    "null",
    "true",
    "=",
    "(a, b)",
    "*",
    "a*",
    "[a]",
];

/// Words that are safe as items of a list definition, which is text that is put into conditions.
const ITEMS: &[&str] = &[
    "get",
    "pods",
    "create",
    "alice",
    "a",
    "ab",
    "two words",
    "ä",
    "200",
    "/opt/dir",
    "a/b:1",
    "NodePort",
];
const GLOBS: &[&str] = &[
    "*", "a*", "*b", "?", "a?c", "*a*b*", "[ab]*", "[!a]*", "*[!ä]", "system:*", "*??b", "日?", "*s",
];
const REGEXES: &[&str] = &[
    "a.*",
    "(a|ab)c?",
    "[a-c]+",
    ".*:.*",
    "system:[a-z]+",
    ".*",
    "a b",
    "^ab$",
    "日.",
    "po(ds)?",
    ".*\\..*",
    "",
    "x*",
];

/// Definitions in the order of their file.
#[derive(Debug, Default)]
pub struct Rules {
    pub lists: Vec<(String, Vec<String>)>,
    pub macros: Vec<(String, String)>,
    pub rules: Vec<(String, String)>,
}

/// One audit event.
#[derive(Debug)]
pub struct Event {
    pub json: Value,
    style: Style,
}

/// How an event is written: which characters are escaped without need, and whether there are blanks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    escaped: &'static str,
    blanks: bool,
}

#[derive(Debug)]
pub struct Case {
    pub rules: Rules,
    pub events: Vec<Event>,
}

impl Case {
    pub fn generate(c: &mut Choices) -> Case {
        let events = (0..1 + c.below(6)).map(|_| event(c)).collect();
        let mut rules = Rules::default();
        for i in 0..c.below(4) {
            let items = (0..c.below(9)).map(|_| c.one(ITEMS).to_owned()).collect();
            rules.lists.push((format!("list_{i}"), items));
        }
        for i in 0..c.below(4) {
            let condition = condition(c, &rules, 2);
            rules.macros.push((format!("macro_{i}"), condition));
        }
        for i in 0..1 + c.below(12) {
            let condition = condition(c, &rules, 4);
            rules.rules.push((format!("rule {i}"), condition));
        }
        Case { rules, events }
    }
}

impl Rules {
    pub fn yaml(&self) -> String {
        let mut out = String::new();
        for (name, items) in &self.lists {
            out += &format!("- list: {name}\n  items: {}\n", json!(items));
        }
        for (name, condition) in &self.macros {
            out += &format!("- macro: {name}\n  condition: {}\n", json!(condition));
        }
        for (name, condition) in &self.rules {
            out += &format!(
                "- rule: {name}\n  condition: {}\n  source: k8s_audit\n  desc: d\n  output: x\n  priority: INFO\n",
                json!(condition)
            );
        }
        out
    }
}

fn condition(c: &mut Choices, rules: &Rules, depth: usize) -> String {
    match c.below(if depth == 0 { 4 } else { 12 }) {
        0..=2 => check(c, rules),
        3 if rules.macros.is_empty() => indexed(c),
        3 => rules.macros[c.below(rules.macros.len())].0.clone(),
        4 => format!("not {}", parenthesised(c, rules, depth - 1)),
        5 | 6 => joined(c, rules, depth, " and "),
        7 => joined(c, rules, depth, " or "),
        8 => alternatives(c, rules),
        // What real rules are like: cheap requirements and something else.
        9 | 10 => format!(
            "{} and {} and {}",
            indexed(c),
            indexed(c),
            parenthesised(c, rules, depth - 1)
        ),
        _ => format!("{} and not {}", indexed(c), parenthesised(c, rules, depth - 1)),
    }
}

fn parenthesised(c: &mut Choices, rules: &Rules, depth: usize) -> String {
    format!("({})", condition(c, rules, depth))
}

fn joined(c: &mut Choices, rules: &Rules, depth: usize, word: &str) -> String {
    let parts: Vec<String> = (0..2 + c.below(3))
        .map(|_| parenthesised(c, rules, depth - 1))
        .collect();
    parts.join(word)
}

/// What the index can be built on.
fn indexed(c: &mut Choices) -> String {
    let field = &FIELDS[c.below(4)];
    match c.below(5) {
        0 | 1 => format!("{} = {}", field.name, c.one(field.words)),
        2 => format!("{} in ({}, {})", field.name, c.one(field.words), c.one(field.words)),
        3 => format!("not {} exists", field.name),
        _ => format!("{} exists", field.name),
    }
}

/// Several tests of one field in an `or`, which become one.
fn alternatives(c: &mut Choices, rules: &Rules) -> String {
    let field = &FIELDS[c.below(FIELDS.len())];
    let same = c.below(2) == 0;
    let operator = c.below(16);
    let parts: Vec<String> = (0..2 + c.below(4))
        .map(|_| {
            let operator = if same { operator } else { c.below(16) };
            compare(c, rules, field, operator)
        })
        .collect();
    format!("({})", parts.join(" or "))
}

fn check(c: &mut Choices, rules: &Rules) -> String {
    let field = &FIELDS[c.below(FIELDS.len())];
    match c.below(10) {
        0..=7 => {
            let operator = c.below(16);
            compare(c, rules, field, operator)
        }
        8 => transformed(c, field),
        _ => against_field(c, field),
    }
}

fn compare(c: &mut Choices, rules: &Rules, field: &Field, operator: usize) -> String {
    let name = field.name;
    if field.list {
        let operator = ["in", "intersects", "exists"][operator % 3];
        if operator == "exists" {
            return format!("{name} exists");
        }
        return format!("{name} {operator} {}", items(c, rules, field));
    }
    match operator {
        0..=2 => format!("{name} = {}", word(c, field)),
        3 => format!("{name} != {}", word(c, field)),
        4..=6 => format!("{name} in {}", items(c, rules, field)),
        7 => format!("{name} intersects {}", items(c, rules, field)),
        8 => format!("{name} exists"),
        9 => format!("{name} glob {}", quoted(c.one(GLOBS))),
        10 => format!("{name} regex {}", quoted(c.one(REGEXES))),
        11 => format!("{name} pmatch {}", items(c, rules, field)),
        // The grammar has only numbers on the right of these.
        12 => format!(
            "{name} {} {}",
            c.one(&["<", "<=", ">", ">="]),
            c.one(&["200", "0", "7", "403"])
        ),
        13 => {
            let modifier = c.one(&["oneof", "anyof", "allof"]);
            let operator = c.one(&[
                "=",
                "!=",
                "contains",
                "startswith",
                "endswith",
                "glob",
                "iglob",
                "icontains",
            ]);
            format!("{name} {operator} {modifier} {}", items(c, rules, field))
        }
        _ => {
            let operator = c.one(&["contains", "startswith", "endswith", "icontains", "iglob"]);
            let part: String = word_text(c, field).chars().take(1 + c.below(4)).collect();
            format!("{name} {operator} {}", quoted(&part))
        }
    }
}

fn transformed(c: &mut Choices, field: &Field) -> String {
    let name = field.name;
    if field.list {
        return format!("len({name}) {} {}", c.one(&["=", ">", "<="]), c.below(4));
    }
    match c.below(6) {
        0 => format!(
            "tolower({name}) = {}",
            quoted(&word_text(c, field).to_ascii_lowercase())
        ),
        1 => format!(
            "toupper({name}) startswith {}",
            quoted(&word_text(c, field).to_ascii_uppercase())
        ),
        2 => format!("len({name}) {} {}", c.one(&["=", ">", "<="]), c.below(9)),
        3 => format!("basename({name}) = {}", word(c, field)),
        4 => format!("concat({name}, \"/\", ka.verb) contains {}", word(c, field)),
        _ => format!("join(\"-\", ({name}, ka.stage)) startswith {}", word(c, field)),
    }
}

fn against_field(c: &mut Choices, left: &Field) -> String {
    let others: Vec<&Field> = FIELDS.iter().filter(|f| f.list == left.list).collect();
    let right = others[c.below(others.len())].name;
    if left.list {
        return format!("{} {} val({right})", left.name, c.one(&["in", "intersects"]));
    }
    let operator = c.one(&["=", "!=", "contains", "startswith", "endswith", "<", "in"]);
    match c.below(3) {
        0 => format!("{} {operator} tolower({right})", left.name),
        _ => format!("{} {operator} val({right})", left.name),
    }
}

fn items(c: &mut Choices, rules: &Rules, field: &Field) -> String {
    let items: Vec<String> = (0..c.below(5))
        .map(|_| {
            if !rules.lists.is_empty() && c.rarely(3) {
                rules.lists[c.below(rules.lists.len())].0.clone()
            } else {
                word(c, field)
            }
        })
        .collect();
    format!("({})", items.join(", "))
}

fn word_text(c: &mut Choices, field: &Field) -> &'static str {
    if c.below(3) == 0 {
        c.one(WORDS)
    } else {
        c.one(field.words)
    }
}

fn word(c: &mut Choices, field: &Field) -> String {
    quoted(word_text(c, field))
}

/// A constant as the language has it; letters, digits and a few more need no quotes.
fn quoted(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "/:.*?-".contains(c)) {
        return text.to_owned();
    }
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
        .replace('\t', "\\t");
    format!("\"{escaped}\"")
}

fn event(c: &mut Choices) -> Event {
    let mut json = json!({"kind": "Event", "stageTimestamp": "2026-01-02T03:04:05.000000Z"});
    if !c.rarely(8) {
        json["auditID"] = json!("id");
    }
    for field in FIELDS {
        if !c.rarely(3) {
            place(c, &mut json, field.steps, field);
        }
    }
    if c.rarely(4) {
        json["responseObject"] = json!({"kind": "Pod", "spec": {"hostNetwork": true, "containers": [{"image": "c"}]}});
    }
    let style = Style {
        escaped: c.one(&["", "ä日🦅", "eb/"]),
        blanks: c.rarely(3),
    };
    Event { json, style }
}

/// Puts a value where a field is found, unless something else is there.
fn place(c: &mut Choices, node: &mut Value, steps: &[Step], field: &Field) {
    let Some((step, rest)) = steps.split_first() else {
        if node.is_null() {
            *node = scalar(c, field);
        }
        return;
    };
    if node.is_null() && c.rarely(20) {
        *node = scalar(c, field);
        return;
    }
    let name = match step {
        Name(name) | Token(name) => name,
        Pod => "requestObject",
        All | Index(_) => {
            if node.is_null() {
                *node = json!([]);
            }
            if let Value::Array(array) = node {
                for _ in 0..c.below(4) {
                    let mut item = Value::Null;
                    place(c, &mut item, rest, field);
                    array.push(item);
                }
            }
            return;
        }
    };
    if node.is_null() {
        *node = Value::Object(Map::new());
    }
    if let Value::Object(object) = node {
        let inner = object.entry(name).or_insert(Value::Null);
        place(c, inner, rest, field);
    }
}

fn scalar(c: &mut Choices, field: &Field) -> Value {
    match c.below(16) {
        0 => json!(c.below(1000)),
        1 => json!(c.below(2) == 0),
        2 => json!({"a": "ä", "b": [1, null]}),
        3 => json!([]),
        4..=6 => json!(c.one(WORDS)),
        _ => json!(c.one(field.words)),
    }
}

impl Event {
    /// The event as JSON text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.style.write(&self.json, true, &mut out);
        out
    }

    /// A part of the event as it stands in the text, without blanks.
    pub fn compact(&self, value: &Value) -> String {
        let mut out = String::new();
        self.style.write(value, false, &mut out);
        out
    }
}

impl Style {
    fn write(&self, value: &Value, blanks: bool, out: &mut String) {
        let gap = if self.blanks && blanks { "\n " } else { "" };
        match value {
            Value::String(text) => self.string(text, out),
            Value::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    *out += if i > 0 { "," } else { "" };
                    *out += gap;
                    self.write(item, blanks, out);
                }
                *out += gap;
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (i, (name, item)) in members.iter().enumerate() {
                    *out += if i > 0 { "," } else { "" };
                    *out += gap;
                    *out += &json!(name).to_string();
                    *out += gap;
                    out.push(':');
                    *out += gap;
                    // An event that does not say plainly what it is, is none.
                    if name == "kind" {
                        *out += &item.to_string();
                    } else {
                        self.write(item, blanks, out);
                    }
                }
                *out += gap;
                out.push('}');
            }
            other => *out += &other.to_string(),
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            if self.escaped.contains(c) {
                let mut units = [0; 2];
                c.encode_utf16(&mut units)
                    .iter()
                    .for_each(|unit| *out += &format!("\\u{unit:04x}"));
            } else {
                let quoted = json!(c.to_string()).to_string();
                *out += &quoted[1..quoted.len() - 1];
            }
        }
        out.push('"');
    }
}

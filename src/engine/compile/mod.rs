//! From definitions to a rule set: lists and macros expanded, conditions checked, predicates shared.

mod build;
mod check;
mod constant;
mod evttypes;
mod expand;
mod output;
mod place;
mod warn;

use std::collections::BTreeMap;

use super::ast::{Expr, ExprKind, Operand};
use super::diagnostic::{Code, Diagnostic, did_you_mean};
use super::index::Index;
use super::lint::{self, Linted};
use super::load::{Collector, Definitions, PLUGINS, Plugin, RuleDef};
use super::parser;
use super::pattern::wildcard;
use super::program::{NodeId, Program, Rule, RuleSet};
use super::source::{At, RuleFile, SourceMap};
use crate::config::{AppendOutput, Matching, SelectBy, Selection, UserField};
use crate::event::{Priority, Source};
use crate::fields::{Catalog, UserFieldError};

use build::Builder;
pub(super) use build::conjuncts as conjunct_nodes;

/// How rules are loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rules of other sources are skipped.
    pub sources: Vec<Source>,
    pub matching: Matching,
    /// Rules less severe than this are left out.
    pub priority: Priority,
    pub select: Vec<Selection>,
    pub append_output: Vec<AppendOutput>,
    pub static_fields: BTreeMap<String, String>,
    pub fields: Vec<UserField>,
    /// Tell unused lists and macros of the whole set, and not of each file with those before it, as upstream does.
    pub unused_of_all: bool,
    /// Keep each rule's conjuncts, for tests and explanations.
    pub explain: bool,
    /// Mask credentials in what outputs print of objects.
    pub mask: bool,
    /// Warn of more than upstream does, under `SAKER_*` codes.
    pub lint: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sources: vec![Source::K8sAudit],
            matching: Matching::First,
            priority: Priority::Debug,
            select: Vec::new(),
            append_output: Vec::new(),
            static_fields: BTreeMap::new(),
            fields: Vec::new(),
            unused_of_all: false,
            explain: false,
            mask: false,
            lint: false,
        }
    }
}

/// What loading came to.
#[derive(Debug)]
pub struct Loaded {
    /// The rule set, unless there was an error.
    pub rules: Option<RuleSet>,
    pub diagnostics: Vec<Diagnostic>,
    pub sources: SourceMap,
    /// Rules left out because their source is not enabled here. They are checked all the same.
    pub skipped: Vec<(String, Source)>,
    /// Lists, macros and rules as they stand after every append and override.
    pub definitions: Definitions,
}

impl Loaded {
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.is_error())
    }
}

/// What rules are checked against.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The fields of each source.
    pub catalogs: Vec<(Source, Catalog)>,
    /// The plugins that count as loaded.
    pub plugins: Vec<Plugin>,
}

impl Environment {
    /// The tables of Saker with what the options add.
    ///
    /// # Errors
    /// Fields of the user's own that cannot be used.
    pub fn new(options: &Options) -> Result<Environment, Vec<UserFieldError>> {
        let mut catalogs = Vec::new();
        for source in Source::RULE_SOURCES {
            let mut catalog = Catalog::of(source);
            if source == Source::K8sAudit {
                catalog = catalog.with_user_fields(&options.fields)?;
            }
            catalogs.push((source, catalog.with_static_fields(options.static_fields.iter())));
        }
        Ok(Environment {
            catalogs,
            plugins: PLUGINS.to_vec(),
        })
    }
}

/// Loads rule files in order; each must make sense with those before it.
///
/// # Errors
/// Fields of the user's own that cannot be used.
pub fn load(files: Vec<RuleFile>, options: &Options) -> Result<Loaded, Vec<UserFieldError>> {
    Ok(load_in(files, options, &Environment::new(options)?))
}

/// The same, with tables and plugins of the caller's.
pub fn load_in(files: Vec<RuleFile>, options: &Options, environment: &Environment) -> Loaded {
    let mut collector = Collector::new(environment.plugins.clone());
    let mut compiled = None;
    let count = files.len();
    for (i, file) in files.into_iter().enumerate() {
        collector.add(file);
        let last = i + 1 == count;
        let mut compiler = Compiler {
            options,
            catalogs: &environment.catalogs,
            diagnostics: Vec::new(),
            // Later files may still change what an earlier one defines.
            lint: options.lint && last,
        };
        let result = compiler.compile(&collector);
        let unused = |d: &Diagnostic| matches!(d.code, Code::UnusedMacro | Code::UnusedList);
        compiler
            .diagnostics
            .into_iter()
            .filter(|d| last || !options.unused_of_all || !unused(d))
            .for_each(|d| collector.report(d));
        if last {
            compiled = Some(result);
        }
    }
    let compiled = compiled.unwrap_or_default();
    let mut diagnostics = collector.diagnostics;
    diagnostics.sort_by_key(|d| d.at.start);
    let failed = diagnostics.iter().any(Diagnostic::is_error);
    Loaded {
        rules: (!failed).then_some(compiled.rules),
        diagnostics,
        sources: collector.sources,
        skipped: compiled.skipped,
        definitions: collector.definitions,
    }
}

#[derive(Default)]
struct Compiled {
    rules: RuleSet,
    skipped: Vec<(String, Source)>,
}

struct Compiler<'a> {
    options: &'a Options,
    catalogs: &'a [(Source, Catalog)],
    diagnostics: Vec<Diagnostic>,
    lint: bool,
}

impl Compiler<'_> {
    fn compile(&mut self, collector: &Collector) -> Compiled {
        let mut expansion = expand::Expansion::new(collector);
        let mut out = Compiled {
            rules: RuleSet::new(self.options.matching == Matching::All),
            skipped: Vec::new(),
        };
        let mut builders: Vec<(Source, Builder, Vec<Rule>)> = self
            .catalogs
            .iter()
            .map(|(s, _)| (*s, Builder::default(), Vec::new()))
            .collect();
        for rule in &collector.definitions.rules {
            let Some(source) = rule.known_source() else {
                self.report(
                    rule,
                    Diagnostic::new(
                        Code::UnknownSource,
                        format!("Unknown source {}, skipping", rule.source),
                        rule.source_at,
                    ),
                );
                continue;
            };
            let expanded = expansion.rule(rule);
            let enabled = self.options.sources.contains(&source);
            if !enabled {
                out.skipped.push((rule.name.clone(), source));
            }
            let (expr, undefined) = match expanded {
                Ok(expanded) => expanded,
                Err(diagnostic) => {
                    self.report(rule, *diagnostic);
                    continue;
                }
            };
            let complete = undefined.is_empty();
            undefined.into_iter().for_each(|d| self.report(rule, d));
            let Some((catalog, (_, builder, rules))) = self
                .catalogs
                .iter()
                .find(|(s, _)| *s == source)
                .map(|(_, c)| c)
                .zip(builders.iter_mut().find(|(s, ..)| *s == source))
            else {
                continue;
            };
            let mut found = exception_fields(rule, catalog);
            if !found.is_empty() {
                found.into_iter().for_each(|d| self.report(rule, d));
                continue;
            }
            let node = check::condition(&expr, catalog, builder, &mut found);
            let macros = &collector.definitions.macros;
            found
                .iter_mut()
                .for_each(|d| place::in_condition(rule, &expr, macros, d));
            let of_condition = found.len();
            let output = output::compile(rule, source, catalog, builder, self.options, &mut found);
            found[of_condition..]
                .iter_mut()
                .for_each(|d| place::output_context(rule, d));
            if !enabled {
                found.retain(|d| !check::is_refusal(d));
            }
            if complete
                && rule.skip_if_unknown_filter
                && found.iter().any(|d| d.is_error() && is_unknown_field(&d.message))
            {
                let first = found.into_iter().find(|d| d.is_error() && is_unknown_field(&d.message));
                first.into_iter().for_each(|d| {
                    self.report(
                        rule,
                        Diagnostic {
                            code: Code::UnknownFilter,
                            ..d
                        },
                    )
                });
                continue;
            }
            let failed = !complete || found.iter().any(Diagnostic::is_error);
            if !failed && source == Source::Syscall && rule.warn_evttypes && evttypes::too_many(&expr) {
                let message = "Rule matches too many evt.type values. This has a significant performance penalty.";
                let help = "begin the condition with the events it is about, e.g. `evt.type in (open, openat) and …`";
                found.push(
                    Diagnostic::new(Code::NoEvttype, message, rule.condition.whole()).with_help(Some(help.to_owned())),
                );
            }
            if self.lint && !failed {
                let (slots, nodes) = builder.parts();
                let linted = Linted {
                    rule,
                    expr: &expr,
                    node,
                    output: &output,
                    slots,
                    nodes,
                };
                linted.check(collector, catalog, &mut found);
            }
            found.into_iter().for_each(|d| self.report(rule, d));
            if failed || !enabled || rule.priority > self.options.priority || !self.enabled(rule) {
                continue;
            }
            let conjuncts = if self.options.explain {
                conjuncts(&expr, catalog, builder)
            } else {
                Vec::new()
            };
            rules.push(Rule {
                name: rule.name.as_str().into(),
                source,
                priority: rule.priority,
                desc: rule.desc.clone(),
                tags: rule.tags.iter().cloned().collect(),
                runbook: rule.runbook.clone(),
                condition: expr.to_string(),
                node,
                conjuncts,
                output,
            });
        }
        expansion.finish(&mut self.diagnostics);
        if self.lint {
            lint::macros(&collector.definitions.macros, &mut self.diagnostics);
            for (_, builder, rules) in builders.iter().filter(|_| !out.rules.match_all) {
                for (rule, diagnostic) in lint::shadowed(builder.parts().1, rules, &collector.definitions) {
                    self.report(rule, diagnostic);
                }
            }
        }
        for (source, builder, rules) in builders {
            let conditions: Vec<NodeId> = rules.iter().map(|r| r.node).collect();
            let (slots, nodes) = builder.finish(&conditions);
            let index = Index::build(&slots, &nodes, &rules);
            out.rules.set(
                source,
                Program {
                    slots,
                    nodes,
                    rules,
                    index,
                },
            );
        }
        out
    }

    fn report(&mut self, rule: &RuleDef, mut diagnostic: Diagnostic) {
        if diagnostic.context.is_empty() {
            diagnostic.context.push(place::rule_context(rule));
        }
        self.diagnostics.push(diagnostic);
    }

    /// The last selection that names the rule decides; otherwise its own `enabled`.
    fn enabled(&self, rule: &RuleDef) -> bool {
        let names = |by: &SelectBy| match by {
            SelectBy::Rule(pattern) => wildcard(pattern, &rule.name),
            SelectBy::Tag(tag) => rule.tags.contains(tag),
        };
        self.options
            .select
            .iter()
            .fold(rule.enabled, |enabled, selection| match selection {
                Selection::Enable(by) if names(by) => true,
                Selection::Disable(by) if names(by) => false,
                _ => enabled,
            })
    }
}

/// The parts of a condition that must all hold, as text and node.
fn conjuncts(expr: &Expr, catalog: &Catalog, builder: &mut Builder) -> Vec<(String, NodeId)> {
    match &expr.kind {
        ExprKind::And(children) => children.iter().flat_map(|c| conjuncts(c, catalog, builder)).collect(),
        // What is wrong has been said of the whole condition.
        _ => vec![(
            expr.to_string(),
            check::condition(expr, catalog, builder, &mut Vec::new()),
        )],
    }
}

fn is_unknown_field(message: &str) -> bool {
    message.contains("nonexistent field")
        || message.starts_with("unknown filter")
        || message.starts_with("unknown event type")
        || message.contains("is not supported by saker's probe")
}

/// Fields that exceptions name and the source does not have.
fn exception_fields(rule: &RuleDef, catalog: &Catalog) -> Vec<Diagnostic> {
    rule.exceptions
        .iter()
        .flat_map(|exception| exception.field_texts().into_iter().map(move |text| (exception, text)))
        .filter_map(|(exception, text)| {
            let (operand, _) = parser::parse_operand(text.as_str()).ok()?;
            let unknown = operand
                .fields()
                .into_iter()
                .filter_map(Operand::field_name)
                .find(|name| catalog.find(name).is_none())?;
            let help = did_you_mean(unknown, catalog.fields().iter().map(|f| f.name.as_ref()));
            let message = format!("'{}' is not a supported filter field", text.as_str());
            let mut diagnostic = Diagnostic::new(Code::Validate, message, text.whole()).with_help(help);
            diagnostic.context = vec![place::rule_context(rule), exception.context()];
            Some(diagnostic)
        })
        .collect()
}

/// A range around a condition's part; tree spans are positions once a tree is expanded.
fn at(span: &super::ast::Span) -> At {
    At {
        start: span.start,
        end: span.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(text: &str) -> Result<Vec<String>, Vec<String>> {
        let file = RuleFile {
            name: "rules.yaml".to_owned(),
            text: text.to_owned(),
        };
        let loaded = load(vec![file], &Options::default()).expect("no fields of the user's own");
        let errors: Vec<String> = loaded.errors().map(|e| e.message.clone()).collect();
        match &loaded.rules {
            Some(rules) => Ok(rules.rules().map(|r| r.condition.clone()).collect()),
            None => Err(errors),
        }
    }

    #[test]
    fn macros_see_what_comes_before_their_latest_definition() {
        let rule = "- rule: T\n  desc: d\n  condition: a\n  output: o\n  priority: INFO\n  source: k8s_audit\n";
        let define = |name: &str, condition: &str| format!("- macro: {name}\n  condition: {condition}\n");
        let append = |name: &str, condition: &str| {
            format!("- macro: {name}\n  condition: {condition}\n  override:\n    condition: append\n")
        };
        let x = |n: u8| format!("ka.verb = v{n}");
        for (macros, want) in [
            (
                define("c", &x(1)) + &define("b", "c") + &define("a", "b"),
                Ok("ka.verb = v1"),
            ),
            // The first macro is changed last, and uses one that uses a third.
            (
                define("a", &x(0)) + &define("c", &x(1)) + &define("b", "not c") + &append("a", "or b"),
                Ok("(ka.verb = v0 or not ka.verb = v1)"),
            ),
            // A later change of what a macro uses changes the macro.
            (
                define("c", &x(1)) + &define("a", "c") + &define("c", &x(2)),
                Ok("ka.verb = v2"),
            ),
            (
                define("a", "b") + &define("b", &x(1)),
                Err("Undefined macro 'b' used in filter."),
            ),
            (define("a", "a"), Err("Undefined macro 'a' used in filter.")),
            (
                define("a", &x(1)) + &define("a", "a"),
                Err("reference loop in macro 'a'"),
            ),
            (
                define("a", &x(1)) + &define("b", "a") + &define("a", "b"),
                Err("reference loop in macro 'a'"),
            ),
        ] {
            let got = conditions(&(macros.clone() + rule));
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got, [want], "{macros}"),
                (Err(got), Err(want)) => assert_eq!(got, [want], "{macros}"),
                (got, want) => panic!("{macros}: got {got:?}, want {want:?}"),
            }
        }
    }

    #[test]
    fn fields_that_nobody_reads_are_refused_where_the_rule_would_run() {
        let load_for = |sources: &[Source], more: &str| {
            let file = RuleFile {
                name: "rules.yaml".to_owned(),
                text: format!(
                    "- rule: T\n  desc: d\n  condition: evt.type = open and proc.vmsize > 1\n  output: o\n  priority: INFO\n{more}"
                ),
            };
            let options = Options {
                sources: sources.to_vec(),
                ..Options::default()
            };
            let loaded = load(vec![file], &options).expect("no fields of the user's own");
            let found: Vec<String> = loaded.diagnostics.iter().map(|d| d.message.clone()).collect();
            (loaded.rules.is_some(), found)
        };
        let message = "field proc.vmsize is not supported by saker's probe: memory, threads and processor time of processes are not measured";
        assert_eq!(load_for(&[Source::Syscall], ""), (false, vec![message.to_owned()]));
        assert_eq!(load_for(&[Source::K8sAudit], ""), (true, vec![]));
        let skipped = load_for(&[Source::Syscall], "  skip-if-unknown-filter: true\n");
        assert_eq!(skipped, (true, vec![message.to_owned()]));
    }
}

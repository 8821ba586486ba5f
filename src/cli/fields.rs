//! `saker fields`: the field tables, and that of credentials.

use std::process::ExitCode;

use clap::Args;

use super::print;
use crate::event::Source;
use crate::fields::{Argument, Catalog, Field, Origin};

pub mod credentials;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  saker fields\n  saker fields --source syscall\n  saker fields --credentials\n  saker fields --format json | jq '.[].name'"
)]
pub struct FieldsArgs {
    /// Source whose fields are listed
    #[arg(long, default_value = "k8s_audit", value_parser = Source::RULE_SOURCES.map(Source::name))]
    source: String,
    /// The kinds of credentials that are found in configuration, in the place of fields
    #[arg(long, conflicts_with = "source")]
    credentials: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
}

pub fn run(args: FieldsArgs) -> ExitCode {
    if args.credentials {
        let text = match args.format {
            Format::Text => credentials::text(),
            Format::Json => credentials::json(),
            Format::Markdown => credentials::markdown(),
        };
        return print(text.as_bytes());
    }
    let source = Source::from_name(&args.source).unwrap_or(Source::K8sAudit);
    let catalog = Catalog::of(source);
    let text = match args.format {
        Format::Text => text(&catalog),
        Format::Json => json(source, &catalog),
        Format::Markdown => markdown(source, &catalog),
    };
    print(text.as_bytes())
}

/// The name with its argument, as rules write it.
fn written(field: &Field) -> String {
    match argument(field) {
        None => field.name.to_string(),
        Some(_) if field.argument == Argument::OptionalIndex => format!("{}[i]", field.name),
        Some("required") => format!("{}[key]", field.name),
        Some(_) => format!("{}[[key]]", field.name),
    }
}

/// Whether the field takes an argument.
fn argument(field: &Field) -> Option<&'static str> {
    match field.argument {
        Argument::None => None,
        Argument::Key | Argument::Member { .. } => Some("required"),
        Argument::OptionalIndex | Argument::OptionalKey | Argument::OptionalMember => Some("optional"),
    }
}

fn kind(field: &Field) -> String {
    if field.list {
        format!("list of {}", field.kind.name())
    } else {
        field.kind.name().to_owned()
    }
}

/// The JSONPath of a field that is a plain look-up.
fn path(field: &Field) -> Option<&str> {
    match &field.origin {
        Origin::JsonPath(path) | Origin::PodPath(path) => Some(path),
        _ => None,
    }
}

fn text(catalog: &Catalog) -> String {
    let width = catalog.fields().iter().map(|f| written(f).len()).max().unwrap_or(0);
    let rows = catalog
        .fields()
        .iter()
        .map(|f| format!("{:width$}  {:14}  {}\n", written(f), kind(f), f.doc));
    rows.collect()
}

fn json(source: Source, catalog: &Catalog) -> String {
    let rows: Vec<_> = catalog
        .fields()
        .iter()
        .map(|f| {
            serde_json::json!({
                "name": f.name, "type": f.kind.name(), "list": f.list, "path": path(f), "desc": f.doc,
                "argument": argument(f), "source": source.name(),
            })
        })
        .collect();
    serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
}

/// docs/fields.md.
pub fn documentation() -> String {
    let mut out = String::from(
        "# Fields\n\nMade by `UPDATE_DOCS=1 cargo test --test tidy` from the tables in `src/fields/`.\n\n\
         Where a path is given, the value is a plain look-up (RFC 9535); an index in the place of `[i]` takes the place of the\n\
         first `[*]`. An absent field makes every comparison with it false. Fields `ka.req.pod.*`, `ka.req.container.*` and\n\
         `ka.req.volume.*` read `requestObject`; when the verb is `patch` and `responseObject` is a Pod they read that instead,\n\
         because the request then holds only a patch (strategic merge, merge, JSON patch or server-side apply).\n\n",
    );
    let tables = Source::RULE_SOURCES.map(|source| markdown(source, &Catalog::of(source)));
    out += &tables.join("\n");
    out
}

/// One source's table.
fn markdown(source: Source, catalog: &Catalog) -> String {
    let mut out = format!("## Source `{source}`\n\n| field | type | where | meaning |\n|---|---|---|---|\n");
    for field in catalog.fields() {
        let path = path(field).map_or(String::new(), |p| format!("`{p}`"));
        out += &format!(
            "| `{}` | {} | {} | {} |\n",
            written(field),
            kind(field),
            path.replace('|', "\\|"),
            field.doc.replace('|', "\\|")
        );
    }
    out
}

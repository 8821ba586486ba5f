//! What rule files may require: an engine version, and plugin versions that Saker provides itself.

use std::borrow::Cow;

use super::{Code, Collector, Context, Read, fail};
use crate::engine::diagnostic::Diagnostic;
use crate::engine::yaml::{Node, NodeKind};

/// The engine version whose language is spoken here.
pub const ENGINE_VERSION: Version = Version(0, 63, 0);

/// `x.y.z`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64, pub u64, pub u64);

impl Version {
    /// Reads `x.y.z`; what follows a `-` or `+` is left out.
    pub fn parse(text: &str) -> Option<Version> {
        let text = text.split(['-', '+']).next()?;
        let mut parts = text.split('.').map(|p| p.parse().ok());
        let version = Version(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }

    /// True when something of this version does what `required` asks for.
    pub fn satisfies(self, required: Version) -> bool {
        self.0 == required.0 && self >= required
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A plugin whose work is done here.
#[derive(Clone, Debug)]
pub struct Plugin {
    pub name: Cow<'static, str>,
    pub version: Version,
}

/// The plugins that count as loaded, at the versions whose fields we have.
pub const PLUGINS: &[Plugin] = &[
    Plugin {
        name: Cow::Borrowed("k8saudit"),
        version: Version(0, 18, 0),
    },
    Plugin {
        name: Cow::Borrowed("json"),
        version: Version(0, 7, 4),
    },
    Plugin {
        name: Cow::Borrowed("container"),
        version: Version(0, 7, 1),
    },
];

/// Checks `required_engine_version`.
pub(super) fn engine(node: &Node, item: &Node) -> Read<()> {
    let fail = |code: Code, message: String| {
        let mut diagnostic = Diagnostic::new(code, message, node.at);
        let context = Context::new("required_engine_version", "", item.at);
        diagnostic.context.push(context);
        Err(Box::new(diagnostic))
    };
    let text = node.scalar().map(|t| t.as_str()).unwrap_or_default();
    let required = match text.parse::<u64>() {
        Ok(minor) => Some(Version(0, minor, 0)),
        Err(_) => Version::parse(text),
    };
    let Some(required) = required else {
        let message =
            format!("Unable to parse engine version '{text}' as a semver string. Expected \"x.y.z\" semver format.");
        return fail(Code::YamlValidate, message);
    };
    if !ENGINE_VERSION.satisfies(required) {
        let message = format!("Rules require engine version {required}, but engine version is {ENGINE_VERSION}");
        return fail(Code::Validate, message);
    }
    Ok(())
}

impl Collector {
    /// Checks every `required_plugin_versions` of a file.
    pub(super) fn check_versions(&mut self, documents: &[Node]) {
        for document in documents {
            let NodeKind::Sequence(items) = &document.kind else {
                continue;
            };
            for node in items.iter().filter_map(|item| item.get("required_plugin_versions")) {
                if let Err(mut diagnostic) = plugins(node, &self.plugins) {
                    let whole = Context::new("required plugin versions", "", node.at);
                    diagnostic.context.insert(0, whole);
                    self.report(*diagnostic);
                }
            }
        }
    }
}

fn plugins(node: &Node, provided: &[Plugin]) -> Read<()> {
    let NodeKind::Sequence(requirements) = &node.kind else {
        return fail(
            Code::YamlValidate,
            "Value of required_plugin_versions must be a sequence",
            node.at,
        );
    };
    for requirement in requirements {
        requirement_met(requirement, provided).map_err(|mut diagnostic| {
            let name = requirement.get("name").and_then(Node::scalar);
            let name = name.map_or("", |name| name.as_str());
            let context = Context::new("required plugin versions entry", name, requirement.at);
            diagnostic.context.push(context);
            diagnostic
        })?;
    }
    Ok(())
}

fn requirement_met(requirement: &Node, provided: &[Plugin]) -> Read<()> {
    let mut wanted = vec![read(requirement)?];
    if let Some(alternatives) = requirement.get("alternatives") {
        let NodeKind::Sequence(nodes) = &alternatives.kind else {
            return fail(
                Code::YamlValidate,
                "Value of plugin version alternatives must be a sequence",
                alternatives.at,
            );
        };
        for node in nodes {
            wanted.push(read(node)?);
        }
    }
    for (i, (name, _)) in wanted.iter().enumerate() {
        if wanted[..i].iter().any(|(earlier, _)| earlier == name) {
            let message = format!("Plugin '{name}' stands more than once among the alternatives of a requirement");
            return fail(Code::Validate, message, requirement.at);
        }
    }
    let met = wanted.iter().any(|(name, version)| {
        provided
            .iter()
            .any(|p| p.name == *name && p.version.satisfies(*version))
    });
    if !met {
        let list: Vec<String> = wanted
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let have: Vec<String> = provided.iter().map(|p| format!("{} {}", p.name, p.version)).collect();
        let message = format!(
            "Plugin requirement not satisfied, must load one of: {}",
            list.join(", ")
        );
        let help = format!("these are built in: {}", have.join(", "));
        return Err(Box::new(
            Diagnostic::new(Code::Validate, message, requirement.at).with_help(Some(help)),
        ));
    }
    Ok(())
}

fn read(node: &Node) -> Read<(String, Version)> {
    let text = |key: &str| {
        node.get(key)
            .and_then(Node::scalar)
            .map(|t| (t.as_str().to_owned(), t.whole()))
    };
    let Some((name, _)) = text("name").filter(|(n, _)| !n.is_empty()) else {
        return fail(Code::YamlValidate, "Item has no mapping for key 'name'", node.at);
    };
    let Some((version, at)) = text("version") else {
        return fail(Code::YamlValidate, "Item has no mapping for key 'version'", node.at);
    };
    match Version::parse(&version) {
        Some(version) => Ok((name, version)),
        None => Err(Box::new(
            Diagnostic::new(
                Code::Validate,
                format!("Invalid required version '{version}' for plugin '{name}'"),
                at,
            )
            .with_help(Some("a version has three numbers, as in `0.18.0`".to_owned())),
        )),
    }
}

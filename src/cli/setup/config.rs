//! `saker setup config`: the documented saker.yaml.

pub const EXAMPLES: &str = "\
Examples:
  saker setup config > saker.yaml
  saker serve -c saker.yaml --check-config";

/// Every key with its default, commented out, in plain words. Lines that begin with `# ` are text; those with `#` alone
/// are settings.
pub const TEMPLATE: &str = include_str!("saker.yaml");

#[cfg(test)]
mod tests;

//! Our rules in MITRE ATT&CK and in Microsoft's threat matrix for Kubernetes: facts, and the table made of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use saker::engine::Rule;

/// Techniques of ATT&CK that tags name: number, name, whether the matrix for Containers has it.
const ATTACK: &[(&str, &str, bool)] = &[
    ("T1036", "Masquerading", true),
    ("T1036.005", "Match Legitimate Resource Name or Location", true),
    ("T1040", "Network Sniffing", false),
    ("T1053", "Scheduled Task/Job", true),
    ("T1053.007", "Container Orchestration Job", true),
    ("T1059.004", "Unix Shell", false),
    ("T1069", "Permission Groups Discovery", true),
    ("T1070", "Indicator Removal", true),
    ("T1078", "Valid Accounts", true),
    ("T1090", "Proxy", false),
    ("T1098", "Account Manipulation", true),
    ("T1098.001", "Additional Cloud Credentials", false),
    ("T1098.006", "Additional Container Cluster Roles", true),
    ("T1105", "Ingress Tool Transfer", false),
    ("T1110", "Brute Force", true),
    ("T1133", "External Remote Services", true),
    ("T1136.001", "Local Account", true),
    ("T1190", "Exploit Public-Facing Application", true),
    ("T1204.003", "Malicious Image", true),
    ("T1485", "Data Destruction", true),
    ("T1489", "Service Stop", false),
    ("T1499.004", "Application or System Exploitation", false),
    ("T1546", "Event Triggered Execution", false),
    ("T1550", "Use Alternate Authentication Material", true),
    ("T1552.001", "Credentials In Files", true),
    ("T1552.007", "Container API", true),
    ("T1556", "Modify Authentication Process", false),
    ("T1557", "Adversary-in-the-Middle", false),
    ("T1562.001", "Disable or Modify Tools", true),
    ("T1562.007", "Disable or Modify Cloud Firewall", false),
    ("T1562.008", "Disable or Modify Cloud Logs", false),
    ("T1565.001", "Stored Data Manipulation", false),
    ("T1572", "Protocol Tunneling", false),
    ("T1595", "Active Scanning", false),
    ("T1609", "Container Administration Command", true),
    ("T1610", "Deploy Container", true),
    ("T1611", "Escape to Host", true),
    ("T1613", "Container and Resource Discovery", true),
];

/// Entries of Microsoft's matrix: number, tactics, name, and why audit events do not show it where no rule is for it.
const MICROSOFT: &[(&str, &str, &str, &str)] = &[
    (
        "MS-TA9001",
        "Initial Access",
        "Using cloud credentials",
        "the cloud's own audit log has it",
    ),
    ("MS-TA9002", "Initial Access", "Compromised image in registry", ""),
    ("MS-TA9003", "Initial Access", "Kubeconfig file", ""),
    (
        "MS-TA9004",
        "Initial Access",
        "Application vulnerability",
        "happens inside a container",
    ),
    ("MS-TA9005", "Initial Access", "Exposed sensitive interfaces", ""),
    ("MS-TA9006", "Execution", "Exec into container", ""),
    ("MS-TA9007", "Execution", "bash/cmd inside container", ""),
    ("MS-TA9008", "Execution", "New container", ""),
    (
        "MS-TA9009",
        "Execution",
        "Application exploit (RCE)",
        "happens inside a container",
    ),
    (
        "MS-TA9010",
        "Execution",
        "SSH server running inside container",
        "happens inside a container",
    ),
    ("MS-TA9011", "Execution", "Sidecar injection", ""),
    ("MS-TA9012", "Persistence", "Backdoor container", ""),
    (
        "MS-TA9013",
        "Persistence, Privilege Escalation, Lateral Movement",
        "Writable hostPath mount",
        "",
    ),
    ("MS-TA9014", "Persistence", "Kubernetes CronJob", ""),
    (
        "MS-TA9015",
        "Persistence, Credential Access",
        "Malicious admission controller",
        "",
    ),
    (
        "MS-TA9016",
        "Persistence, Credential Access, Lateral Movement",
        "Container service account",
        "",
    ),
    ("MS-TA9017", "Persistence", "Static pods", ""),
    ("MS-TA9018", "Privilege Escalation", "Privileged container", ""),
    ("MS-TA9019", "Privilege Escalation", "Cluster-admin binding", ""),
    (
        "MS-TA9020",
        "Privilege Escalation, Lateral Movement",
        "Access cloud resources",
        "the cloud's own audit log has it",
    ),
    (
        "MS-TA9021",
        "Defense Evasion",
        "Clear container logs",
        "happens on the node",
    ),
    ("MS-TA9022", "Defense Evasion", "Delete Kubernetes events", ""),
    ("MS-TA9023", "Defense Evasion", "Pod or container name similarity", ""),
    ("MS-TA9024", "Defense Evasion", "Connect from proxy server", ""),
    ("MS-TA9025", "Credential Access", "List Kubernetes secrets", ""),
    ("MS-TA9026", "Credential Access", "Mount service principal", ""),
    (
        "MS-TA9027",
        "Credential Access, Lateral Movement",
        "Application credentials in configuration files",
        "",
    ),
    (
        "MS-TA9028",
        "Credential Access",
        "Access managed identity credentials",
        "happens inside a container",
    ),
    ("MS-TA9029", "Discovery", "Access Kubernetes API server", ""),
    ("MS-TA9030", "Discovery", "Access kubelet API", ""),
    (
        "MS-TA9031",
        "Discovery",
        "Network mapping",
        "is traffic between pods, which no audit event shows",
    ),
    ("MS-TA9033", "Discovery", "Instance metadata API", ""),
    ("MS-TA9034", "Lateral Movement", "Cluster internal networking", ""),
    ("MS-TA9035", "Lateral Movement", "CoreDNS poisoning", ""),
    ("MS-TA9036", "Lateral Movement", "ARP poisoning and IP spoofing", ""),
    (
        "MS-TA9037",
        "Collection",
        "Images from a private registry",
        "the registry's own log has it",
    ),
    ("MS-TA9041", "Collection", "Collecting data from pod", ""),
    ("MS-TA9038", "Impact", "Data destruction", ""),
    ("MS-TA9039", "Impact", "Resource hijacking", ""),
    ("MS-TA9040", "Impact", "Denial of service", ""),
    (
        "MS-TA9042",
        "Privilege Escalation, Impact",
        "Excessive operator permissions",
        "",
    ),
];

/// The entries of each rule, from `threats.tsv`.
fn threats() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = include_str!("threats.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| line.split_once('\t').expect("a rule and its entries");
    rows.map(row)
        .map(|(rule, entries)| (rule, entries.split_whitespace().filter(|e| *e != "none").collect()))
        .collect()
}

fn technique(tag: &str) -> String {
    let known = ATTACK.iter().find(|(id, ..)| *id == tag);
    let (id, name, containers) = known.unwrap_or_else(|| panic!("ATTACK lacks `{tag}`"));
    format!("{id} {name}{}", if *containers { "" } else { " (E)" })
}

fn entry(id: &str) -> String {
    let known = MICROSOFT.iter().find(|(known, ..)| *known == id);
    let (id, tactics, name, _) = known.unwrap_or_else(|| panic!("MICROSOFT lacks `{id}`"));
    format!("{name} ({id}, {tactics})")
}

fn joined(items: impl Iterator<Item = String>) -> String {
    let cell = items.collect::<Vec<_>>().join("<br>");
    if cell.is_empty() { "none".to_owned() } else { cell }
}

/// The part of the document that needs no recordings.
pub fn document(rules: &[&Rule]) -> String {
    let threats = threats();
    let names: Vec<&str> = rules.iter().map(|r| &*r.name).collect();
    let unknown: Vec<_> = threats.keys().filter(|name| !names.contains(*name)).collect();
    assert!(unknown.is_empty(), "threats.tsv names rules that are not: {unknown:?}");
    let mut out = String::from(super::MATRIX);
    out += "\n\nThe techniques are the tags of each rule, named as in [ATT&CK](https://attack.mitre.org/matrices/enterprise/containers/);\n\
        `(E)` marks those of ATT&CK for Enterprise that its matrix for Containers does not have. The entry of\n\
        [Microsoft's matrix](https://microsoft.github.io/Threat-Matrix-for-Kubernetes/) is the closest one, in our judgement;\n\
        `none` means that it has nothing like it, or that the rule is an inventory.\n\n";
    out += "| rule | ATT&CK | Microsoft's threat matrix for Kubernetes |\n|---|---|---|\n";
    for rule in rules.iter().copied() {
        let name = &*rule.name;
        let entries = threats
            .get(name)
            .unwrap_or_else(|| panic!("threats.tsv lacks `{name}`"));
        let tags = rule.tags.iter().filter(|tag| is_technique(tag));
        let attack = joined(tags.map(|tag| technique(tag)));
        assert_ne!(attack, "none", "{name}");
        writeln!(
            out,
            "| {name} | {attack} | {} |",
            joined(entries.iter().map(|e| entry(e)))
        )
        .expect("a string");
    }
    let named = |id: &str| rules.iter().any(|r| r.tags.iter().any(|t| t == id));
    let unused: Vec<&str> = ATTACK.iter().map(|(id, ..)| *id).filter(|id| !named(id)).collect();
    assert!(unused.is_empty(), "techniques that no rule names: {unused:?}");
    out += "\n## Microsoft's threat matrix and the rules for each entry\n\n";
    out += "| tactics | entry | rules |\n|---|---|---|\n";
    for (id, tactics, name, why) in MICROSOFT {
        let of: Vec<&str> = names.iter().copied().filter(|n| threats[n].contains(id)).collect();
        assert_eq!(
            of.is_empty(),
            !why.is_empty(),
            "{id}: either rules or a reason why there is none"
        );
        let cell = match of.is_empty() {
            true => format!("none: {why}"),
            false => of.join("<br>"),
        };
        writeln!(out, "| {tactics} | {name} ({id}) | {cell} |").expect("a string");
    }
    out
}

fn is_technique(tag: &str) -> bool {
    tag.strip_prefix('T')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

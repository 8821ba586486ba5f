//! Golden texts of every lint.

use crate::engine::{Options, RuleFile, load};

fn lint(text: &str) -> String {
    let file = RuleFile {
        name: "rules.yaml".to_owned(),
        text: text.to_owned(),
    };
    warnings(vec![file])
}

fn warnings(files: Vec<RuleFile>) -> String {
    let options = Options {
        lint: true,
        ..Options::default()
    };
    let loaded = load(files, &options).expect("no fields of the user's own");
    assert_eq!(loaded.errors().count(), 0, "{:?}", loaded.diagnostics);
    let ours = loaded
        .diagnostics
        .iter()
        .filter(|d| d.code.name().starts_with("SAKER_"));
    ours.map(|d| d.render(&loaded.sources)).collect()
}

/// Rules with these conditions and a plain output.
fn rules(conditions: &[&str]) -> String {
    let rule = |(i, condition): (usize, &&str)| {
        format!(
            "- rule: r{i}\n  source: k8s_audit\n  desc: d\n  priority: INFO\n  output: x\n  condition: {condition}\n"
        )
    };
    conditions.iter().enumerate().map(rule).collect()
}

fn output(condition: &str, output: &str) -> String {
    rules(&[condition]).replace("output: x", &format!("output: \"{output}\""))
}

#[test]
fn names_of_lists_that_do_not_exist() {
    let list = "- list: allowed_users\n  items: [a_b]\n";
    let conditions = rules(&[
        "ka.user.name in (alowed_users)",
        "ka.verb = get and ka.user.name in (my_list)",
        "ka.verb = list and ka.user.groups intersects (allowed_users)",
        "ka.verb = watch and ka.user.name in (\"not_a_list\")",
        "ka.verb = create and ka.user.name in (admin)",
    ]);
    insta::assert_snapshot!(lint(&format!("{list}{conditions}")));
}

#[test]
fn appends_that_change_precedence() {
    let appends = "\
- macro: wide
  condition: ka.verb = get or ka.verb = list
- macro: wide
  condition: and ka.user.name = a
  override: {condition: append}
- macro: safe
  condition: (ka.verb = get or ka.verb = list)
- macro: safe
  condition: and ka.user.name = a
  override: {condition: append}
- macro: chain
  condition: (ka.verb = get) or (ka.verb = list)
- macro: chain
  condition: or ka.verb = watch
  override: {condition: append}
";
    let rule = rules(&["ka.verb = create"]);
    let more = "- rule: r0\n  condition: and wide or safe or chain\n  override: {condition: append}\n";
    insta::assert_snapshot!(lint(&format!("{appends}{rule}{more}")));
}

#[test]
fn conditions_that_are_decided() {
    insta::assert_snapshot!(lint(&rules(&[
        "ka.verb = get and ka.user.name exists and ka.verb = create",
        "ka.verb = get and ka.user.name in ()",
        "ka.verb in (get, list) and not ka.verb in (get, list)",
        "not ka.user.name exists and ka.user.name contains x",
        "ka.user.name = a or not ka.user.name = a",
        "not ka.user.name in ()",
        "ka.verb in (get, list) and ka.verb in (list, watch)",
    ])));
}

#[test]
fn rules_behind_others() {
    insta::assert_snapshot!(lint(&rules(&[
        "ka.verb = get and ka.target.resource = pods",
        "ka.user.name = a and ka.target.resource = pods and ka.verb = get",
        "(ka.verb = create or ka.useragent contains x) and ka.target.resource = roles",
        "ka.verb = create and ka.target.resource = roles",
        "ka.target.resource = pods and ka.verb = list",
    ])));
}

#[test]
fn output_fields_that_are_ruled_out() {
    insta::assert_snapshot!(lint(&output(
        "ka.verb = create and not ka.impuser.name exists",
        "%ka.user.name as %ka.impuser.name did %ka.req.service.type"
    )));
    insta::assert_snapshot!(lint(&output(
        "ka.verb in (get, list) and ka.user.name exists",
        "%ka.user.name %ka.req.pod.containers.image %ka.req.configmap.name"
    )));
}

#[test]
fn costly_conditions() {
    insta::assert_snapshot!(lint(&rules(&[
        "ka.req.pod.containers.image intersects (a, b)",
        "ka.useragent regex 'a.*b' and not ka.user.name startswith x",
        "ka.useragent regex 'b.*b' and ka.verb = get",
        "ka.useragent contains x",
    ])));
}

/// Rules that wait for their users' lists and macros are no mistake, unlike the same written out.
#[test]
fn rules_that_wait_for_their_users() {
    let hooks = "\
- list: watched_namespaces
  items: []
- macro: trusted
  condition: (ka.user.name exists)
";
    let waiting = rules(&[
        "ka.verb = get and ka.target.namespace in (watched_namespaces)",
        "ka.user.name startswith a and not trusted",
    ]);
    assert_eq!(lint(&format!("{hooks}{waiting}")), "");
    insta::assert_snapshot!(lint(&rules(&[
        "ka.verb = get and ka.target.namespace in ( )",
        "ka.user.name startswith a and not ka.user.name exists",
    ])));
}

/// `unicorn_launche` is what the kernel leaves of a process's name; a misspelled list is one all the same.
#[test]
fn names_of_processes_hold_underscores() {
    let rule = |condition: &str| {
        let text = "- list: shell_binaries\n  items: [sh]\n".to_owned() + &rules(&[condition]);
        text.replace("k8s_audit", "syscall")
    };
    assert_eq!(lint(&rule("evt.type = execve and proc.aname in (unicorn_launche)")), "");
    let misspelled = lint(&rule("evt.type = execve and proc.name in (shell_binarys)"));
    assert!(
        misspelled.contains("did you mean the list `shell_binaries`?"),
        "{misspelled}"
    );
}

/// Two ancestors may have two names.
#[test]
fn several_values_are_no_contradiction() {
    let rule = |field: &str| {
        rules(&[&format!("evt.type = execve and {field} = a and {field} = b")]).replace("k8s_audit", "syscall")
    };
    assert_eq!(lint(&rule("proc.aname")), "");
    assert!(lint(&rule("proc.pname")).contains("SAKER_NEVER_MATCHES"));
}

/// 15 bytes are what a process's name can be; whatever needs more of it never holds.
#[test]
fn names_of_processes_are_short() {
    for (condition, long) in [
        ("proc.name = abcdefghijklmno", 0),
        ("proc.name = abcdefghijklmnop", 1),
        ("proc.name != abcdefghijklmnop", 1),
        ("proc.pname in (a, abcdefghijklmnop, ponmlkjihgfedcba)", 2),
        ("proc.aname in (abcdefghijklmnop)", 1),
        ("proc.aname[2] = abcdefghijklmnop", 1),
        ("proc.name startswith abcdefghijklmnop", 1),
        ("proc.name endswith anyof (abcdefghijklmnop, b)", 1),
        ("proc.name contains abcdefghijklmnop", 1),
        // Bytes count, not characters.
        ("proc.name = ääääääää", 1),
        ("proc.name glob abcdefghijklm[no][op]", 0),
        ("proc.exe = abcdefghijklmnop", 0),
        ("tolower(proc.name) = abcdefghijklmno", 0),
    ] {
        let text = rules(&[&format!("evt.type = execve and {condition}")]).replace("k8s_audit", "syscall");
        let found = lint(&text);
        assert_eq!(found.matches("SAKER_LONG_NAME").count(), long, "{condition}\n{found}");
    }
}

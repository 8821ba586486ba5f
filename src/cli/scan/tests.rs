//! What of a file is found, under which name, and on which line.

use super::*;

/// A value that nobody uses, and that looks as if somebody did.
const SECRET: &str = concat!("Wq8", "sdf77", "xZ");
const OTHER: &str = concat!("Hj4", "kLm29", "pT");

fn scanned(text: &str) -> Scan {
    let mut scan = Scan::new([7; 32]);
    scan.file("dir/file.yaml", text.as_bytes());
    scan
}

/// `LINE OBJECT KEY KIND` of each finding; `$S` and `$O` in the text stand for the two secrets.
#[track_caller]
fn check(text: &str, want: &[&str]) {
    let text = text.replace("$S", SECRET).replace("$O", OTHER);
    let scan = scanned(&text);
    let got: Vec<String> = scan
        .found
        .iter()
        .map(|found| {
            let object = found.object.as_deref();
            let object = object.map_or("-".to_owned(), |o| format!("{}:{}/{}", o.kind, o.namespace, o.name));
            let line = text.lines().nth(found.line - 1).unwrap_or("past the end");
            assert!(!found.finding.excerpt.contains(SECRET) && !found.finding.excerpt.contains(OTHER));
            assert!(found.line <= text.lines().count(), "{line}");
            format!("{} {object} {} {}", found.line, found.key, found.finding.kind)
        })
        .collect();
    assert_eq!(got, want, "{text}");
}

#[test]
fn entries_of_config_maps_one_by_one() {
    check(
        "\
# Source: shop/templates/app.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: shop}
data:
  LOG: info
  DB_PASSWORD: $S
  plain.properties: |
    # first
    user=a

    db.password=$O
  folded: >-
    nothing here
    password=$S and more
  quoted: \"a: b\\npassword: $S\\n\"
  empty:
binaryData:
  b.properties: cGFzc3dvcmQ9UXdlMTJ6eDk4Cg==
  broken: '%%%'
",
        &[
            "7 ConfigMap:shop/app DB_PASSWORD password",
            "12 ConfigMap:shop/app plain.properties password",
            "14 ConfigMap:shop/app folded password",
            "16 ConfigMap:shop/app quoted password",
            "19 ConfigMap:shop/app b.properties password",
        ],
    );
}

#[test]
fn the_same_secret_is_told_once_of_what_was_applied() {
    let config_map = |applied: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations:\n    \
             kubectl.kubernetes.io/last-applied-configuration: |\n      \
             {{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{{\"DB_PASSWORD\":\"{applied}\"}}}}\n\
             data:\n  DB_PASSWORD: $S\n  AGAIN_PASSWORD: $S\n"
        )
    };
    let now = [
        "9 ConfigMap:/a DB_PASSWORD password",
        "10 ConfigMap:/a AGAIN_PASSWORD password",
    ];
    check(&config_map("$S"), &now);
    let older = "6 ConfigMap:/a DB_PASSWORD password";
    check(&config_map("$O"), &[&[older][..], &now].concat());
}

#[test]
fn secrets_are_where_secrets_belong() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  annotations:\n    note: password=$S\n    \
                  kubectl.kubernetes.io/last-applied-configuration: |\n      \
                  {\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"stringData\":{\"password\":\"$O\"}}\n\
                  # password: $O\nstringData:\n  password: $O\n";
    check(secret, &["6 Secret:/s note password"]);
    // Of another API it is something else.
    check(
        "apiVersion: example.org/v1\nkind: Secret\nmetadata: {name: s}\nspec:\n  password: $O\n",
        &["5 Secret:/s  password"],
    );
}

#[test]
fn pod_templates_of_any_workload() {
    let pod = "\
spec:
  volumes: []
  initContainers:
  - name: init
    command: [sh, -c, 'export DB_PASSWORD=$O']
  containers:
  - name: db
    command:
    - mysqladmin
    args:
    - -uroot
    - -p$S
    - status
    env:
    - name: ADMIN_PASSWORD
      value: $S
    - name: FROM_PASSWORD
      valueFrom: {secretKeyRef: {name: s, key: password}}
    livenessProbe:
      httpGet:
        httpHeaders:
        - {name: Authorization, value: Basic YWRtaW46c3VwZXJzZWNyZXQx}
    lifecycle:
      preStop:
        exec:
          command: [app, --password, $O, stop]
";
    let found = |first: usize, object: &str, lines: &[(usize, &str)]| -> Vec<String> {
        lines
            .iter()
            .map(|(line, rest)| {
                let (key, kind) = rest.split_once(' ').expect("two words");
                format!("{} {object} {key} {kind}", line + first)
            })
            .collect()
    };
    let lines = [
        (5, "command password"),
        (12, "command command_line"),
        (16, "ADMIN_PASSWORD password"),
        (22, "Authorization basic_auth"),
        (26, "command password"),
    ];
    let head = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    let want = found(3, "Pod:/p", &lines);
    let want: Vec<&str> = want.iter().map(String::as_str).collect();
    check(&format!("{head}{pod}"), &want);

    let head = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c, namespace: n}\nspec:\n  jobTemplate:\n    spec:\n      \
                template:\n        metadata:\n          annotations: {note: 'password=$O'}\n";
    let nested: String = pod.lines().map(|line| format!("        {line}\n")).collect();
    let mut want = vec!["9 CronJob:n/c note password".to_owned()];
    want.extend(found(9, "CronJob:n/c", &lines));
    let want: Vec<&str> = want.iter().map(String::as_str).collect();
    check(&format!("{head}{nested}"), &want);
}

#[test]
fn comments_and_other_kinds_are_text() {
    check(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  # once:\n  # password: $S\n  a: b # password: $O\n",
        &["6 ConfigMap:/a  password", "7 ConfigMap:/a  password"],
    );
    check(
        "apiVersion: example.org/v1\nkind: Thing\nmetadata:\n  name: t\n  annotations: {note: 'password=$S'}\nspec:\n  password: $O\n",
        &["5 Thing:/t note password", "7 Thing:/t  password"],
    );
}

#[test]
fn lists_and_several_documents() {
    let item =
        |name: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{password: $S}}}}");
    check(
        &format!(
            "apiVersion: v1\nkind: List\nitems:\n- {}\n- apiVersion: v1\n  kind: List\n  items:\n  - {}\n- kind: Thing\n  apiVersion: x/v1\n  password: $O\n---\n{}\n",
            item("a"),
            item("b"),
            item("c")
        ),
        &[
            "4 ConfigMap:/a password password",
            "8 ConfigMap:/b password password",
            "11 Thing:/  password",
            "13 ConfigMap:/c password password",
        ],
    );
    // As the API server gives it, items do not say what they are.
    check(
        "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMapList\", \"items\": [\n{\"metadata\": {\"name\": \"a\"},\n\"data\":\n{\"password\":\"$S\"}}]}",
        &["4 ConfigMap:/a password password"],
    );
    check(
        "{\"apiVersion\": \"v1\", \"kind\": \"SecretList\", \"items\": [{\"data\": {\"password\":\"$S\"}}]}\n{\"password\": \"$O\"}\n",
        &["2 -  password"],
    );
}

#[test]
fn what_is_no_manifest_is_text() {
    check("a=1\npassword=$S\n", &["2 -  password"]);
    check("kind: x\napiVersion: {{ .v }}: y\n\npassword: $S\n", &["4 -  password"]);
    // One template does not spoil the others.
    check(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {password: $S}\n---\n{{ if .x }}\npassword: $O\n{{ end }}\n",
        &["4 ConfigMap:/a password password", "7 -  password"],
    );
}

#[test]
fn large_files_are_scanned_whole() {
    let line = "nothing to see here, move along\n";
    let mut text = line.repeat(PIECE / line.len() * 2 + 5000);
    let at = text.len();
    text += &format!("password={SECRET}\n");
    text += &line.repeat(OVERLAP / line.len() / 2);
    text.insert_str(PIECE / line.len() * line.len(), &format!("password={OTHER}\n"));
    let scan = scanned(&text);
    let lines: Vec<usize> = scan.found.iter().map(|found| found.line).collect();
    assert_eq!(lines, [PIECE / line.len() + 1, at / line.len() + 2]);
}

#[test]
fn pieces_cover_everything() {
    for (text, line) in [("x".repeat(3 * PIECE), 0), ("0123456789\n".repeat(2 * PIECE / 10), 11)] {
        let pieces = pieces(text.as_bytes());
        assert!(pieces.len() > 2);
        assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (0, text.len()));
        for pair in pieces.windows(2) {
            assert!(pair[0].end >= pair[1].start + OVERLAP && pair[0].start < pair[1].start);
            assert!(pair[0].len() <= PIECE);
            assert!(line == 0 || pair[1].start % line == 0 && pair[0].end % line == 0);
        }
    }
}

#[test]
fn more_than_the_detector_tells_is_said() {
    let entries: String = (10..90).map(|i| format!("password{i}: {SECRET}{i}\n")).collect();
    let scan = scanned(&entries);
    assert_eq!(scan.found.len(), MOST);
    assert_eq!(scan.notes.len(), 1);
    assert!(scanned(&format!("password: {SECRET}\n")).notes.is_empty());
}

#[test]
fn fingerprints_are_places_and_kinds() {
    let text = |secret: &str| format!("\npassword: {secret}\nother_password: {secret}1\n");
    let prints = |text: &str| -> Vec<String> {
        let sarif: serde_json::Value = serde_json::from_str(&report::sarif(&scanned(text))).expect("JSON");
        let results = sarif["runs"][0]["results"].as_array().expect("results").clone();
        let print = |result: &serde_json::Value| result["partialFingerprints"]["sakerPlace/v1"].to_string();
        results.iter().map(print).collect()
    };
    let first = prints(&text(SECRET));
    assert_eq!(first.len(), 2);
    assert_ne!(first[0], first[1]);
    // Neither another secret nor another line changes them.
    assert_eq!(first, prints(&text(OTHER)));
    assert_eq!(first, prints(&format!("\n\n{}", text(SECRET))));
}

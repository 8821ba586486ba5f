//! Starting: without any configuration in an empty directory, and with configurations good and bad.

use std::process::{Command, Stdio};

use insta::{assert_snapshot, with_settings};

use crate::harness::{Server, TO_FILE, configured, saker, webhook};
use crate::material::{RULES, exec, list, skipped};

/// What differs from run to run and from one set of built-in rules to the next.
const CHANGING: [(&str, &str); 4] = [
    (r"saker \d+\.\d+\.\d+", "saker [version]"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
    (r"\d+ loaded from \d+ files", "[n] loaded from [n] files"),
    (r"; \d+ left out, their source does not run here", ""),
];

/// From the version to the empty line after the command.
fn first_lines(log: &str) -> &str {
    let start = log.find("saker ").unwrap();
    let command = log.find("try it:").unwrap();
    let end = command + log[command..].find("\n\n").unwrap();
    &log[start..end]
}

#[test]
fn without_any_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::spawn(dir.path(), &[], Stdio::null(), Stdio::null());
    server.wait_until_ready();
    server.wait_for_log("https://127.0.0.1");
    let log = server.log();
    with_settings!({filters => CHANGING}, {
        assert_snapshot!(first_lines(&log), @r"
        saker [version]
          rules    [n] loaded from [n] files: built-in rules
          alerts   stdout (text)
          status   http://127.0.0.1:[port]/healthz, /readyz, /metrics
          webhook  https://127.0.0.1:[port]/k8s-audit
                   certificate for development, just made: certs/dev-server.crt

        try it:
          curl --cacert certs/dev-ca.crt -H 'Content-Type: application/json' \
            --data-binary @tests/fixtures/example-batch.json https://127.0.0.1:[port]/k8s-audit
        ");
    });
    for (file, private) in [
        ("dev-ca.crt", false),
        ("dev-server.crt", false),
        ("dev-server.key", true),
        ("dev-ca.key", true),
    ] {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &dir.path().join("certs").join(file).metadata().unwrap().permissions(),
        );
        assert_eq!(mode & 0o077 == 0, private, "{file} has mode {mode:o}");
    }
    run_printed_command(&server, &log);
    server.stop();

    // A second start uses the same certificate.
    let certificate = std::fs::read(dir.path().join("certs/dev-server.crt")).unwrap();
    let mut again = Server::spawn(dir.path(), &[], Stdio::null(), Stdio::null());
    again.wait_until_ready();
    again.wait_for_log("made before: certs/dev-server.crt");
    again.stop();
    assert_eq!(
        std::fs::read(dir.path().join("certs/dev-server.crt")).unwrap(),
        certificate
    );
}

/// As a user copies it from the terminal.
fn run_printed_command(server: &Server, log: &str) {
    let has_curl = Command::new("curl")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success());
    if !has_curl {
        return skipped("the printed curl command, there is no curl");
    }
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/example-batch.json");
    let fixtures = server.dir.join("tests/fixtures");
    std::fs::create_dir_all(&fixtures).unwrap();
    let batch = fixtures.join("example-batch.json");
    if std::fs::copy(&shipped, &batch).is_err() {
        skipped(
            "the shipped example batch, there is no tests/fixtures/example-batch.json; one of the test's own is posted",
        );
        std::fs::write(&batch, list([exec("by curl")])).unwrap();
    }
    let command = first_lines(log).split_once("try it:\n").unwrap().1;
    let run = Command::new("sh")
        .arg("-c")
        .arg(command)
        .current_dir(&server.dir)
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{answer}{}", String::from_utf8_lossy(&run.stderr));
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("one line of JSON");
    assert!(answer["events"].as_u64().unwrap() > 0, "{answer}");
}

/// With a certificate of one's own, a client CA and tokens, the printed command says what to fill in.
#[test]
fn first_lines_of_a_configured_server() {
    let tls = "webhook:\n  tls: {cert: certs/server.crt, key: certs/server.key, client_ca: certs/ca.crt}\n";
    let yaml = format!("{tls}  token_file: tokens\nfiles: [{{path: audit.log}}]\n{TO_FILE}");
    let server = configured(&yaml).file("tokens", "0123456789abcdef").start();
    with_settings!({filters => CHANGING}, {
        assert_snapshot!(first_lines(&server.log()), @r#"
        saker [version]
          rules    [n] loaded from [n] files: no built-in rules and rules.yaml
          alerts   file alerts.jsonl (JSON)
          status   http://127.0.0.1:[port]/healthz, /readyz, /metrics
          file     audit.log
          webhook  https://127.0.0.1:[port]/k8s-audit

        try it:
          curl --cacert CA.crt --cert CLIENT.crt --key CLIENT.key -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
            --data-binary @tests/fixtures/example-batch.json https://127.0.0.1:[port]/k8s-audit
        "#);
    });
}

/// Runs to its end: exit code, standard output, standard error.
fn run(dir: &std::path::Path, args: &[&str]) -> (Option<i32>, String, String) {
    let out = saker(dir).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn check_config() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("rules.yaml", RULES);
    write("bad_rules.yaml", &RULES.replace("ka.verb", "ka.werb"));
    write(
        "good.yaml",
        &format!("rules: {{builtin: false, files: [rules.yaml]}}\n{TO_FILE}"),
    );
    write(
        "bad.yaml",
        "webhok:\n  enabled: false\nwebhook:\n  max_bdy: 1MiB\n  listen: 127.0.0.1\noutputs:\n  - {kind: fil, path: x}\n",
    );
    write(
        "broken_rules.yaml",
        "rules: {builtin: false, files: [bad_rules.yaml]}\n",
    );

    let (code, stdout, stderr) = run(dir.path(), &["serve", "--check-config", "-c", "good.yaml"]);
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (Some(0), "configuration and rules are fine: 1 rules, 0 warnings\n", "")
    );
    assert!(!dir.path().join("alerts.jsonl").exists(), "a check opens nothing");
    assert!(!dir.path().join("certs").exists(), "a check makes nothing");

    let (code, stdout, stderr) = run(dir.path(), &["serve", "--check-config", "-c", "bad.yaml"]);
    assert_eq!((code, stdout.as_str()), (Some(64), ""));
    assert_snapshot!(stderr, @r"
    bad.yaml:1:1: unknown key `webhok`
      help: did you mean `webhook`?
    bad.yaml:4:3: unknown key `max_bdy` in `webhook`
      help: did you mean `max_body`?
    bad.yaml:5:11: `webhook.listen` cannot be `127.0.0.1`
      help: write an address and port, e.g. `127.0.0.1:9443` or `[::]:9443`
    bad.yaml:7:12: `fil` is not a kind of output
      help: did you mean `file`?
    ");

    let (code, stdout, stderr) = run(dir.path(), &["serve", "--check-config", "-c", "broken_rules.yaml"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_snapshot!(stderr, @r"
    error[LOAD_ERR_COMPILE_CONDITION]: filter_check called with nonexistent field ka.werb
     --> bad_rules.yaml:3:14
      |
    3 |   condition: ka.werb in (create, get) and ka.target.subresource = exec
      |              ^^^^^^^
      = help: did you mean `ka.verb`?

    saker: rules have 1 errors
    ");

    let (code, _, stderr) = run(dir.path(), &["serve", "-c", "absent.yaml"]);
    assert_eq!(code, Some(64));
    assert!(
        stderr.contains("cannot read the configuration `absent.yaml`"),
        "{stderr}"
    );
}

/// What keeps a part from running is said before anything runs.
#[test]
fn a_start_that_cannot_be() {
    let server = configured(&(webhook("") + TO_FILE)).start();
    let taken = server.address().to_string();
    let base = ["serve", "-c", "saker.yaml", "--status-listen", "127.0.0.1:0"];
    let (code, _, stderr) = run(&server.dir, &[&base[..], &["--listen", &taken]].concat());
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("cannot listen on `{taken}`")), "{stderr}");

    let free = [&base[..], &["--listen", "127.0.0.1:0"]].concat();
    std::fs::write(server.dir.join("certs/server.key"), "no key").unwrap();
    let (code, _, stderr) = run(&server.dir, &free);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("server.key"), "{stderr}");

    std::fs::write(server.dir.join("rules.yaml"), "- rule: x\n").unwrap();
    let (code, _, stderr) = run(&server.dir, &free);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("LOAD_ERR"), "{stderr}");
}

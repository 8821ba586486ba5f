//! The language server as an editor meets it: the real binary, spoken to over standard input and output.

use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use lsp_server::{Message, Notification, Request};
use serde_json::{Value, json};

/// Longer than anything here takes, so that a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(60);

struct Editor {
    child: Child,
    input: ChildStdin,
    said: Receiver<Message>,
    requests: i32,
}

impl Editor {
    fn start(dir: &Path, args: &[&str]) -> Editor {
        let mut child = Command::new(env!("CARGO_BIN_EXE_saker"))
            .args(["rules", "lsp"])
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let input = child.stdin.take().expect("piped");
        let output: ChildStdout = child.stdout.take().expect("piped");
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Ok(Some(message)) = Message::read(&mut output) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut editor = Editor {
            child,
            input,
            said,
            requests: 0,
        };
        let root = format!("file://{}", dir.display());
        let able = editor.request("initialize", json!({"capabilities": {}, "rootUri": root}));
        assert_eq!(able["capabilities"]["textDocumentSync"]["change"], 1);
        editor.notify("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: Message) {
        message.write(&mut self.input).expect("written");
        self.input.flush().expect("written");
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.send(Notification::new(method.to_owned(), params).into());
    }

    fn next(&self) -> Message {
        self.said.recv_timeout(PATIENCE).expect("a message")
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.requests += 1;
        self.send(Request::new(self.requests.into(), method.to_owned(), params).into());
        loop {
            if let Message::Response(response) = self.next() {
                assert_eq!(response.id, self.requests.into());
                return response.response_result.expect("a result");
            }
        }
    }

    /// The diagnostics of the next version that is told.
    fn diagnostics(&self, uri: &str, version: i32) -> Vec<Value> {
        loop {
            if let Message::Notification(note) = self.next()
                && note.method == "textDocument/publishDiagnostics"
                && note.params["uri"] == uri
                && note.params["version"] == version
            {
                return note.params["diagnostics"].as_array().expect("diagnostics").clone();
            }
        }
    }

    fn open(&mut self, uri: &str, text: &str) -> Vec<Value> {
        let document = json!({"uri": uri, "languageId": "yaml", "version": 1, "text": text});
        self.notify("textDocument/didOpen", json!({"textDocument": document}));
        self.diagnostics(uri, 1)
    }

    fn change(&mut self, uri: &str, version: i32, text: &str) -> Vec<Value> {
        let params = json!({"textDocument": {"uri": uri, "version": version}, "contentChanges": [{"text": text}]});
        self.notify("textDocument/didChange", params);
        self.diagnostics(uri, version)
    }

    fn labels(&mut self, uri: &str, line: usize, character: usize) -> Vec<String> {
        let place = json!({"textDocument": {"uri": uri}, "position": {"line": line, "character": character}});
        let offers = self.request("textDocument/completion", place);
        let offers = offers.as_array().expect("offers").iter();
        offers.map(|o| o["label"].as_str().expect("label").to_owned()).collect()
    }

    fn hover(&mut self, uri: &str, line: usize, character: usize) -> String {
        let place = json!({"textDocument": {"uri": uri}, "position": {"line": line, "character": character}});
        let hover = self.request("textDocument/hover", place);
        hover["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }

    fn stop(mut self) {
        assert_eq!(self.request("shutdown", Value::Null), Value::Null);
        self.notify("exit", Value::Null);
        assert!(self.child.wait().expect("ended").success());
    }
}

fn codes(diagnostics: &[Value]) -> Vec<&str> {
    diagnostics.iter().filter_map(|d| d["code"].as_str()).collect()
}

const RULE: &str = "\
- rule: Configuration written
  desc: d
  source: k8s_audit
  priority: NOTICE
  output: \"𝄞 %ka.user.nam wrote\"
  condition: ka.target.resource = configmaps and from_workspace and ka.verb in (workspace_verbs)
";

#[test]
fn an_editor_writes_a_rule() {
    let dir = tempfile::tempdir().expect("directory");
    let rules = dir.path().join("rules");
    std::fs::create_dir(&rules).expect("made");
    let first = "- macro: from_workspace\n  condition: ka.user.name != nobody\n\
                 - list: workspace_verbs\n  items: [create, patch]\n";
    std::fs::write(rules.join("a first.yaml"), first).expect("written");
    let uri = format!("file://{}/rules/second%20one.yaml", dir.path().display());
    let mut editor = Editor::start(dir.path(), &[]);

    // The macro and the list come from the file before it; what is left is the field that does not exist.
    let found = editor.open(&uri, RULE);
    assert_eq!(codes(&found), ["LOAD_ERR_COMPILE_OUTPUT"], "{found:#?}");
    assert_eq!(found[0]["severity"], 1);
    // `𝄞` is two units wide.
    assert_eq!(
        found[0]["range"]["start"],
        json!({"line": 4, "character": 14}),
        "{found:#?}"
    );
    assert!(editor.hover(&uri, 4, 16).contains("did you mean `ka.user.name`?"));
    assert!(editor.labels(&uri, 4, 24).contains(&"ka.user.name".to_owned()));

    // Mended, and with the text of a macro under the pointer.
    let mended = RULE.replace("user.nam ", "user.name ");
    assert_eq!(codes(&editor.change(&uri, 2, &mended)), [] as [&str; 0]);
    assert!(editor.hover(&uri, 5, 16).starts_with("ka.target.resource: string"));
    let said = editor.hover(&uri, 5, 52);
    assert_eq!(said, "macro from_workspace\n\nka.user.name != nobody");

    // While it is being typed, the file is no YAML; completion goes on.
    let broken = format!("{mended}- rule: Next\n  source: k8s_audit\n  tags: [\n  condition: from_");
    let found = editor.change(&uri, 3, &broken);
    assert_eq!(codes(&found), ["LOAD_ERR_YAML_PARSE"], "{found:#?}");
    let line = broken.lines().count() - 1;
    let labels = editor.labels(&uri, line, 18);
    for label in ["from_workspace", "ka.verb"] {
        assert!(labels.contains(&label.to_owned()), "{label}: {labels:?}");
    }
    assert_eq!(editor.labels(&uri, line - 2, 10), saker_sources());
    editor.stop();
}

fn saker_sources() -> Vec<String> {
    let mut names = saker::event::Source::RULE_SOURCES.map(|s| s.name().to_owned());
    names.sort();
    names.to_vec()
}

/// What `-r` names is loaded; a file among it keeps its place, and one that cannot be read is told of.
#[test]
fn files_of_the_command_line_are_loaded() {
    let dir = tempfile::tempdir().expect("directory");
    let text = "- macro: later_than_this\n  condition: ka.verb = get\n";
    std::fs::write(dir.path().join("a.yaml"), RULE).expect("written");
    std::fs::write(dir.path().join("b.yaml"), text).expect("written");
    let mut editor = Editor::start(dir.path(), &["-r", "missing.yaml", "-r", "a.yaml", "-r", "b.yaml"]);
    let uri = format!("file://{}/a.yaml", dir.path().display());
    let document = json!({"uri": uri, "version": 1, "text": RULE.replace("from_workspace", "later_than_this")});
    editor.notify("textDocument/didOpen", json!({"textDocument": document}));
    let Message::Notification(note) = editor.next() else {
        panic!("no notification");
    };
    assert_eq!(note.method, "window/showMessage");
    assert!(note.params["message"].as_str().expect("text").contains("missing.yaml"));
    let found = editor.diagnostics(&uri, 1);
    assert!(
        codes(&found).contains(&"LOAD_ERR_COMPILE_CONDITION") || codes(&found).contains(&"LOAD_ERR_VALIDATE"),
        "{found:#?}"
    );

    // Tests are no rules.
    let tests = format!("file://{}/a.test.yaml", dir.path().display());
    assert_eq!(editor.open(&tests, "tests: []\n"), [] as [Value; 0]);
    editor.stop();
}

#[test]
fn an_editor_that_goes_away_ends_it() {
    let dir = tempfile::tempdir().expect("directory");
    let editor = Editor::start(dir.path(), &[]);
    let Editor { mut child, input, .. } = editor;
    drop(input);
    assert!(!child.wait().expect("ended").success());
}

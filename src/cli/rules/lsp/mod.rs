//! `saker rules lsp`: a language server for rule files, over standard input and output.
//!
//! Messages are few and small, so that they are read and written as JSON: that needs no crate of their types.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use serde_json::{Value, json};

use super::{check, fail};
use crate::engine::diagnostic::Diagnostic;
use crate::engine::{self, Loaded, RuleFile};
use crate::rulefiles;

mod complete;
mod cursor;
mod hover;
mod position;

pub const HELP: &str = "\
The file in the editor is loaded after the built-in rules and after the files of -r; without -r, after those in the
folder rules/ of the workspace. A file that is among them keeps its place. Test files (*.test.yaml) are left alone.

Neovim 0.11, in init.lua:
  vim.lsp.config('saker', { cmd = { 'saker', 'rules', 'lsp' }, filetypes = { 'yaml' }, root_markers = { 'rules' } })
  vim.lsp.enable('saker')

VS Code, with a generic client such as the extension Generic LSP Client (v2), in settings.json:
  \"glspc.server.command\": \"saker\",
  \"glspc.server.commandArguments\": [\"rules\", \"lsp\", \"-r\", \"rules/\"],
  \"glspc.server.languageId\": [\"yaml\"]";

/// How long an editor must be quiet before the rules are loaded anew.
const QUIET: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct LspArgs {
    /// Rule file or directory loaded after the built-in rules; may be given several times
    #[arg(short, long = "rules", value_name = "RULES")]
    rules: Vec<PathBuf>,
}

/// A file that is open in the editor.
struct Document {
    path: PathBuf,
    text: String,
    version: Value,
    /// The last load, and which of its files this is.
    loaded: Option<(Loaded, usize)>,
}

struct Server {
    connection: Connection,
    rules: Vec<PathBuf>,
    /// By the editor's names.
    documents: HashMap<String, Document>,
    /// Documents whose diagnostics are to be told.
    stale: BTreeSet<String>,
    /// What was last said of files that cannot be read.
    told: String,
}

pub fn run(args: LspArgs) -> ExitCode {
    let (connection, threads) = Connection::stdio();
    let ended = serve(connection, args.rules);
    // Without an orderly end, the thread that reads may wait for its input for ever.
    match ended.and_then(|()| threads.join().map_err(|e| e.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn serve(connection: Connection, rules: Vec<PathBuf>) -> Result<(), String> {
    let (id, params) = connection.initialize_start().map_err(|e| e.to_string())?;
    let able = json!({
        "capabilities": {
            "positionEncoding": "utf-16",
            "textDocumentSync": {"openClose": true, "change": 1, "save": true},
            "completionProvider": {"triggerCharacters": ["%", ".", "(", " "]},
            "hoverProvider": true,
        },
        "serverInfo": {"name": "saker", "version": env!("CARGO_PKG_VERSION")},
    });
    connection.initialize_finish(id, able).map_err(|e| e.to_string())?;
    let rules = if rules.is_empty() { workspace(&params) } else { rules };
    let mut server = Server {
        connection,
        rules,
        documents: HashMap::new(),
        stale: BTreeSet::new(),
        told: String::new(),
    };
    loop {
        let message = if server.stale.is_empty() {
            server.connection.receiver.recv().ok()
        } else {
            match server.connection.receiver.recv_timeout(QUIET) {
                Err(e) if e.is_timeout() => {
                    server.tell();
                    continue;
                }
                message => message.ok(),
            }
        };
        match message {
            None => return Err("the editor went away without a shutdown".to_owned()),
            Some(Message::Request(request)) => {
                if server.connection.handle_shutdown(&request).map_err(|e| e.to_string())? {
                    return Ok(());
                }
                let response = server.answer(request);
                server.send(response.into());
            }
            Some(Message::Notification(note)) => server.note(&note),
            Some(Message::Response(_)) => {}
        }
    }
}

/// The rule folders of the workspace.
fn workspace(params: &Value) -> Vec<PathBuf> {
    let folders = params["workspaceFolders"].as_array().into_iter().flatten();
    let mut roots: Vec<PathBuf> = folders.filter_map(|f| f["uri"].as_str()).map(path_of).collect();
    if roots.is_empty() {
        roots.extend(params["rootUri"].as_str().map(path_of));
    }
    let folders = roots.into_iter().map(|root| root.join("rules"));
    folders
        .filter(|f| rulefiles::expand(std::slice::from_ref(f)).is_ok())
        .collect()
}

/// The path of a `file:` URI; any other name is kept, for files that have no path yet.
fn path_of(uri: &str) -> PathBuf {
    let Some(encoded) = uri.strip_prefix("file://") else {
        return PathBuf::from(uri);
    };
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|c| std::str::from_utf8(c).ok());
        let code = code.and_then(|c| u8::from_str_radix(c, 16).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a file that is loaded is the one of a path. Built-in rules have the path they have in Saker's repository.
fn same(file: &str, builtin: bool, path: &Path) -> bool {
    if builtin {
        return path.ends_with(file);
    }
    match (Path::new(file).canonicalize(), path.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => Path::new(file) == path,
    }
}

impl Server {
    fn send(&self, message: Message) {
        // The end of the connection is seen where it is read.
        let _ = self.connection.sender.send(message);
    }

    fn notify(&self, method: &str, params: Value) {
        self.send(Notification::new(method.to_owned(), params).into());
    }

    fn note(&mut self, note: &Notification) {
        let document = &note.params["textDocument"];
        let Some(uri) = document["uri"].as_str() else {
            return;
        };
        match note.method.as_str() {
            "textDocument/didOpen" => {
                let path = path_of(uri);
                let text = document["text"].as_str().unwrap_or_default().to_owned();
                let (version, loaded) = (document["version"].clone(), None);
                self.documents.insert(
                    uri.to_owned(),
                    Document {
                        path,
                        text,
                        version,
                        loaded,
                    },
                );
                self.stale.insert(uri.to_owned());
            }
            "textDocument/didChange" => {
                let changes = note.params["contentChanges"].as_array();
                let text = changes.and_then(|c| c.last()).and_then(|c| c["text"].as_str());
                if let (Some(open), Some(text)) = (self.documents.get_mut(uri), text) {
                    open.text = text.to_owned();
                    open.version = document["version"].clone();
                    self.stale.insert(uri.to_owned());
                }
            }
            // What one file defines, others may use.
            "textDocument/didSave" => self.stale.extend(self.documents.keys().cloned()),
            "textDocument/didClose" => {
                self.documents.remove(uri);
                self.stale.remove(uri);
                self.notify(
                    "textDocument/publishDiagnostics",
                    json!({"uri": uri, "diagnostics": []}),
                );
            }
            _ => {}
        }
    }

    fn answer(&mut self, request: Request) -> Response {
        let hover = match request.method.as_str() {
            "textDocument/completion" => false,
            "textDocument/hover" => true,
            other => {
                let message = format!("`{other}` is not served");
                return Response::new_err(request.id, ErrorCode::MethodNotFound as i32, message);
            }
        };
        let uri = request.params["textDocument"]["uri"].as_str().unwrap_or_default();
        if hover && self.stale.contains(uri) {
            // Diagnostics of an older text lie elsewhere.
            self.tell();
        }
        let Some(document) = self.documents.get(uri) else {
            return Response::new_ok(request.id, Value::Null);
        };
        let at = |key: &str| request.params["position"][key].as_u64().unwrap_or_default();
        let offset = position::offset(&document.text, at("line"), at("character"));
        let result = if hover {
            document.hover(offset)
        } else {
            let definitions = document.loaded.as_ref().map(|(loaded, _)| &loaded.definitions);
            complete::complete(&document.text, offset, definitions)
        };
        Response::new_ok(request.id, result)
    }

    /// Loads stale documents and sends their diagnostics.
    fn tell(&mut self) {
        for uri in std::mem::take(&mut self.stale) {
            let found = self.load(&uri);
            let version = self.documents.get(&uri).map(|d| d.version.clone());
            let params = json!({"uri": uri, "version": version, "diagnostics": found});
            self.notify("textDocument/publishDiagnostics", params);
        }
    }

    /// Loads a document with the files around it.
    fn load(&mut self, uri: &str) -> Vec<Value> {
        let Some(document) = self.documents.get(uri) else {
            return Vec::new();
        };
        // Tests lie beside rules and are no rules.
        if document.path.to_string_lossy().contains(".test.") {
            return Vec::new();
        }
        let mut files: Vec<RuleFile> = rulefiles::builtin().collect();
        let builtin = files.len();
        let (others, unreadable) = check::read(&self.rules);
        files.extend(others);
        let mut own = None;
        for (i, file) in files.iter_mut().enumerate() {
            if same(&file.name, i < builtin, &document.path) {
                own = Some(i);
            }
            // What is open counts as it is in the editor.
            if let Some(open) = self.documents.values().find(|d| same(&file.name, i < builtin, &d.path)) {
                file.text.clone_from(&open.text);
            }
        }
        let own = own.unwrap_or_else(|| {
            let (name, text) = (document.path.display().to_string(), document.text.clone());
            files.push(RuleFile { name, text });
            files.len() - 1
        });
        let trouble = unreadable
            .iter()
            .map(|(_, why)| why.as_str())
            .collect::<Vec<_>>()
            .join("\n");
        if trouble != self.told && !trouble.is_empty() {
            self.notify("window/showMessage", json!({"type": 2, "message": trouble}));
        }
        self.told = trouble;
        // Only fields of a configuration can fail here, and there is none.
        let loaded = engine::load(files, &check::options()).ok();
        let Some(document) = self.documents.get_mut(uri) else {
            return Vec::new();
        };
        document.loaded = loaded.map(|loaded| (loaded, own));
        document
            .diagnostics()
            .map(|(d, start, end)| document.sent(d, start, end))
            .collect()
    }
}

impl Document {
    /// What was found in this file, with the bytes it is about.
    fn diagnostics(&self) -> impl Iterator<Item = (&Diagnostic, usize, usize)> {
        self.loaded.iter().flat_map(|(loaded, own)| {
            let here = loaded
                .diagnostics
                .iter()
                .filter(|d| loaded.sources.file_of(d.at.start) == *own);
            here.filter_map(|d| {
                let place = loaded.sources.locate(d.at.start)?;
                let meant = place.text.get(place.before.len()..).unwrap_or_default().chars();
                let width: usize = meant.take(d.width(&loaded.sources, &place)).map(char::len_utf8).sum();
                Some((d, place.offset, place.offset + width))
            })
        })
    }

    fn sent(&self, diagnostic: &Diagnostic, start: usize, end: usize) -> Value {
        json!({
            "range": position::range(&self.text, start, end),
            "severity": if diagnostic.is_error() { 1 } else { 2 },
            "code": diagnostic.code.name(), "source": "saker", "message": diagnostic.message,
        })
    }

    fn hover(&self, offset: usize) -> Value {
        let here = self
            .diagnostics()
            .filter(|(_, start, end)| (*start..=*end).contains(&offset));
        let helped = here.filter_map(|(d, ..)| Some(format!("{}\nhelp: {}", d.code.name(), d.help.as_ref()?)));
        let mut texts: Vec<String> = helped.collect();
        let definitions = self.loaded.as_ref().map(|(loaded, _)| &loaded.definitions);
        let word = hover::hover(&self.text, offset, definitions);
        let range = word.as_ref().map(|(_, range)| range.clone());
        texts.extend(word.map(|(said, _)| said));
        hover::shown(&texts, range)
    }
}

#[cfg(test)]
mod tests;

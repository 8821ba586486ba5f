//! What the user named: files, directories and standard input, plain or gzip, as readers of chunks.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::split::looks_like_json;
use super::{Chunks, FilesError, shown};

/// Every gzip member begins so.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Compressed bytes read at once.
const COMPRESSED: usize = 128 << 10;
/// So much of a file decides whether it holds JSON.
pub(super) const HEAD: u64 = 64 << 10;

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Stdin,
    /// A file, a named pipe or a device.
    File(PathBuf),
}

impl Input {
    /// How messages call it; safe to print.
    pub fn name(&self) -> String {
        match self {
            Input::Stdin => "standard input".to_owned(),
            Input::File(path) => shown(path),
        }
    }
}

/// `-` becomes standard input, a directory the audit files in it, sorted by name.
///
/// Of a directory only what looks like JSON (or gzip of it) is taken: recordings have other files beside. Hidden files
/// and subdirectories are left out.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<Input>, FilesError> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            inputs.push(Input::Stdin);
        } else if fs::metadata(path)
            .map_err(|source| FilesError::opening(path, source))?
            .is_dir()
        {
            let before = inputs.len();
            for file in regular_files(path).map_err(|source| FilesError::opening(path, source))? {
                let opened = File::open(&file).map_err(|source| FilesError::opening(&file, source))?;
                match sniff(&opened).map_err(|source| FilesError::reading(&shown(&file), source))? {
                    Shape::Json | Shape::Gzip => inputs.push(Input::File(file)),
                    Shape::Empty => {}
                    Shape::Other => tracing::debug!(path = ?file, "not JSON, left out"),
                }
            }
            if inputs.len() == before {
                return Err(FilesError::NothingInside { name: shown(path) });
            }
        } else {
            inputs.push(Input::File(path.clone()));
        }
    }
    Ok(inputs)
}

/// Bytes of all inputs as they are stored, for a progress bar; `None` when one has no size (a pipe).
pub fn total_size(inputs: &[Input]) -> Option<u64> {
    inputs
        .iter()
        .map(|input| match input {
            Input::Stdin => None,
            Input::File(path) => fs::metadata(path)
                .ok()
                .filter(fs::Metadata::is_file)
                .map(|found| found.len()),
        })
        .sum()
}

/// Opens an input; gzip is recognised by its first bytes and decompressed, all members of it.
pub fn open(input: &Input) -> Result<Chunks<Source>, FilesError> {
    match input {
        Input::Stdin => open_reader(io::stdin(), &input.name()).map(Chunks::live),
        Input::File(path) => {
            let file = File::open(path).map_err(|source| FilesError::opening(path, source))?;
            let live = !file.metadata().is_ok_and(|found| found.is_file());
            let chunks = open_reader(file, &input.name())?;
            Ok(if live { chunks.live() } else { chunks })
        }
    }
}

pub(super) fn open_reader(reader: impl Read + Send + 'static, name: &str) -> Result<Chunks<Source>, FilesError> {
    let bytes_read = BytesRead::default();
    let counted = Counted {
        reader,
        bytes_read: bytes_read.clone(),
    };
    let reader = decompressed(counted).map_err(|source| FilesError::reading(name, source))?;
    Ok(Chunks::new(Source { reader, bytes_read }, name))
}

/// An opened input.
pub struct Source {
    reader: Box<dyn Read + Send>,
    bytes_read: BytesRead,
}

impl Source {
    /// Watches how far the stored (compressed) bytes were read.
    pub fn bytes_read(&self) -> BytesRead {
        self.bytes_read.clone()
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

/// Bytes read so far, shared with whoever shows progress.
#[derive(Clone, Debug, Default)]
pub struct BytesRead(Arc<AtomicU64>);

impl BytesRead {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted<R> {
    reader: R,
    bytes_read: BytesRead,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buf)?;
        self.bytes_read.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn decompressed(mut reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::with_capacity(GZIP.len());
    reader.by_ref().take(GZIP.len() as u64).read_to_end(&mut head)?;
    let gzip = head == GZIP;
    let whole = Cursor::new(head).chain(reader);
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED, whole)))
    } else {
        Box::new(whole)
    })
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Empty,
    Json,
    Gzip,
    Other,
}

/// Looks at the first bytes of a file that was not read yet.
pub(super) fn sniff(file: &File) -> io::Result<Shape> {
    use std::os::unix::fs::FileExt;

    let mut head = [0; GZIP.len()];
    match file.read_at(&mut head, 0)? {
        0 => return Ok(Shape::Empty),
        2 if head == GZIP => {
            let mut text = Vec::new();
            let decoder = MultiGzDecoder::new(BufReader::new(At { file, offset: 0 }));
            // A damaged archive is reported when it is read, so the error is of no interest here.
            let _ = decoder.take(HEAD).read_to_end(&mut text);
            return Ok(if text.is_empty() || looks_like_json(&text) {
                Shape::Gzip
            } else {
                Shape::Other
            });
        }
        _ => {}
    }
    let mut text = Vec::new();
    At { file, offset: 0 }.take(HEAD).read_to_end(&mut text)?;
    Ok(
        if looks_like_json(&text) || text.starts_with(b"\xFF\xFE") || text.starts_with(b"\xFE\xFF") {
            Shape::Json
        } else if text.trim_ascii().is_empty() {
            Shape::Empty
        } else {
            Shape::Other
        },
    )
}

/// Reads a file from an offset without moving its own.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(self.file, buf, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// The files of a directory that are not hidden, sorted by name. Links to files count as files.
pub(super) fn regular_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && fs::metadata(entry.path()).is_ok_and(|found| found.is_file()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const A: &str = r#"{"kind":"Event","auditID":"a"}"#;
    const B: &str = r#"{"kind":"Event","auditID":"b"}"#;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// The texts of all chunks, and the error that ended them.
    fn read(path: &Path) -> (String, Option<String>) {
        let mut chunks = open(&Input::File(path.to_owned())).unwrap();
        let mut text = String::new();
        loop {
            match chunks.next() {
                Ok(Some(chunk)) => text += std::str::from_utf8(chunk.bytes).unwrap(),
                Ok(None) => {
                    assert_eq!(chunks.reader().bytes_read().get(), fs::metadata(path).unwrap().len());
                    return (text, None);
                }
                Err(error) => return (text, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn plain_and_gzip_are_told_apart_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let members = [gzip(&format!("{A}\n")), gzip(&format!("{B}\n"))].concat();
        for (name, content, expected) in [
            ("plain.gz", format!("{A}\n{B}\n").into_bytes(), format!("{A}\n{B}\n")),
            ("crlf", format!("{A}\r\n{B}").into_bytes(), format!("{A}\r\n{B}")),
            ("zipped.json", gzip(&format!("{A}\n{B}")), format!("{A}\n{B}")),
            ("members", members, format!("{A}\n{B}\n")),
            ("one byte", b"{".to_vec(), "{".to_owned()),
            ("empty", Vec::new(), String::new()),
            ("empty zipped", gzip(""), String::new()),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path), (expected, None), "{name}");
        }
    }

    #[test]
    fn a_cut_off_archive_gives_what_it_has_and_an_error_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log.gz");
        let text: String = (0..5000)
            .map(|n| format!("{{\"auditID\":\"{}\"}}\n", n * 7919))
            .collect();
        let mut content = gzip(&text);
        content.truncate(content.len() / 2);
        fs::write(&path, &content).unwrap();
        let (before, error) = read(&path);
        assert!(before.len() > text.len() / 4 && text.starts_with(&before));
        assert_eq!(
            error.unwrap(),
            format!(
                "`{}` ends in the middle of its compressed data: what came before was evaluated, copy the file again",
                path.display()
            )
        );
        // Damaged rather than cut off.
        let mut content = gzip(&text);
        let middle = content.len() / 2;
        content[middle..middle + 200].fill(0xff);
        fs::write(&path, &content).unwrap();
        let error = read(&path).1.unwrap();
        assert!(
            error.starts_with(&format!("cannot read `{}` to its end: ", path.display())),
            "{error}"
        );
    }

    #[test]
    fn directories_give_their_audit_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let inside = |name: &str| dir.path().join(name);
        for (name, content) in [
            ("000002.body", A.as_bytes()),
            ("000001.body", format!("\u{feff} {A}").as_bytes()),
            (
                "000001.headers",
                b"POST /k8s-audit?timeout=30s HTTP/1.1\r\nHost: 127.0.0.1:9443\r\n\r\n",
            ),
            ("torn.log", format!("tail of a line\"}}\n{A}\n").as_bytes()),
            ("old.gz", &gzip(A)),
            ("notes.gz", &gzip("some notes")),
            ("empty", b""),
            (".hidden.json", A.as_bytes()),
        ] {
            fs::write(inside(name), content).unwrap();
        }
        fs::create_dir(inside("sub")).unwrap();
        fs::write(inside("sub/deep.json"), A).unwrap();
        std::os::unix::fs::symlink(inside("sub/deep.json"), inside("link.json")).unwrap();

        let inputs = expand(&["-".into(), dir.path().into(), inside("empty")]).unwrap();
        let file = |name: &str| Input::File(inside(name));
        let expected = [
            Input::Stdin,
            file("000001.body"),
            file("000002.body"),
            file("link.json"),
            file("old.gz"),
            file("torn.log"),
            file("empty"),
        ];
        assert_eq!(inputs, expected);
        assert_eq!(total_size(&inputs), None, "standard input has no size");
        assert_eq!(total_size(&inputs[1..3]), Some(2 * A.len() as u64 + 4));
    }

    #[test]
    fn errors_name_the_path_and_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no\x1b[31msuch.log");
        let error = expand(&[missing]).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "cannot open `{}/no\\u{{1b}}[31msuch.log`: No such file or directory (os error 2): check the path",
                dir.path().display()
            )
        );
        let error = expand(&[dir.path().to_owned()]).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "directory `{}` holds no audit events: name one with JSON or gzip files in it",
                dir.path().display()
            )
        );
    }
}

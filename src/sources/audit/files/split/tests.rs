//! Where documents end, for every shape of input and every way reads can fall.
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Hands out a text in pieces of the given lengths, over and over.
struct Pieces<'a> {
    text: &'a [u8],
    lengths: Vec<usize>,
    turn: usize,
}

impl<'a> Pieces<'a> {
    fn new(text: &'a [u8], lengths: &[usize]) -> Self {
        Pieces {
            text,
            lengths: lengths.to_vec(),
            turn: 0,
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths[self.turn % self.lengths.len()];
        self.turn += 1;
        let count = length.min(buf.len()).min(self.text.len());
        buf[..count].copy_from_slice(&self.text[..count]);
        self.text = &self.text[count..];
        Ok(count)
    }
}

const SMALL: Limits = Limits {
    buffer: 64,
    document: 1 << 20,
};

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    documents: Vec<Value>,
    broken: Vec<String>,
    oversized: u64,
    skipped: u64,
}

fn collect<R: Read>(chunks: &mut Chunks<R>) -> Outcome {
    let mut read = Outcome::default();
    while let Some(chunk) = chunks.next().unwrap() {
        read.oversized += chunk.oversized;
        read.skipped += chunk.skipped;
        if chunk.broken {
            read.broken.push(String::from_utf8_lossy(chunk.bytes).into_owned());
        } else {
            let parsed = serde_json::Deserializer::from_slice(chunk.bytes).into_iter();
            read.documents.extend(parsed.map(Result::<Value, _>::unwrap));
        }
    }
    assert!(chunks.next().unwrap().is_none(), "the end stays the end");
    read
}

/// Every way to read the text gives these documents and these broken stretches.
#[track_caller]
fn check(text: &str, documents: &[&str], broken: &[&str]) {
    let documents: Vec<Value> = documents
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    for (lengths, limits) in [
        (&[usize::MAX][..], Limits::default()),
        (&[usize::MAX], SMALL),
        (&[1], SMALL),
        (&[7, 1, 30], SMALL),
    ] {
        for live in [false, true] {
            let mut chunks = Chunks::with_limits(Pieces::new(text.as_bytes(), lengths), "test", limits);
            if live {
                chunks = chunks.live();
            }
            let read = collect(&mut chunks);
            assert_eq!(
                read.documents, documents,
                "{text:?} in {lengths:?}, {limits:?}, live {live}"
            );
            // How a broken stretch is divided depends on what had been read; its text does not.
            assert_eq!(
                read.broken.concat(),
                broken.concat(),
                "{text:?} in {lengths:?}, live {live}"
            );
            assert_eq!((read.oversized, read.skipped), (0, 0));
        }
    }
}

const A: &str = r#"{"kind":"Event","auditID":"a","note":"}{\"\\ [ü"}"#;
const B: &str = r#"{"kind":"Event","auditID":"b","list":[1,{"x":[]},null,-2.5e3]}"#;

fn pretty(text: &str) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<Value>(text).unwrap()).unwrap()
}

#[test]
fn shapes() {
    let list = format!(r#"{{"kind":"EventList","items":[{A},{B}]}}"#);
    let array = format!("[{A},{B}]");
    for one in [A, B, &list, &array, "{}", "[]"] {
        for text in [one.to_owned(), pretty(one)] {
            for end in ["", "\n", "\r\n", "\n\n \t\n"] {
                check(&format!("{text}{end}"), &[one], &[]);
                check(&format!("\u{feff}\n  {text}{end}"), &[one], &[]);
            }
            for between in ["", " ", "\n", "\r\n", "\r", "\n\n\n", "\n  \n"] {
                let (indented, crlf) = (pretty(B), text.replace('\n', "\r\n"));
                check(
                    &format!("{text}{between}{A}{between}{indented}{between}{crlf}"),
                    &[one, A, B, one],
                    &[],
                );
            }
        }
    }
}

#[test]
fn nothing_at_all() {
    for text in ["", "\n", "\u{feff}", "\u{feff}\r\n", " \n\t\n  "] {
        check(text, &[], &[]);
    }
}

#[test]
fn zeros_left_by_a_crash_hide_no_event() {
    let zeros = "\0".repeat(300);
    check(&format!("{A}\n{zeros}{B}\n{A}\n{zeros}"), &[A, B, A], &[]);
}

#[test]
fn arrays_with_a_line_for_each_event() {
    let array = format!("[{A},{B}]");
    check(&format!("[\n{A},\n{B}\n]\n{A}"), &[&array, A], &[]);
    check(&format!("[{A},\n{B}]"), &[&array], &[]);
    let list = format!(r#"{{"items":[{A},{B}]}}"#);
    check(&format!("{{\"items\":[\n{A},\n{B}\n]}}"), &[&list], &[]);
}

#[test]
fn comma_first_lists_are_seen_by_their_next_line() {
    let list = format!(r#"{{"items":[{A},{B}]}}"#);
    let text = format!("{A}\n{{\"items\":[{A}\n,{B}\n]}}\n{B}\n");
    let read = collect(&mut Chunks::new(text.as_bytes(), "test"));
    let expected: Vec<Value> = [A, &list, B]
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    assert_eq!(read.documents, expected);
}

#[test]
fn a_broken_line_costs_nothing_but_itself() {
    for line in [
        r#"{"kind":"Event","audit"#,
        r#"{"kind":"Event","#,
        r#"{"a":{"b":1"#,
        r#"{"a":["#,
        r#"{"a":"#,
        r#"[{"a":1},"#,
        "{",
        "[",
        "[[",
        r#"{"a":"x\"#,
        "not json",
        "12345",
        "\"text\"",
        r#""level":"Metadata","x":{"y":1}}"#,
        "}",
        "]]",
        ",",
    ] {
        for newline in ["\n", "\r\n"] {
            let broken = format!("{line}{newline}");
            check(
                &format!("{A}{newline}{broken}{B}{newline}{A}{newline}"),
                &[A, B, A],
                &[&broken],
            );
            check(&format!("{broken}{B}{newline}{A}"), &[B, A], &[&broken]);
            check(&format!("{A}{newline}{line}"), &[A], &[line]);
            check(
                &format!("{A}{newline}{broken}{broken}{B}"),
                &[A, B],
                &[&broken, &broken],
            );
        }
    }
}

#[test]
fn what_stands_before_garbage_in_a_line_is_kept() {
    check(&format!("{A}xyz\n{B}\n"), &[A, B], &["xyz\n"]);
    check(&format!("{A} {{\"cut\":\n{B}\n{A}"), &[A, B, A], &["{\"cut\":\n"]);
}

#[test]
fn a_broken_indented_document_ends_where_the_next_begins() {
    let broken = "{\n  \"a\": 1\n  \"items\": [\n    {\"kind\":\"Event\"}\n  ]\n}\n";
    check(&format!("{A}\n{broken}{B}\n"), &[A, B], &[broken]);
    let cut = "{\n  \"a\": {\n    \"b\": 1,\n";
    check(&format!("{cut}{B}\n{A}\n"), &[B, A], &[cut]);
    check(&format!("{A}\n{cut}"), &[A], &[cut]);
}

#[test]
fn lines_arrive_one_by_one() {
    let text = format!("{A}\n{B}\n{A}");
    let first = A.len() + 1;
    let mut chunks = Chunks::new(Pieces::new(text.as_bytes(), &[first + 5, 0, B.len(), 0]), "test");
    assert_eq!(
        chunks.next_available().unwrap().unwrap().bytes,
        format!("{A}\n").as_bytes()
    );
    assert!(chunks.next_available().unwrap().is_none(), "half a line is kept");
    assert!(chunks.next_buffered().unwrap().is_none());
    assert_eq!(
        chunks.next_available().unwrap().unwrap().bytes,
        format!("{B}\n").as_bytes()
    );
    assert!(chunks.next_available().unwrap().is_none());
    // The rest has no newline: kept while the input may grow, handed out at its end.
    while chunks.next_available().unwrap().is_none() && !chunks.reader().text.is_empty() {}
    assert!(chunks.next_available().unwrap().is_none());
    assert_eq!(chunks.next().unwrap().unwrap().bytes, A.as_bytes());
    assert!(chunks.next().unwrap().is_none());
}

#[test]
fn a_pipe_gets_a_document_without_its_newline() {
    let text = format!("{A}{B}");
    let mut chunks = Chunks::new(Pieces::new(text.as_bytes(), &[A.len(), 0, B.len(), 0]), "test").live();
    assert_eq!(chunks.next_available().unwrap().unwrap().bytes, A.as_bytes());
    assert!(chunks.next_available().unwrap().is_none());
    assert_eq!(chunks.next_available().unwrap().unwrap().bytes, B.as_bytes());
}

#[test]
fn a_line_far_larger_than_the_buffer() {
    let many = format!("{A},").repeat((5 << 20) / A.len());
    let long = format!(r#"{{"kind":"EventList","items":[{many}{B}]}}"#);
    for tail in [String::new(), format!("\n{A}\n")] {
        let text = format!("{A}\n{long}{tail}");
        let mut chunks = Chunks::new(Pieces::new(text.as_bytes(), &[100_000, 1, 77_777]), "test");
        let read = collect(&mut chunks);
        assert_eq!(read.documents.len(), if tail.is_empty() { 2 } else { 3 });
        assert_eq!(read.documents[1], serde_json::from_str::<Value>(&long).unwrap());
        assert_eq!((read.broken.len(), read.oversized), (0, 0));
    }
}

#[test]
fn documents_without_newlines_do_not_pile_up() {
    let one = format!(r#"{{"a":"{}"}}"#, "x".repeat(100_000));
    let text = one.repeat(400);
    let mut chunks = Chunks::new(text.as_bytes(), "test");
    assert_eq!(collect(&mut chunks).documents.len(), 400);
    assert!(chunks.buf.len() <= 2 * SCAN_FROM, "{}", chunks.buf.len());
}

#[test]
fn oversized_documents_are_skipped_and_counted() {
    let limits = Limits {
        buffer: 64,
        document: 256,
    };
    let line = format!(r#"{{"a":"{}"}}"#, "x".repeat(1000));
    let spanning = pretty(&format!(r#"{{"a":[{}0]}}"#, "1,".repeat(300)));
    let garbage = "y".repeat(1000);
    for large in [&line, &spanning, &garbage] {
        for lengths in [&[usize::MAX][..], &[1], &[13, 200]] {
            let text = format!("{A}\n{large}\n{B}\n{A}\n{large}");
            let mut chunks = Chunks::with_limits(Pieces::new(text.as_bytes(), lengths), "test", limits);
            let read = collect(&mut chunks);
            let expected: Vec<Value> = [A, B, A]
                .iter()
                .map(|text| serde_json::from_str(text).unwrap())
                .collect();
            assert_eq!(read.documents, expected, "{large}");
            assert_eq!(read.broken, Vec::<String>::new());
            assert_eq!(
                (read.oversized, read.skipped),
                (2, 2 * large.len() as u64 + 1),
                "{large}"
            );
        }
    }
}

#[test]
fn utf16_is_named() {
    let error = Chunks::new(&b"\xFF\xFE{\0}\0"[..], "audit.log").next().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`audit.log` is UTF-16 text: convert it to UTF-8 first, e.g. with `iconv -f UTF-16 -t UTF-8`"
    );
}

#[test]
fn what_was_read_before_an_error_comes_first() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let text = format!("{A}\n{B}");
    let mut chunks = Chunks::new(text.as_bytes().chain(Fails), "audit.log");
    assert_eq!(chunks.next().unwrap().unwrap().bytes, format!("{A}\n").as_bytes());
    assert_eq!(chunks.next().unwrap().unwrap().bytes, B.as_bytes());
    let error = chunks.next().unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot read `audit.log` to its end: disk on fire: what came before was evaluated, read the file again once it can be read"
    );
    assert!(chunks.next().unwrap().is_none());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        "[\\PC\n\"\\\\{}\\[\\],:]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z\"\\\\{}]{0,4}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_document() -> impl Strategy<Value = Value> {
    any_json().prop_map(|value| {
        if value.is_object() || value.is_array() {
            value
        } else {
            serde_json::json!({ "value": value })
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_split_gives_the_same_documents(
        documents in prop::collection::vec((any_document(), any::<bool>(), 0..5_usize), 0..8),
        lengths in prop::collection::vec(1..40_usize, 1..6),
        buffer in 4..100_usize,
        live in any::<bool>(),
    ) {
        let mut text = String::new();
        for (document, indented, between) in &documents {
            text += &if *indented {
                serde_json::to_string_pretty(document).unwrap()
            } else {
                document.to_string()
            };
            text += ["", " ", "\n", "\r\n", "\n \n"][*between];
        }
        let limits = Limits { buffer, document: 1 << 20 };
        let mut chunks = Chunks::with_limits(Pieces::new(text.as_bytes(), &lengths), "test", limits);
        if live {
            chunks = chunks.live();
        }
        let read = collect(&mut chunks);
        prop_assert_eq!(read.broken, Vec::<String>::new());
        prop_assert_eq!(read.documents, documents.into_iter().map(|(document, _, _)| document).collect::<Vec<_>>());
    }

    #[test]
    fn no_byte_is_lost_whatever_the_text(
        lines in prop::collection::vec("[{}\\[\\]\",: a1\\\\\n\r]{0,20}", 0..12),
        lengths in prop::collection::vec(1..40_usize, 1..6),
        live in any::<bool>(),
    ) {
        let text = lines.join("\n");
        let mut chunks = Chunks::with_limits(Pieces::new(text.as_bytes(), &lengths), "test", SMALL);
        if live {
            chunks = chunks.live();
        }
        let mut seen: Vec<u8> = Vec::new();
        while let Some(chunk) = chunks.next().unwrap() {
            prop_assert!(!chunk.bytes.is_empty());
            seen.extend(chunk.bytes.iter().filter(|&&byte| !is_space(byte)));
        }
        let expected: Vec<u8> = text.bytes().filter(|&byte| !is_space(byte)).collect();
        prop_assert_eq!(seen, expected);
    }
}

//! Positions: every byte of rule text knows where in which file it was written, through block scalars, appends
//! and expanded lists.

/// A position over all rule files: each file has a range of its own.
pub type Pos = u32;

/// A half-open range of positions in one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    pub start: Pos,
    pub end: Pos,
}

/// One rule file's name and text.
#[derive(Clone, Debug)]
pub struct RuleFile {
    pub name: String,
    pub text: String,
}

/// The files of one load.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<(Pos, RuleFile)>,
}

/// A position as people say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    pub file: &'a str,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// 0-based, in bytes of the file.
    pub offset: usize,
    /// The whole line.
    pub text: &'a str,
    /// Bytes of the line before the position.
    pub before: &'a str,
}

impl SourceMap {
    /// Adds a file and returns the position of its first byte.
    pub fn add(&mut self, file: RuleFile) -> Pos {
        let base = self.files.last().map_or(0, |(base, f)| base + f.text.len() as Pos + 1);
        self.files.push((base, file));
        base
    }

    /// The file that holds a position, by number.
    pub fn file_of(&self, pos: Pos) -> usize {
        self.files.partition_point(|(base, _)| *base <= pos).saturating_sub(1)
    }

    pub fn files(&self) -> impl ExactSizeIterator<Item = &RuleFile> {
        self.files.iter().map(|(_, f)| f)
    }

    /// Where a position is; nothing when there are no files.
    pub fn locate(&self, pos: Pos) -> Option<Location<'_>> {
        let (base, file) = self.files.get(self.file_of(pos))?;
        let mut offset = (pos.saturating_sub(*base) as usize).min(file.text.len());
        while !file.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line_start = file.text[..offset].rfind('\n').map_or(0, |n| n + 1);
        let line_end = file.text[offset..].find('\n').map_or(file.text.len(), |n| offset + n);
        let before = &file.text[line_start..offset];
        Some(Location {
            file: &file.name,
            line: file.text[..offset].bytes().filter(|&b| b == b'\n').count() + 1,
            column: before.chars().count() + 1,
            offset,
            text: file.text[line_start..line_end].trim_end_matches('\r'),
            before,
        })
    }

    /// Where the file ends that holds a position.
    pub fn end_of(&self, pos: Pos) -> Pos {
        let file = self.files.get(self.file_of(pos));
        file.map_or(pos, |(base, file)| base + file.text.len() as Pos)
    }

    /// The text of a range.
    pub fn slice(&self, at: At) -> &str {
        let Some((base, file)) = self.files.get(self.file_of(at.start)) else {
            return "";
        };
        file.text
            .get((at.start - base) as usize..(at.end.max(at.start) - base) as usize)
            .unwrap_or_default()
    }
}

const fn one(pos: Pos) -> At {
    At {
        start: pos,
        end: pos + 1,
    }
}

/// Text whose bytes each know their position.
#[derive(Clone, Debug, Default)]
pub struct Text {
    text: String,
    /// What each byte stands for: itself, or, where a list was expanded, the list's whole name.
    at: Vec<At>,
    /// Position after the last byte, for errors at the end.
    end: Pos,
}

impl Text {
    /// Text that lies in its file as it is, from `start` on.
    pub fn linear(text: &str, start: Pos) -> Text {
        Text {
            text: text.to_owned(),
            at: (start..start + text.len() as Pos).map(one).collect(),
            end: start + text.len() as Pos,
        }
    }

    /// Text that all stands for one place.
    pub fn pinned(text: &str, pos: Pos) -> Text {
        Text {
            text: text.to_owned(),
            at: vec![one(pos); text.len()],
            end: pos,
        }
    }

    /// Text that all stands for a word written elsewhere, as a list's items stand for its name.
    pub fn standing_for(text: &str, place: At) -> Text {
        Text {
            text: text.to_owned(),
            at: vec![place; text.len()],
            end: place.end,
        }
    }

    /// Text with a position for each byte.
    pub fn mapped(text: String, at: Vec<Pos>, end: Pos) -> Text {
        debug_assert_eq!(text.len(), at.len());
        Text {
            text,
            at: at.into_iter().map(one).collect(),
            end,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn push(&mut self, other: &Text) {
        self.text.push_str(&other.text);
        self.at.extend_from_slice(&other.at);
        self.end = other.end;
    }

    /// Appends text that was put there by the language, at the position of what came before it.
    pub fn push_str(&mut self, text: &str) {
        let pos = self.at.last().copied().unwrap_or(one(self.end));
        self.text.push_str(text);
        self.at.resize(self.text.len(), pos);
    }

    /// The part between two byte offsets.
    pub fn slice(&self, start: usize, end: usize) -> Text {
        Text {
            text: self.text[start..end].to_owned(),
            at: self.at[start..end].to_vec(),
            end: self.at.get(end).map_or(self.end, |at| at.start),
        }
    }

    /// Where a byte range was written.
    pub fn at(&self, start: usize, end: usize) -> At {
        let first = self.at.get(start).map_or(self.end, |at| at.start);
        let last = if end > start {
            self.at.get(end - 1).map_or(self.end, |at| at.end)
        } else {
            first
        };
        At {
            start: first,
            end: last.max(first),
        }
    }

    /// The first byte that was written at a position.
    pub fn find(&self, pos: Pos) -> Option<usize> {
        self.at.iter().position(|p| p.start == pos)
    }

    /// Where the whole text was written.
    pub fn whole(&self) -> At {
        self.at(0, self.text.len())
    }
}

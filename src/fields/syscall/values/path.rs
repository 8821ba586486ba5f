//! Paths as text: made absolute, without `.` and `..`. Symbolic links are left alone: only the kernel can follow them.

/// Appends `path`, which starts from `base` when it is relative.
pub fn push_absolute(out: &mut Vec<u8>, base: &[u8], path: &[u8]) {
    let start = out.len();
    if !path.starts_with(b"/") {
        // A descriptor that is no directory has a name that is no path.
        if !base.starts_with(b"/") {
            out.extend_from_slice(path);
            return;
        }
        push_names(out, start, base);
    }
    push_names(out, start, path);
    if out.len() == start {
        out.push(b'/');
    }
}

fn push_names(out: &mut Vec<u8>, start: usize, path: &[u8]) {
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                let slash = out[start..].iter().rposition(|b| *b == b'/');
                out.truncate(start + slash.unwrap_or(0));
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
}

/// The directory of a path without the slash, except for the root's.
pub fn directory(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        // A part of the path, which callers rely on.
        Some(0) => &path[..1],
        Some(at) => &path[..at],
        None => b"",
    }
}

/// What stands after the last slash.
pub fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute() {
        for (base, path, want) in [
            ("/a", "b", "/a/b"),
            ("/a", "/b", "/b"),
            ("/", "b", "/b"),
            ("/a/b", "../c", "/a/c"),
            ("/a", "../../../c", "/c"),
            ("/a", "./b//c/.", "/a/b/c"),
            ("/a", "..", "/"),
            ("", "/etc/../etc//shadow", "/etc/shadow"),
            ("/a", "", "/a"),
            ("", "b", "b"),
            ("[eventfd]", "b", "b"),
            ("/a", "...", "/a/..."),
        ] {
            let mut out = b"x".to_vec();
            push_absolute(&mut out, base.as_bytes(), path.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{want}"), "{base} {path}");
        }
    }

    #[test]
    fn paths_are_split() {
        for (path, dir, name) in [
            ("/etc/shadow", "/etc", "shadow"),
            ("/x", "/", "x"),
            ("/", "/", ""),
            ("x", "", "x"),
        ] {
            assert_eq!(directory(path.as_bytes()), dir.as_bytes(), "{path}");
            assert_eq!(file_name(path.as_bytes()), name.as_bytes(), "{path}");
        }
    }
}

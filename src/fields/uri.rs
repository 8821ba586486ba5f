//! Query parameters of a request URI, read so that no odd parameter hides another.

/// Calls `found` with each raw `key=value` pair of the query, in order.
pub fn pairs(uri: &[u8], mut found: impl FnMut(&[u8], &[u8])) {
    let Some(question) = memchr::memchr(b'?', uri) else {
        return;
    };
    let query = &uri[question + 1..];
    let query = memchr::memchr(b'#', query).map_or(query, |hash| &query[..hash]);
    for pair in query.split(|&b| b == b'&').filter(|p| !p.is_empty()) {
        match memchr::memchr(b'=', pair) {
            Some(equals) => found(&pair[..equals], &pair[equals + 1..]),
            None => found(pair, b""),
        }
    }
}

/// Appends the decoded form: `+` is a blank, `%xx` a byte; a `%` without two hex digits stays as it is.
///
/// Bytes that are not UTF-8 become U+FFFD, so that a value is always text.
pub fn decode(raw: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut i = 0;
    let mut high = false;
    while i < raw.len() {
        let hex = |at: usize| raw.get(at).and_then(|&b| (b as char).to_digit(16));
        match raw[i] {
            b'+' => out.push(b' '),
            b'%' => match (hex(i + 1), hex(i + 2)) {
                (Some(h), Some(l)) => {
                    let byte = (h * 16 + l) as u8;
                    high |= byte >= 0x80;
                    out.push(byte);
                    i += 2;
                }
                _ => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        i += 1;
    }
    if high && std::str::from_utf8(&out[start..]).is_err() {
        let text = String::from_utf8_lossy(&out[start..]).into_owned();
        out.truncate(start);
        out.extend_from_slice(text.as_bytes());
    }
}

/// True when the raw key stands for `name`.
pub fn key_is(raw: &[u8], name: &[u8]) -> bool {
    if memchr::memchr2(b'%', b'+', raw).is_none() {
        return raw == name;
    }
    let mut key = Vec::with_capacity(raw.len());
    decode(raw, &mut key);
    key == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(uri: &str, name: &str) -> Vec<String> {
        let mut out = Vec::new();
        pairs(uri.as_bytes(), |key, raw| {
            if key_is(key, name.as_bytes()) {
                let mut value = Vec::new();
                decode(raw, &mut value);
                out.push(String::from_utf8(value).expect("text"));
            }
        });
        out
    }

    #[test]
    fn parameters_are_read_in_order_and_none_hides_another() {
        for (uri, name, want) in [
            (
                "/x?command=sh&command=-c&command=a+b%3Bc",
                "command",
                vec!["sh", "-c", "a b;c"],
            ),
            ("/x?a=1;b=2&command=id", "command", vec!["id"]),
            ("/x?a=%zz&command=id", "command", vec!["id"]),
            ("/x?command=100%", "command", vec!["100%"]),
            ("/x?%63ommand=id", "command", vec!["id"]),
            ("/x?command=%ff", "command", vec!["\u{fffd}"]),
            ("/x?tty", "tty", vec![""]),
            ("/x", "tty", vec![]),
        ] {
            assert_eq!(values(uri, name), want, "{uri}");
        }
    }
}

//! Structures that hold credentials: PEM, URLs, command lines, and marks inside a run.

use std::sync::LazyLock;

use super::kinds::Other;
use super::random;
use super::scan::Hit;
use super::values::{self, Value};

/// A PEM block ends within so many bytes.
const PEM: usize = 64 << 10;
/// Fewer characters of base64 are no key.
const BODY: usize = 40;

/// The block that begins here: a hit if it is a private key, and where to go on.
pub fn pem(t: &[u8], start: usize) -> (Option<Hit>, usize) {
    let line = &t[start..t.len().min(start + 96)];
    let label_end = values::find(&line[5..], b"-----").map(|at| at + 5);
    let Some(label_end) = label_end.or_else(|| {
        line.starts_with(b"---- ")
            .then(|| values::find(&line[5..], b"----").map(|at| at + 5))
            .flatten()
    }) else {
        return (None, start + 10);
    };
    let label = &line[..label_end];
    let body = start + label_end + 5;
    let rest = &t[body.min(t.len())..t.len().min(body + PEM)];
    // Whatever comes next with dashes ends it.
    let end = values::find(rest, b"-----").or_else(|| values::find(rest, b"---- END"));
    let inner = &rest[..end.unwrap_or(rest.len())];
    let stop = body + end.unwrap_or(0);
    let private = values::find(label, b"PRIVATE KEY").is_some();
    if !private {
        return (None, stop.max(start + label_end));
    }
    let (first, last) = base64_span(inner);
    if last <= first
        || count_base64(&inner[first..last]) < BODY
        || !begins_with_base64(&inner[first..last])
        || is_masked(&inner[first..last])
    {
        return (None, start + label_end);
    }
    let mut hit = Hit::new(Other::PrivateKey.kind(), body + first, body + last);
    hit.name = (start, start + label_end);
    (Some(hit), body + last)
}

/// The end of a private key whose beginning is elsewhere: the second half of one that was split.
pub fn pem_end(t: &[u8], start: usize, hits: &[Hit]) -> Option<Hit> {
    let line = &t[start..t.len().min(start + 64)];
    values::find(line, b"PRIVATE KEY")?;
    let from = start.saturating_sub(PEM);
    if values::find(&t[from..start], b"-----BEGIN").is_some() || hits.iter().any(|hit| hit.kind.name == "private_key") {
        return None;
    }
    let inner = &t[from..start];
    let (first, last) = base64_span(inner);
    (last > first && count_base64(&inner[first..last]) >= BODY)
        .then(|| Hit::new(Other::PrivateKey.kind(), from + first, from + last))
}

/// From the first to the last line of base64; headers of the block are left out (RFC 1421, section 4.6).
fn base64_span(inner: &[u8]) -> (usize, usize) {
    let is_body = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let mut first = 0;
    // Headers have a colon; what follows an empty line is the body.
    while let Some(colon) = inner[first..].iter().take(80).position(|b| *b == b':') {
        match inner[first + colon..].iter().position(|b| *b == b'\n') {
            Some(line) => first += colon + line + 1,
            None => break,
        }
    }
    let from = inner[first..]
        .iter()
        .position(is_body)
        .map_or(inner.len(), |at| first + at);
    // The `n` of an escaped line break is none of the body.
    let from = if from > 0 && inner[from - 1] == b'\\' {
        from + 1
    } else {
        from
    };
    let to = inner.iter().rposition(is_body).map_or(0, |at| at + 1);
    let to = if to >= 2 && inner[to - 1] == b'n' && inner[to - 2] == b'\\' {
        to - 2
    } else {
        to
    };
    (from.min(inner.len()), to)
}

fn count_base64(text: &[u8]) -> usize {
    text.iter()
        .filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
        .count()
}

/// A line of base64, and not a word of prose.
fn begins_with_base64(text: &[u8]) -> bool {
    let is_body = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    text.iter().take_while(is_body).count() >= 20
}

fn is_masked(text: &[u8]) -> bool {
    let dots = values::find(text, b"...").is_some() && count_base64(text) < 120;
    dots || random::is_repetitive(&text[..text.len().min(64)])
}

/// `user:password@` of a URL (RFC 3986, section 3.2).
pub fn authority(t: &[u8], scheme: usize, start: usize) -> Option<Hit> {
    let most = t.len().min(start + 512);
    let mut end = start;
    let mut at_sign = None;
    while end < most
        && !matches!(
            t[end],
            b'\n' | b'\r' | b' ' | b'\t' | b'"' | b'\'' | b'`' | b'<' | b'\\' | b'|' | b','
        )
    {
        if t[end] == b'@' {
            at_sign = Some(end);
        }
        // Behind the `@` a slash ends it; before it one may be part of a password that nobody encoded.
        if matches!(t[end], b'/' | b'?' | b'#') && (at_sign.is_some() || end == start) {
            break;
        }
        end += 1;
    }
    let sign = at_sign?;
    let info = &t[start..sign];
    // `scheme://host/path?mail=a@b`
    if info.iter().any(|b| matches!(b, b'?')) && !info.contains(&b':') {
        return None;
    }
    let slash = info.iter().position(|b| *b == b'/');
    let Some(colon) = info
        .iter()
        .position(|b| *b == b':')
        .filter(|colon| slash.is_none_or(|slash| *colon < slash))
    else {
        let host = &t[sign + 1..end];
        let alone =
            slash.is_none() && info.len() >= 20 && values::classify(info) == Value::Literal && random::is_random(info);
        return (alone && values::find(host, b"sentry").is_none())
            .then(|| Hit::new(Other::UrlPassword.kind(), start, sign));
    };
    let (user, password) = (&info[..colon], &info[colon + 1..]);
    // A port and a path: `http://host:8080/a@b`.
    if password.first().is_some_and(u8::is_ascii_digit)
        && password.contains(&b'/')
        && password.iter().take_while(|b| **b != b'/').all(u8::is_ascii_digit)
    {
        return None;
    }
    if password.len() < 3
        || !matches!(values::classify(password), Value::Literal) && !is_digits(password)
        || values::is_template(info)
    {
        return None;
    }
    if values::is_reference_by_words(password)
        || matches!(user, b"user" | b"username") && matches!(password, b"pass" | b"password" | b"pwd")
    {
        return None;
    }
    let mut hit = Hit::new(Other::UrlPassword.kind(), start + colon + 1, sign);
    hit.name = (scheme, start + colon);
    Some(hit)
}

/// `jdbc:oracle:thin:user/password@…` (Oracle Database JDBC Developer's Guide).
pub fn oracle(t: &[u8], start: usize) -> Option<Hit> {
    let rest = &t[start..t.len().min(start + 200)];
    let slash = rest.iter().position(|b| *b == b'/')?;
    let sign = rest.iter().position(|b| matches!(b, b'@' | b'\n' | b' '))?;
    let password = rest.get(slash + 1..sign)?;
    let literal = rest[sign] == b'@'
        && password.len() >= 3
        && values::classify(password) == Value::Literal
        && !values::is_template(password);
    literal.then(|| Hit::new(Other::UrlPassword.kind(), start + slash + 1, start + sign))
}

fn is_digits(text: &[u8]) -> bool {
    text.len() >= 4 && text.iter().all(u8::is_ascii_digit)
}

/// How a program takes a password.
enum Takes {
    /// `-p secret`
    Next(&'static [u8]),
    /// `-psecret`
    Joined(&'static [u8]),
    /// `-u name:secret`
    Pair(&'static [u8], u8),
    /// The last word of the line.
    Last,
}

/// Programs, their options, and what these are followed by: from their manual pages.
const PROGRAMS: &[(&[u8], &[Takes])] = &[
    (b"mysql", &[Takes::Joined(b"-p")]),
    (b"mysqldump", &[Takes::Joined(b"-p")]),
    (b"mysqladmin", &[Takes::Joined(b"-p")]),
    (b"mysqlimport", &[Takes::Joined(b"-p")]),
    (b"mysqlcheck", &[Takes::Joined(b"-p")]),
    (b"mysqlshow", &[Takes::Joined(b"-p")]),
    (b"mariadb", &[Takes::Joined(b"-p")]),
    (b"redis-cli", &[Takes::Next(b"-a"), Takes::Next(b"--pass")]),
    (b"valkey-cli", &[Takes::Next(b"-a")]),
    (b"sshpass", &[Takes::Next(b"-p"), Takes::Joined(b"-p")]),
    (
        b"curl",
        &[
            Takes::Pair(b"-u", b':'),
            Takes::Pair(b"--user", b':'),
            Takes::Pair(b"-U", b':'),
            Takes::Pair(b"--proxy-user", b':'),
            Takes::Pair(b"-u", b'%'),
        ],
    ),
    (b"http", &[Takes::Pair(b"-a", b':'), Takes::Pair(b"--auth", b':')]),
    (b"ldapsearch", &[Takes::Next(b"-w")]),
    (b"ldapadd", &[Takes::Next(b"-w")]),
    (b"ldapmodify", &[Takes::Next(b"-w")]),
    (b"ldapwhoami", &[Takes::Next(b"-w")]),
    (b"ldappasswd", &[Takes::Next(b"-w"), Takes::Next(b"-s")]),
    (b"docker", &[Takes::Next(b"-p")]),
    (b"podman", &[Takes::Next(b"-p")]),
    (b"nerdctl", &[Takes::Next(b"-p")]),
    (
        b"skopeo",
        &[
            Takes::Pair(b"--creds", b':'),
            Takes::Pair(b"--src-creds", b':'),
            Takes::Pair(b"--dest-creds", b':'),
        ],
    ),
    (b"mongo", &[Takes::Next(b"-p")]),
    (b"mongosh", &[Takes::Next(b"-p")]),
    (b"mongodump", &[Takes::Next(b"-p")]),
    (b"sqlcmd", &[Takes::Next(b"-P"), Takes::Joined(b"-P")]),
    (b"bcp", &[Takes::Next(b"-P"), Takes::Joined(b"-P")]),
    (b"smbclient", &[Takes::Pair(b"-U", b'%')]),
    (b"rpcclient", &[Takes::Pair(b"-U", b'%')]),
    (b"lftp", &[Takes::Pair(b"-u", b',')]),
    (b"htpasswd", &[Takes::Last]),
    (b"rabbitmqctl", &[Takes::Last]),
    (b"az", &[Takes::Next(b"-p")]),
    (b"oc", &[Takes::Next(b"-p")]),
    (b"zip", &[Takes::Next(b"-P")]),
    (b"unzip", &[Takes::Next(b"-P")]),
    (b"7z", &[Takes::Joined(b"-p")]),
    (b"plink", &[Takes::Next(b"-pw")]),
    (b"pscp", &[Takes::Next(b"-pw")]),
    (b"ipmitool", &[Takes::Next(b"-P")]),
    (b"snmpwalk", &[Takes::Next(b"-A"), Takes::Next(b"-X")]),
    (b"mosquitto_pub", &[Takes::Next(b"-P")]),
    (b"mosquitto_sub", &[Takes::Next(b"-P")]),
    (b"cqlsh", &[Takes::Next(b"-p")]),
    (b"influx", &[Takes::Next(b"-t")]),
    (b"helm", &[Takes::Next(b"-p")]),
    (b"argocd", &[Takes::Next(b"-p")]),
    (b"unseal", &[Takes::Last]),
    (b"chpasswd", &[]),
];

/// By the first and the last character: most words end here.
#[inline]
pub fn may_be_program(name: &[u8]) -> bool {
    static ENDS: LazyLock<[u64; 64]> = LazyLock::new(|| {
        let mut ends = [0; 64];
        for (program, _) in PROGRAMS {
            ends[usize::from(program[0] & 63)] |= 1 << (program[program.len() - 1] & 63);
        }
        ends
    });
    ENDS[usize::from(name[0] & 63)] >> (name[name.len() - 1] & 63) & 1 == 1
}

/// The password on the command line of a program whose name is `start..end`.
pub fn command(t: &[u8], start: usize, end: usize, hits: &mut Vec<Hit>) {
    let name = &t[start..end];
    if !matches!(t.get(end), Some(b' ' | b'\t')) || !may_be_program(name) {
        return;
    }
    let Some((_, takes)) = PROGRAMS.iter().find(|(program, _)| *program == name) else {
        return;
    };
    // A line that goes on behind a backslash is one line.
    let most = t.len().min(end + 256);
    let mut line = end;
    while line < most && (t[line] != b'\n' || t[line - 1] == b'\\') && !matches!(t[line], b'|' | b';') {
        line += 1;
    }
    let mut words = Words { t, at: end, end: line };
    let mut before: &[u8] = b"";
    let mut last = (end, end);
    let mut logs_in = !matches!(
        name,
        b"docker" | b"podman" | b"nerdctl" | b"az" | b"oc" | b"helm" | b"argocd"
    );
    let mut count = 0;
    while let Some((from, to)) = words.next() {
        let word = &t[from..to];
        count += 1;
        logs_in |= word == b"login";
        last = (from, to);
        let mut found = None;
        for take in *takes {
            match take {
                Takes::Next(option) if before == *option && logs_in => found = Some((from, to)),
                Takes::Joined(option) if word.starts_with(option) && word.len() > option.len() + 2 => {
                    found = Some((from + option.len(), to))
                }
                Takes::Pair(option, sign) => {
                    let from = if before == *option {
                        from
                    } else if word.starts_with(option) && option.len() == 2 && word.len() > 2 {
                        from + 2
                    } else {
                        continue;
                    };
                    if let Some(at) = t[from..to].iter().position(|b| b == sign) {
                        found = Some((from + at + 1, to));
                    }
                }
                _ => {}
            }
        }
        if let Some((from, to)) = found {
            let value = values::trim(&t[from..to]);
            if value.len() >= 3
                && !word.starts_with(b"-p-")
                && !word.starts_with(b"<")
                && values::classify(value) == Value::Literal
                && !values::is_reference_by_words(value)
                && !same_as_user(t, from, value)
            {
                push(hits, t, from, to, start);
            }
        }
        before = word;
    }
    let sets = matches!(name, b"htpasswd" if values::find(&t[end..line], b" -b").is_some() || values::find(&t[end..line], b"-bc").is_some())
        || name == b"rabbitmqctl"
            && (values::find(&t[end..line], b"add_user").is_some()
                || values::find(&t[end..line], b"change_password").is_some());
    let value = &t[last.0..last.1];
    let given = sets && count >= 3 && value.len() >= 4 && !value.starts_with(b"-")
        || name == b"unseal" && random::is_random(value);
    if given && takes.iter().any(|take| matches!(take, Takes::Last)) && values::classify(value) == Value::Literal {
        push(hits, t, last.0, last.1, start);
    }
}

/// `test:test`, as documentation has it.
fn same_as_user(t: &[u8], from: usize, value: &[u8]) -> bool {
    from > value.len() && t[..from - 1].ends_with(value) && value.len() < 6
}

fn push(hits: &mut Vec<Hit>, t: &[u8], from: usize, to: usize, name: usize) {
    let inner = values::trim(&t[from..to]);
    let shift = (to - from - inner.len()) / 2;
    let mut hit = Hit::new(Other::CommandLine.kind(), from + shift, from + shift + inner.len());
    hit.name = (name, name);
    hits.push(hit);
}

/// Words of a command line, as far as quotes and spaces tell.
struct Words<'t> {
    t: &'t [u8],
    at: usize,
    end: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<(usize, usize)> {
        while self.at < self.end && matches!(self.t[self.at], b' ' | b'\t' | b'\n' | b'\\') {
            self.at += 1;
        }
        let from = self.at;
        let mut quote = 0;
        while self.at < self.end {
            let b = self.t[self.at];
            match b {
                b'"' | b'\'' if quote == 0 => quote = b,
                _ if quote != 0 && b == quote => quote = 0,
                b' ' | b'\t' | b'\n' if quote == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == from {
            return None;
        }
        // Quotes around the whole word are none of it.
        let (mut a, mut b) = (from, self.at);
        if b - a >= 2 && matches!(self.t[a], b'"' | b'\'') && self.t[a] == self.t[b - 1] {
            a += 1;
            b -= 1;
        }
        Some((a, b))
    }
}

/// Secrets that a mark inside them tells: `….atlasv1.…`, `…8Q~…`; and PuTTY's keys, which begin with a run.
pub fn marked(t: &[u8], start: usize, end: usize) -> Option<Hit> {
    let run = &t[start..end];
    if let Some(at) = values::find(run, b".atlasv1.") {
        let body = run.len() - at - 9;
        if at >= 14 && body >= 50 && random::is_random(&run[at + 9..]) {
            return Some(Hit::new(Other::Terraform.kind(), start, end));
        }
    }
    if let Some(at) = values::find(run, b"Q~")
        && at >= 4
        && run.len() - at >= 33
        && run[at - 1].is_ascii_digit()
    {
        return Some(Hit::new(Other::AzureSecret.kind(), start + at - 4, end));
    }
    if run == b"PuTTY-User-Key-File-2" || run == b"PuTTY-User-Key-File-3" {
        let rest = &t[end..t.len().min(end + PEM)];
        let lines = values::find(rest, b"Private-Lines:")?;
        let body = rest[lines..].iter().position(|b| *b == b'\n').map(|n| lines + n + 1)?;
        let stop = values::find(&rest[body..], b"Private-MAC").map_or(rest.len(), |n| body + n);
        let to = rest[body..stop].trim_ascii_end().len() + body;
        return (to - body >= BODY).then(|| Hit::new(Other::PrivateKey.kind(), end + body, end + to));
    }
    None
}

/// A private key as JSON (RFC 7517): `d` or `k` beside `kty`.
pub fn jwk(t: &[u8]) -> Option<Hit> {
    values::find(t, b"\"kty\"")?;
    for name in [&b"\"d\""[..], b"\"k\""] {
        let mut from = 0;
        while let Some(at) = values::find(&t[from..], name) {
            let value = from + at + name.len();
            let open = t[value..]
                .iter()
                .take(8)
                .position(|b| *b == b'"')
                .map(|n| value + n + 1);
            if let Some(open) = open {
                let length = t[open..]
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                    .count();
                if length >= 20 && !random::is_repetitive(&t[open..open + length]) {
                    return Some(Hit::new(Other::Jwk.kind(), open, open + length));
                }
            }
            from = value;
        }
    }
    None
}

/// Lines of files that are known by the name of their key: `.pgpass`, `.htpasswd`, `shadow`, `chap-secrets`.
pub fn file(key: &[u8], t: &[u8], hits: &mut Vec<Hit>) {
    let mut window = 0_u32;
    let known = key.iter().any(|b| {
        window = window << 8 | u32::from(b | 0x20);
        matches!(
            &window.to_be_bytes(),
            b"pgpa" | b"pass" | b"sers" | b"dige" | b"chap" | b"pap-" | b"cred"
        )
    });
    if !known {
        return;
    }
    let key = key.to_ascii_lowercase();
    let has = |part: &[u8]| values::find(&key, part).is_some();
    let pgpass = has(b"pgpass");
    let users = has(b"htpasswd")
        || has(b"passwd")
        || has(b"users")
        || has(b"htdigest")
        || has(b"chpasswd")
        || has(b"git-credentials");
    let chap = has(b"chap-secrets") || has(b"pap-secrets");
    if !(pgpass || users || chap) {
        return;
    }
    let mut at = 0;
    for line in t.split(|b| *b == b'\n').take(1000) {
        let start = at;
        at += line.len() + 1;
        let line = line.trim_ascii_end();
        if line.starts_with(b"#") {
            continue;
        }
        let colons = line.iter().filter(|b| **b == b':').count();
        let value = if pgpass && colons >= 4 {
            line.splitn(5, |b| *b == b':').nth(4)
        } else if users
            && (1..=2).contains(&colons)
            && !line.contains(&b' ')
            && !line.contains(&b'/')
            && !line.contains(&b'"')
        {
            line.rsplit(|b| *b == b':').next()
        } else if users && line.starts_with(b"[") && colons >= 1 {
            // sasl_passwd of postfix(5): `[host]:port user:password`.
            let login = line.split(u8::is_ascii_whitespace).nth(1).unwrap_or_default();
            login
                .contains(&b':')
                .then(|| login.rsplit(|b| *b == b':').next())
                .flatten()
        } else if chap {
            line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).nth(2)
        } else {
            None
        };
        if let Some(value) = value
            && value.len() >= 4
            && values::classify(value) == Value::Literal
        {
            let offset = start + (value.as_ptr() as usize - line.as_ptr() as usize);
            hits.push(Hit::new(Other::FilePassword.kind(), offset, offset + value.len()));
        }
    }
}

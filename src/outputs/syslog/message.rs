//! The text of syslog messages: headers of both forms, and cutting to a transport's limit.

use jiff::Zoned;

/// Who sends: the fields of a header that stay the same while the process runs.
pub(super) struct Sender {
    host: String,
    pid: u32,
}

impl Sender {
    pub fn of_this_process() -> Sender {
        let host = nix::unistd::gethostname().unwrap_or_default();
        Sender {
            host: host_name(&host.to_string_lossy()),
            pid: std::process::id(),
        }
    }
}

/// A host name as RFC 5424 wants it: printable ASCII without spaces, at most 255 characters, `-` for none.
fn host_name(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// Everything before the alert's text.
pub(super) struct Header<'a> {
    pub sender: &'a Sender,
    /// Facility times eight plus severity.
    pub priority: u8,
    pub now: Zoned,
}

impl Header<'_> {
    /// The classic form over the network: local time, and the host's name without its domain.
    pub fn rfc3164(&self) -> String {
        let host = self.sender.host.split('.').next().unwrap_or("-");
        format!(
            "<{}>{} {host} {}",
            self.priority,
            self.classic_time(),
            self.classic_tag()
        )
    }

    /// The classic form to the local daemon, which knows the host; as the C library's `syslog` writes it.
    pub fn rfc3164_local(&self) -> String {
        format!("<{}>{} {}", self.priority, self.classic_time(), self.classic_tag())
    }

    pub fn rfc5424(&self) -> String {
        let Sender { host, pid } = self.sender;
        let time = self.now.timestamp();
        format!("<{}>1 {time:.6} {host} saker {pid} alert - ", self.priority)
    }

    fn classic_time(&self) -> impl std::fmt::Display {
        self.now.strftime("%b %e %H:%M:%S")
    }

    fn classic_tag(&self) -> String {
        format!("saker[{}]: ", self.sender.pid)
    }
}

/// The longest beginning of `text` that fits into `max` bytes and ends between two characters.
pub(super) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    // INVARIANT: 0 is a character boundary, so the search ends.
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_forms() {
        let sender = Sender {
            host: host_name("node-7.example.org"),
            pid: 42,
        };
        let header = Header {
            sender: &sender,
            priority: 3 * 8 + 4,
            now: "2026-02-03T04:05:06.0789+01:00[Europe/Prague]".parse().unwrap(),
        };
        assert_eq!(header.rfc3164(), "<28>Feb  3 04:05:06 node-7 saker[42]: ");
        assert_eq!(header.rfc3164_local(), "<28>Feb  3 04:05:06 saker[42]: ");
        assert_eq!(
            header.rfc5424(),
            "<28>1 2026-02-03T03:05:06.078900Z node-7.example.org saker 42 alert - "
        );
    }

    #[test]
    fn host_names_fit_a_header() {
        for (name, want) in [("node 1\n", "node1"), ("", "-"), ("ž", "-"), ("a.b", "a.b")] {
            assert_eq!(host_name(name), want);
        }
        assert_eq!(host_name(&"h".repeat(300)).len(), 255);
    }

    #[test]
    fn cuts_between_characters() {
        for (text, max, want) in [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("aß", 2, "a"),
            ("aß", 3, "aß"),
            ("🦅", 3, ""),
            ("abc", 0, ""),
        ] {
            assert_eq!(cut(text, max), want, "{text} at {max}");
        }
    }
}

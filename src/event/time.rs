//! Time stamps of events: RFC 3339 in, and the forms that alerts print.

use jiff::tz::TimeZone;

use crate::event::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// Reads an RFC 3339 time; `None` when it is not one, or lies before 1970 or after 2554.
pub fn parse_rfc3339(text: &[u8]) -> Option<Timestamp> {
    // YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)
    let (head, rest) = text.split_at_checked(19)?;
    if head[4] != b'-'
        || head[7] != b'-'
        || !matches!(head[10], b'T' | b't' | b' ')
        || head[13] != b':'
        || head[16] != b':'
    {
        return None;
    }
    let (year, month, day) = (digits(&head[0..4])?, digits(&head[5..7])?, digits(&head[8..10])?);
    let (hour, minute, second) = (digits(&head[11..13])?, digits(&head[14..16])?, digits(&head[17..19])?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in_month(year, month)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (nanos, zone) = match rest.first()? {
        b'.' => {
            let len = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if len == 0 {
                return None;
            }
            let kept = &rest[1..1 + len.min(9)];
            (digits(kept)? * 10u64.pow(9 - kept.len() as u32), &rest[1 + len..])
        }
        _ => (0, rest),
    };
    let offset = match zone {
        b"Z" | b"z" => 0i64,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (h, m) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if h > 23 || m > 59 {
                return None;
            }
            let seconds = (h * 3600 + m * 60) as i64;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = days_from_epoch(year, month, day) * 86_400 + (hour * 3600 + minute * 60 + second) as i64 - offset;
    u64::try_from(seconds).ok()?.checked_mul(SECOND)?.checked_add(nanos)
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter()
        .try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_epoch(year: u64, month: u64, day: u64) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year.
    let year = year as i64 - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month as i64 + 9) % 12) + 2) / 5 + day as i64 - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A time broken down for printing.
#[derive(Clone, Copy, Debug)]
pub struct Civil {
    year: i64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    nanos: u32,
}

impl Civil {
    /// The time in UTC.
    pub fn utc(time: Timestamp) -> Civil {
        Civil::at_offset(time, 0)
    }

    /// The time in `zone`.
    pub fn local(time: Timestamp, zone: &TimeZone) -> Civil {
        let offset = jiff::Timestamp::from_second((time / SECOND) as i64).map_or(0, |t| zone.to_offset(t).seconds());
        Civil::at_offset(time, i64::from(offset))
    }

    fn at_offset(time: Timestamp, offset: i64) -> Civil {
        let seconds = (time / SECOND) as i64 + offset;
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Civil {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
            nanos: (time % SECOND) as u32,
        }
    }

    /// `HH:MM:SS`
    pub fn push_time(&self, out: &mut Vec<u8>) {
        push_padded(out, u64::from(self.hour), 2);
        out.push(b':');
        push_padded(out, u64::from(self.minute), 2);
        out.push(b':');
        push_padded(out, u64::from(self.second), 2);
    }

    /// `.nnnnnnnnn`
    pub fn push_nanos(&self, out: &mut Vec<u8>) {
        out.push(b'.');
        push_padded(out, u64::from(self.nanos), 9);
    }

    /// `YYYY-MM-DD`
    pub fn push_date(&self, out: &mut Vec<u8>) {
        push_padded(out, self.year.unsigned_abs(), 4);
        out.push(b'-');
        push_padded(out, u64::from(self.month), 2);
        out.push(b'-');
        push_padded(out, u64::from(self.day), 2);
    }

    /// `YYYY-MM-DDTHH:MM:SS.nnnnnnnnn`, without a zone.
    pub fn push_iso8601(&self, out: &mut Vec<u8>) {
        self.push_date(out);
        out.push(b'T');
        self.push_time(out);
        self.push_nanos(out);
    }
}

/// Appends a number with at least `width` digits.
pub fn push_padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut buffer = [b'0'; 20];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let from = at.min(buffer.len().saturating_sub(width));
    out.extend_from_slice(&buffer[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc3339_table() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-01-02T03:04:05.000006Z", Some(1767323045000006000)),
            ("2026-01-02T03:04:05.1234567891Z", Some(1767323045123456789)),
            ("2026-01-02T05:04:05+02:00", Some(1767323045000000000)),
            ("2024-02-29T00:00:00Z", Some(1709164800000000000)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-02T24:00:00Z", None),
            ("2026-01-02T03:04:05", None),
            ("2026-01-02T03:04:05.Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("", None),
            ("null", None),
        ] {
            assert_eq!(parse_rfc3339(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_jiff(seconds in 0i64..16_000_000_000, nanos in 0u32..1_000_000_000) {
            let time = seconds as u64 * SECOND + u64::from(nanos);
            let theirs = jiff::Timestamp::new(seconds, nanos as i32).expect("in range");
            prop_assert_eq!(parse_rfc3339(theirs.to_string().as_bytes()), Some(time));
            let mut ours = Vec::new();
            Civil::utc(time).push_iso8601(&mut ours);
            let expected = format!("{:.9}", theirs);
            prop_assert_eq!(String::from_utf8(ours).expect("ascii") + "Z", expected);
        }
    }
}

//! Whether text was drawn at random or written by somebody.
//!
//! A logistic model over seven properties. Its weights were fitted on strings drawn from the usual alphabets against
//! identifiers and words of source code and prose; no labelled secret was used.

/// How likely one letter follows another in English and in identifiers: 0 (hardly ever) to 9, a row for each first letter.
const FOLLOWS: [&[u8; 26]; 26] = [
    b"15651251503758050767432140",
    b"61217121740730620653800070",
    b"60418107505610830647500020",
    b"72258242810331700452532030",
    b"53675440301557243875142530",
    b"50226520800523800737500050",
    b"51418138700546660752501020",
    b"70019000700122700417400030",
    b"55755560002658730477040203",
    b"72429122633122740272603111",
    b"72349523712526522374512031",
    b"71258330801711610055620050",
    b"84138040700551770061510020",
    b"60676370503313620177531050",
    b"23552740222568360856655010",
    b"70237114502721650766600070",
    b"10123112210402101323922010",
    b"71548350704364740566543050",
    b"50528206702321750368631040",
    b"60327208700322650655405050",
    b"46555330501667250778000202",
    b"70109050800021400122000200",
    b"80106007800305700640005010",
    b"73737303600130380038310330",
    b"62324122400445870866221022",
    b"73129214602543611031411156",
];

/// Shorter text tells nothing.
pub const MIN: usize = 8;

/// Whether text looks drawn at random. Hexadecimal digits of 16 and more count, unless they are digits alone.
pub fn is_random(text: &[u8]) -> bool {
    text.len() >= MIN && !is_repetitive(text) && (is_hex(text) || score(text) > 0.0)
}

/// The log of the odds; positive for random text.
pub fn score(text: &[u8]) -> f32 {
    let n = text.len() as f32;
    let (mut digits, mut other, mut pairs, mut follows, mut rare) = (0_u32, 0_u32, 0_u32, 0_u32, 0_u32);
    let (mut digit_edges, mut case_edges) = (0_u32, 0_u32);
    let mut seen = 0_u64;
    let mut before = 0_u8;
    for &b in text {
        digits += u32::from(b.is_ascii_digit());
        other += u32::from(!b.is_ascii_alphanumeric());
        seen |= 1 << (b.to_ascii_lowercase() & 63);
        if b.is_ascii_alphabetic() && before.is_ascii_alphabetic() {
            let row = FOLLOWS[usize::from(before.to_ascii_lowercase() - b'a')];
            let likely = u32::from(row[usize::from(b.to_ascii_lowercase() - b'a')] - b'0');
            pairs += 1;
            follows += likely;
            rare += u32::from(likely <= 3);
            case_edges += u32::from(b.is_ascii_lowercase() != before.is_ascii_lowercase());
        }
        let edge = (b.is_ascii_digit() && before.is_ascii_alphabetic())
            || (b.is_ascii_alphabetic() && before.is_ascii_digit());
        digit_edges += u32::from(edge);
        before = b;
    }
    let (mean, rare) = match pairs {
        0 => (4.0, 0.3),
        _ => (follows as f32 / pairs as f32, rare as f32 / pairs as f32),
    };
    10.5 - 2.11 * mean - 3.11 * rare - 4.92 * digits as f32 / n
        + 6.98 * digit_edges as f32 / n
        + 2.79 * case_edges as f32 / n
        - 12.64 * other as f32 / n
        - 1.14 * seen.count_ones() as f32 / n.min(30.0)
}

/// 16 and more hexadecimal digits of one case, letters among them.
pub fn is_hex(text: &[u8]) -> bool {
    let lower = text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let upper = text.iter().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    let letters = text.iter().filter(|b| b.is_ascii_alphabetic()).count();
    text.len() >= 16 && (lower || upper) && letters >= 3 && text.len() - letters >= 3
}

/// `8-4-4-4-12` hexadecimal digits (RFC 9562).
pub fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// The same few characters over and over, or the alphabet as it stands: what people put where a secret should be.
pub fn is_repetitive(text: &[u8]) -> bool {
    let mut seen = 0_u128;
    let (mut run, mut longest, mut steps) = (1, 1, 0);
    for (at, &b) in text.iter().enumerate() {
        seen |= 1 << (b.to_ascii_lowercase() & 127);
        let before = at.checked_sub(1).map(|at| text[at]);
        run = if before == Some(b) { run + 1 } else { 1 };
        longest = longest.max(run);
        steps += usize::from(before.is_some_and(|before| b == before.wrapping_add(1)));
    }
    let n = text.len();
    let distinct = seen.count_ones() as usize;
    n >= 6 && (distinct * 5 <= n.min(24) || longest * 3 > n.max(12) || longest >= 12 || steps * 2 > n)
}

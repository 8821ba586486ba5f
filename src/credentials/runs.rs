//! Where runs of characters begin and end, 64 bytes at a time and without a branch for each.

/// Which of 64 bytes belong to runs, and which begin something by themselves.
#[derive(Clone, Copy)]
struct Block {
    word: u64,
    sign: u64,
    digit: u64,
}

/// Runs of a text, from left to right.
pub struct Runs<'t> {
    t: &'t [u8],
    base: usize,
    block: Block,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Letters, digits, `_`, `-`, `.` and everything outside ASCII; and whether a digit is among them.
    Run(usize, usize, bool),
    /// One of `\`, `$`, `{`.
    Sign(usize),
    End,
}

impl<'t> Runs<'t> {
    pub fn new(t: &'t [u8]) -> Runs<'t> {
        Runs {
            t,
            base: 0,
            block: block(t, 0),
        }
    }

    /// The first run or sign at or behind this position.
    #[inline]
    pub fn next(&mut self, mut from: usize) -> Next {
        loop {
            if from >= self.t.len() {
                return Next::End;
            }
            let block = self.at(from);
            let skip = from & 63;
            let any = (block.word | block.sign) >> skip;
            if any == 0 {
                from = (from | 63) + 1;
                continue;
            }
            let start = from + any.trailing_zeros() as usize;
            if block.sign >> (start & 63) & 1 == 1 {
                return Next::Sign(start);
            }
            let (end, digits) = self.end(start);
            return Next::Run(start, end, digits);
        }
    }

    /// Where the run ends that this position is in, and whether there is a digit until then.
    #[inline]
    fn end(&mut self, mut from: usize) -> (usize, bool) {
        let mut digits = false;
        loop {
            if from >= self.t.len() {
                return (self.t.len(), digits);
            }
            let block = self.at(from);
            let skip = from & 63;
            let length = ((!(block.word >> skip)).trailing_zeros() as usize).min(64 - skip);
            let mask = if length == 64 { u64::MAX } else { (1 << length) - 1 };
            digits |= block.digit >> skip & mask != 0;
            from += length;
            if from & 63 != 0 || length == 0 {
                return (from.min(self.t.len()), digits);
            }
        }
    }

    #[inline]
    fn at(&mut self, from: usize) -> Block {
        let base = from & !63;
        if base != self.base {
            self.base = base;
            self.block = block(self.t, base);
        }
        self.block
    }
}

/// Whether a byte belongs to a run.
#[inline]
pub const fn is_word(b: u8) -> bool {
    let letter = (b | 0x20).wrapping_sub(b'a') < 26;
    letter | (b.wrapping_sub(b'0') < 10) | (b >= 0x80) | (b == b'_') | (b == b'-') | (b == b'.')
}

fn block(t: &[u8], base: usize) -> Block {
    let rest = &t[base.min(t.len())..];
    if let Some(full) = rest.first_chunk::<64>() {
        return classify(full);
    }
    let mut bytes = [0; 64];
    bytes[..rest.len()].copy_from_slice(rest);
    classify(&bytes)
}

fn classify(bytes: &[u8; 64]) -> Block {
    let mut word = [0_u8; 64];
    let mut sign = [0_u8; 64];
    let mut digits = [0_u8; 64];
    for at in 0..64 {
        let b = bytes[at];
        word[at] = u8::from(is_word(b));
        digits[at] = u8::from(b.is_ascii_digit());
        sign[at] = u8::from((b == b'\\') | (b == b'$') | (b == b'{'));
    }
    Block {
        word: pack(&word),
        sign: pack(&sign),
        digit: pack(&digits),
    }
}

/// One bit for each of 64 bytes that are 0 or 1.
fn pack(flags: &[u8; 64]) -> u64 {
    let mut bits = 0;
    for (at, chunk) in flags.as_chunks::<8>().0.iter().enumerate() {
        let spread = u64::from_le_bytes(*chunk).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits |= spread << (8 * at);
    }
    bits
}

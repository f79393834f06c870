//! RFC 1951 read as plainly as possible, bit by bit, after zlib's `puff`; and RFC 7692 section
//! 7.2.2 on top of it.

/// What a message is inflated to: `None` if it is not DEFLATE, or ends within a block, even if the
/// octets that its sender took away would serve as that block's data. `before` is what it may
/// refer to.
pub fn message(payload: &[u8], before: &[u8]) -> Option<Vec<u8>> {
    if payload.is_empty() {
        return Some(Vec::new());
    }
    let bytes = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut output = before.to_vec();
    let mut bits = Bits { bytes: &bytes, position: 0, data_end: 8 * payload.len() };
    let mut visible_from = 0;
    while bits.position < 8 * bytes.len() {
        if block(&mut bits, &mut output, visible_from)? {
            bits.align();
            if bits.position == bits.data_end {
                break;
            }
            if bits.position > bits.data_end {
                return None;
            }
            // Another stream follows.
            visible_from = output.len();
        }
    }
    Some(output.split_off(before.len()))
}

struct Bits<'b> {
    bytes: &'b [u8],
    position: usize,
    /// Nothing that is read behind this makes output.
    data_end: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u8) -> Option<usize> {
        let mut number = 0;
        for place in 0..count {
            let byte = self.bytes.get(self.position / 8)?;
            number |= usize::from(byte >> (self.position % 8) & 1) << place;
            self.position += 1;
        }
        Some(number)
    }

    fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }

    /// What was read last makes output.
    fn is_data(&self) -> Option<()> {
        (self.position <= self.data_end).then_some(())
    }
}

/// Section 3.2.3; whether it was the last block.
fn block(bits: &mut Bits<'_>, output: &mut Vec<u8>, visible_from: usize) -> Option<bool> {
    let is_last = bits.take(1)? == 1;
    match bits.take(2)? {
        0 => {
            bits.align();
            let length = bits.take(16)?;
            if bits.take(16)? != !length & 0xffff {
                return None;
            }
            for _ in 0..length {
                output.push(bits.take(8)? as u8);
                bits.is_data()?;
            }
        }
        1 => {
            let lengths = |symbol| match symbol {
                0..144 => 8,
                144..256 => 9,
                256..280 => 7,
                _ => 8,
            };
            let lengths: Vec<u8> = (0..288).map(lengths).collect();
            let (literals, distances) = (Code::new(&lengths), Code::new(&[5; 30]));
            compressed(bits, output, visible_from, &literals, &distances)?;
        }
        2 => {
            let (literals, distances) = codes(bits)?;
            compressed(bits, output, visible_from, &literals, &distances)?;
        }
        _ => return None,
    }
    Some(is_last)
}

/// Section 3.2.7.
fn codes(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let literals = bits.take(5)? + 257;
    let distances = bits.take(5)? + 1;
    let count = bits.take(4)? + 4;
    if literals > 286 || distances > 30 {
        return None;
    }
    let mut lengths = vec![0; 19];
    for place in &ORDER[..count] {
        lengths[*place] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths);
    if !code.is_complete() {
        return None;
    }
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (value, times) = match code.decode(bits)? {
            symbol @ 0..16 => (symbol as u8, 1),
            16 => (*lengths.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            _ => (0, 11 + bits.take(7)?),
        };
        lengths.extend(std::iter::repeat_n(value, times));
    }
    if lengths.len() > literals + distances || lengths[256] == 0 {
        return None;
    }
    let (literals, distances) = (Code::new(&lengths[..literals]), Code::new(&lengths[literals..]));
    (literals.is_usable() && distances.is_usable()).then_some((literals, distances))
}

/// Section 3.2.5.
fn compressed(
    bits: &mut Bits<'_>,
    output: &mut Vec<u8>,
    visible_from: usize,
    literals: &Code,
    distances: &Code,
) -> Option<()> {
    const LENGTHS: [usize; 29] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
        131, 163, 195, 227, 258,
    ];
    const LENGTH_BITS: [u8; 29] =
        [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
    loop {
        match literals.decode(bits)? {
            literal @ 0..256 => {
                bits.is_data()?;
                output.push(literal as u8);
            }
            256 => return Some(()),
            symbol => {
                let length = *LENGTHS.get(symbol - 257)? + bits.take(LENGTH_BITS[symbol - 257])?;
                let symbol = distances.decode(bits)?;
                let extra = (symbol / 2).saturating_sub(1) as u8;
                let first = if symbol < 4 { symbol + 1 } else { (2 + symbol % 2 << extra) + 1 };
                let distance = first + bits.take(extra)?;
                bits.is_data()?;
                if distance > output.len() - visible_from {
                    return None;
                }
                for _ in 0..length {
                    output.push(output[output.len() - distance]);
                }
            }
        }
    }
}

/// A canonical Huffman code (section 3.2.2).
struct Code {
    /// How many symbols have a code of each length.
    counts: [usize; 16],
    /// The symbols in the order of their codes.
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&length| counts[usize::from(length)] += 1);
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&s| lengths[s] > 0).collect();
        symbols.sort_by_key(|&symbol| lengths[symbol]);
        Self { counts, symbols }
    }

    /// The codes that are left over; negative if there are more symbols than codes.
    fn left(&self) -> i64 {
        self.counts[1..].iter().fold(1, |left, &count| 2 * left - count as i64).min(
            // More than there are at any length.
            self.counts[1..]
                .iter()
                .scan(1, |left, &count| {
                    *left = 2 * *left - count as i64;
                    Some(*left)
                })
                .min()
                .unwrap_or(0),
        )
    }

    fn is_complete(&self) -> bool {
        self.symbols.is_empty() || self.left() == 0
    }

    /// Complete, or of a single symbol, or of none, which fails when it is used.
    fn is_usable(&self) -> bool {
        self.is_complete() || (self.left() > 0 && self.symbols.len() == self.counts[1])
    }

    fn decode(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for &count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return Some(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

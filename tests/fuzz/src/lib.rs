//! What the fuzz targets share: how input is cut into pieces, and slow, plain readings of the
//! RFCs ([`frames`], [`puff`]) that the fast ones are compared with.

pub mod frames;
pub mod puff;

/// Reads the choices of a test case from the start of its bytes; zero when there are none left.
#[derive(Clone, Debug)]
pub struct Choices<'d>(pub &'d [u8]);

impl Choices<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// One of these, the first of them when the bytes are used up.
    pub fn one_of<T: Copy>(&mut self, options: &[T]) -> T {
        options[usize::from(self.byte()) % options.len()]
    }
}

/// A way to cut input into pieces, the same for the same byte.
#[derive(Clone, Copy, Debug)]
pub struct Cuts(pub u8);

impl Cuts {
    /// The pieces of `bytes`, none of them empty: single bytes for 0, longer ones for most others,
    /// and never very many.
    pub fn pieces<'b>(self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let longest = [1, 2, 3, 5, 14, 64, 1000, 100_000][usize::from(self.0 & 7)];
        let longest = longest.max(bytes.len() / 300);
        let mut random = Random(u64::from(self.0));
        let mut rest = bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let length = 1 + random.next() as usize % longest;
            let piece;
            (piece, rest) = rest.split_at(length.min(rest.len()));
            Some(piece)
        })
    }
}

/// Knuth's linear congruential generator: enough to vary, and always the same.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as u32
    }
}

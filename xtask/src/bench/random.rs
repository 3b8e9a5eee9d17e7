//! Numbers that look random and are the same each time.

/// A generator of numbers (xorshift64*).
///
/// Source: <https://en.wikipedia.org/wiki/Xorshift>
pub struct Random {
    state: u64,
    words: Vec<Vec<u8>>,
}

/// Words that text is made of.
const WORDS: usize = 4096;

impl Random {
    /// A generator that begins with `seed`, which is not 0.
    pub fn new(seed: u64) -> Self {
        let mut random = Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), words: Vec::new() };
        let letters = b"abcdefghijklmnopqrstuvwxyz_";
        random.words = (0..WORDS)
            .map(|number| (0..3 + number % 9).map(|_| letters[random.below(letters.len())]).collect())
            .collect();
        random
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A number of the Pareto distribution with the exponent `alpha`: at least 1, seldom large.
    pub fn pareto(&mut self, alpha: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (1.0 - unit).powf(-1.0 / alpha)
    }

    /// Noise, which does not compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            std::iter::repeat_with(|| self.next().to_le_bytes()).take(length.div_ceil(8)).flatten().collect();
        bytes.truncate(length);
        bytes
    }

    /// Words, which compress to about a third.
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            let word = self.below(WORDS);
            text.extend_from_slice(&self.words[word]);
            text.push(b' ');
        }
        text.truncate(length);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let make = |seed| {
            let mut random = Random::new(seed);
            (random.text(1000), random.bytes(1001))
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn lengths_are_exact() {
        let mut random = Random::new(1);
        for length in [0, 1, 7, 8, 9, 1000] {
            assert_eq!((random.bytes(length).len(), random.text(length).len()), (length, length));
        }
    }
}

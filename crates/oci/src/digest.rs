//! Content digests and the identities built on them.
//!
//! Only SHA-256 is supported: it is the one algorithm that every registry and builder writes.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests> and
//! <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: expected sha256: and 64 hexadecimal digits")]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes.as_ref()).into())
    }

    /// The digest as 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
    }

    /// The first twelve hexadecimal digits, as Docker shows an identity to people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// The digest with these 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`DigestError`] for any other text; upper-case digits are refused, as the spec does.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let invalid = || DigestError { text: hex.to_owned() };
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = hex_value(pair[0]).ok_or_else(invalid)?;
            let low = hex_value(pair[1]).ok_or_else(invalid)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.strip_prefix("sha256:")
            .and_then(|hex| Self::from_hex(hex).ok())
            .ok_or_else(|| DigestError { text: text.to_owned() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] of what is written to it, and counts the bytes.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    written: u64,
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.written += bytes.as_ref().len() as u64;
        self.state.update(bytes.as_ref());
    }

    /// Bytes seen so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The digest of everything seen.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// The identity's digest.
            pub fn digest(&self) -> &Digest {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.parse().map(Self)
            }
        }
    };
}

identity! {
    /// The digest of a layer's uncompressed tar.
    DiffId
}
identity! {
    /// The identity of an ordered stack of layers: what a snapshot's content depends on.
    ChainId
}

impl ChainId {
    /// The stack made of `parent` (nothing, for the bottom layer) with `layer` on top.
    pub fn extend(parent: Option<&ChainId>, layer: &DiffId) -> Self {
        match parent {
            None => Self(layer.0),
            Some(parent) => Self(Digest::of(format!("{parent} {layer}"))),
        }
    }

    /// The stack of `layers`, bottom first; `None` for no layers.
    ///
    /// Each step of a build asks for the stack that the step before asked for and a layer more. So a thread
    /// remembers the last one, and a build of many layers does not digest them all again for each.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        LAST_STACK.with_borrow_mut(|last| last.grow_into(layers))
    }
}

thread_local! {
    static LAST_STACK: RefCell<Stack> = const { RefCell::new(Stack { layers: Vec::new(), chains: Vec::new() }) };
}

/// Layers, bottom first, and the identity of the stack up to each.
struct Stack {
    layers: Vec<DiffId>,
    chains: Vec<ChainId>,
}

impl Stack {
    /// Becomes the stack of `layers` and returns its identity.
    fn grow_into(&mut self, layers: &[DiffId]) -> Option<ChainId> {
        let same = self.layers.iter().zip(layers).take_while(|(known, layer)| known == layer).count();
        self.layers.truncate(same);
        self.chains.truncate(same);
        for layer in &layers[same..] {
            self.chains.push(ChainId::extend(self.chains.last(), layer));
            self.layers.push(*layer);
        }
        self.chains.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        assert_eq!(Digest::of("").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(""));
        assert_eq!(Digest::from_bytes(*Digest::of("").as_bytes()), Digest::of(""));
    }

    #[test]
    fn texts_that_are_no_digest_are_refused() {
        for text in
            ["", "sha256:", "sha256:../x", "sha512:00", &EMPTY.to_uppercase(), &EMPTY[7..], "sha256:é"]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_hasher_agrees_with_the_digest_of_the_whole() {
        let mut hasher = Hasher::new();
        hasher.write_all(b"ab").unwrap();
        hasher.update(b"c");
        assert_eq!(hasher.written(), 3);
        assert_eq!(hasher.finish(), Digest::of("abc"));
    }

    #[test]
    fn a_chain_of_one_layer_is_that_layer() {
        let (a, b) = (DiffId(Digest::of("a")), DiffId(Digest::of("b")));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]), Some(ChainId(a.0)));
        assert_eq!(ChainId::of(&[a, b]), Some(ChainId(Digest::of(format!("{a} {b}")))));
    }

    #[test]
    fn a_chain_does_not_depend_on_what_was_asked_before() {
        let layers: Vec<DiffId> = (0..6).map(|number| DiffId(Digest::of([number]))).collect();
        let whole = |layers: &[DiffId]| {
            layers.iter().fold(None, |parent, it| Some(ChainId::extend(parent.as_ref(), it)))
        };
        let mut other = layers[..3].to_vec();
        other[1] = layers[5];
        for stack in [&layers[..3], &layers, &layers[..2], &other, &[], &layers[1..], &layers] {
            assert_eq!(ChainId::of(stack), whole(stack), "{stack:?}");
        }
    }
}

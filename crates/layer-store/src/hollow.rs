//! Trees of layers that are elsewhere, made of their [listings](crate::listing): all is there but what
//! the files hold.
//!
//! A COPY looks at kinds, owners, modes and times of what is there, and follows links; it reads no file
//! below. So it gives the same layer on a hollow tree, byte for byte. Where a content would be looked at
//! after all, that is [`StoreError::Hollow`], and the step is made again on the whole tree.
//!
//! Hollow directories are this process's alone: no snapshot is made of them, and none that is above them
//! has anything of theirs.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lbuild_oci::{ChainId, DiffId, Digest, Hasher, lock};
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::{ActiveSnapshot, Store, StoreError, content};

/// The extended attribute of a hollow file.
pub(crate) const ATTRIBUTE: &CStr = c"user.lbuild.hollow";

const TOKEN_BYTES: usize = 16;
const SIZE_BYTES: usize = 8;
const DIGEST_BYTES: usize = 32;

/// The hollow directories of a process.
#[derive(Debug)]
pub(crate) struct Hollow {
    token: Token,
    directories: Mutex<HashMap<ChainId, PathBuf>>,
    /// Held by whoever makes one.
    making: Mutex<()>,
}

/// Begins the attribute of this process's hollow files: a file of an image may have one of that name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token([u8; TOKEN_BYTES]);

/// What a hollow file holds in truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Bytes.
    pub size: u64,
    /// Their digest, if it is known.
    pub digest: Option<Digest>,
}

impl Hollow {
    pub fn new() -> Self {
        let random = || RandomState::new().hash_one(std::process::id()).to_le_bytes();
        let mut token = [0; TOKEN_BYTES];
        token[..8].copy_from_slice(&random());
        token[8..].copy_from_slice(&random());
        Self { token: Token(token), directories: Mutex::default(), making: Mutex::default() }
    }

    pub fn token(&self) -> Token {
        self.token
    }

    pub fn path(&self, chain: &ChainId) -> Option<PathBuf> {
        lock(&self.directories).get(chain).cloned()
    }
}

impl Token {
    /// The attribute of a file that a listing says `listed` of.
    pub fn attribute(&self, listed: &[u8]) -> Vec<u8> {
        [&self.0[..], listed].concat()
    }

    /// What a hollow file is; `None` for a real one.
    pub fn read(&self, file: impl AsFd) -> io::Result<Option<Listed>> {
        let mut value = [0_u8; TOKEN_BYTES + SIZE_BYTES + DIGEST_BYTES];
        match rustix::fs::fgetxattr(file, ATTRIBUTE, &mut value[..]) {
            Ok(length) => Ok(value[..length].strip_prefix(&self.0[..]).and_then(Listed::from_bytes)),
            // A longer one is none of ours.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Listed {
    pub fn to_bytes(self) -> Vec<u8> {
        let digest = self.digest.as_ref().map_or(&[][..], |digest| digest.as_bytes());
        [&self.size.to_le_bytes()[..], digest].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, digest) = bytes.split_first_chunk::<SIZE_BYTES>()?;
        let digest = match digest {
            [] => None,
            digest => Some(Digest::from_bytes(digest.try_into().ok()?)),
        };
        Some(Self { size: u64::from_le_bytes(*size), digest })
    }

    /// Whether a file of this stat holds the same; `None` if only the layer can tell.
    pub fn is_same(&self, file: &File, stat: &Stat) -> io::Result<Option<bool>> {
        if u64::try_from(stat.st_size) != Ok(self.size) {
            return Ok(Some(false));
        }
        let Some(digest) = self.digest else { return Ok((self.size == 0).then_some(true)) };
        let mut hasher = Hasher::new();
        let mut reader = file;
        io::copy(&mut reader, &mut hasher)?;
        reader.rewind()?;
        Ok(Some(hasher.finish() == digest))
    }
}

impl ActiveSnapshot {
    /// Whether what the file `path` holds is here, links followed; also where there is no such file.
    ///
    /// # Errors
    /// As open(2), but for a file that is not there.
    pub fn has_content(&self, path: &Path) -> io::Result<bool> {
        let Some(token) = self.hollow else { return Ok(true) };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match self.root().open_at(path, flags, Mode::empty()) {
            Ok(file) => Ok(token.read(file)?.is_none()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }
}

impl Store {
    /// Those of `layers`, a stack, whose files are neither unpacked nor here; bottom first. None where a
    /// tree can only be whole.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn lacking(&self, layers: &[DiffId]) -> Result<Vec<DiffId>, StoreError> {
        if self.copies() || self.works_in_memory() {
            return Ok(Vec::new());
        }
        let chains = self.snapshots.chains(layers);
        let mut lacking = Vec::new();
        for (chain, layer) in chains.iter().zip(layers) {
            let is_here = self.has_snapshot(chain)? || self.has_layer_here(layer)?;
            // What lies above a hollow layer is not unpacked on it.
            if !is_here || !lacking.is_empty() && !self.has_snapshot(chain)? {
                lacking.push(*layer);
            }
        }
        Ok(lacking)
    }

    /// [`Store::prepare`] without fetching the layers that are [lacking](Store::lacking): of those the tree
    /// shows what `listings` tells, by the layer.
    ///
    /// # Errors
    /// As [`Store::prepare`]; [`StoreError::UnknownLayer`] for a layer without a listing.
    pub fn prepare_hollow(
        &self,
        layers: &[DiffId],
        listings: &HashMap<DiffId, DiffId>,
    ) -> Result<ActiveSnapshot, StoreError> {
        let lacking = self.lacking(layers)?;
        let whole = layers.iter().position(|layer| lacking.contains(layer)).unwrap_or(layers.len());
        self.unpack_missing(&layers[..whole])?;
        let chains = self.snapshots.chains(layers);
        {
            let _alone = lock(&self.hollow.making);
            for index in whole..layers.len() {
                let chain = &chains[index];
                if self.has_snapshot(chain)? || self.hollow.path(chain).is_some() {
                    continue;
                }
                let listing = listings.get(&layers[index]).ok_or(StoreError::UnknownLayer(layers[index]))?;
                let directory = self.apply_listing(&layers[..index], listing)?;
                lock(&self.hollow.directories).insert(*chain, directory.keep());
            }
        }
        self.active_hollow(layers)
    }
}

/// The capabilities of a file.
pub(crate) fn capability(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(content::capability(rustix::fs::openat(directory, name, flags, Mode::empty())?.as_fd())?)
}

/// A file below a step that hollow layers are below, too.
pub(crate) fn listed_below(
    token: Option<Token>,
    lower: Option<BorrowedFd<'_>>,
    name: &CStr,
) -> io::Result<Option<Listed>> {
    let (Some(token), Some(lower)) = (token, lower) else { return Ok(None) };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(lower, name, flags, Mode::empty()) {
        Ok(file) => token.read(file),
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a tree needs to know of the directories below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Depth {
    /// All of their files are whole.
    #[default]
    Whole,
    /// Some may be hollow.
    Hollow,
}

impl Depth {
    pub fn is_hollow(self) -> bool {
        self == Self::Hollow
    }
}

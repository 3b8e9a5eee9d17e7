//! The builders that lbuild is measured beside, and their daemons.

use std::path::{Path, PathBuf};

use crate::bench::builders::{BuildKit, Buildah, Builder, Compression, Docker, Lbuild};
use crate::bench::workload::Workload;
use crate::command::Failure;
use crate::dockerd::Dockerd;

/// The workload that is also exported with compressed layers, and whose tree gives the floor.
pub const COMPRESSED: &str = "copybig";

/// lbuild, and the daemons of other builders. They end with this value.
pub struct Peers {
    lbuild: PathBuf,
    folder: PathBuf,
    /// Docker of this system's packages.
    docker: Option<Dockerd>,
    /// A current one.
    current: Option<Dockerd>,
    has_buildah: bool,
    /// Which builders there are not, and why.
    pub missing: Vec<String>,
}

impl Peers {
    /// Starts the daemons. A builder that cannot be had is told, and no failure.
    pub fn start(lbuild: &Path, folder: &Path, is_quick: bool) -> Self {
        let mut missing = Vec::new();
        let mut note = |what: &str, started: Result<Dockerd, Failure>| {
            started.map_err(|failure| missing.push(format!("{what}: {}", failure.0.trim()))).ok()
        };
        let current = note("a current BuildKit", Dockerd::start_current_with_containerd());
        let docker = (!is_quick).then(|| note("Docker", Dockerd::start())).flatten();
        let (lbuild, folder) = (lbuild.to_owned(), folder.to_owned());
        Self { lbuild, folder, docker, current, has_buildah: !is_quick, missing }
    }

    /// All builders that `workload` is measured with, lbuild first.
    pub fn builders(&self, workload: Workload) -> Result<Vec<Box<dyn Builder>>, Failure> {
        let own = |compression| Box::new(Lbuild::new(&self.lbuild, &self.folder, compression));
        let mut builders: Vec<Box<dyn Builder>> = vec![own(None)];
        for compression in [None, Some(Compression::Uncompressed)] {
            let builder = self.current.iter().map(|docker| BuildKit::new(docker, compression));
            builders.extend(builder.map(|builder| Box::new(builder) as Box<dyn Builder>));
        }
        if let Some(docker) = &self.docker {
            builders.push(Box::new(Docker::new(docker, true)));
            builders.push(Box::new(Docker::new(docker, false)));
        }
        if self.has_buildah {
            builders.push(Box::new(Buildah::new(&self.folder)?));
        }
        if workload.name == COMPRESSED {
            builders.push(own(Some(Compression::Gzip)));
            builders.push(own(Some(Compression::Zstd)));
        }
        Ok(builders)
    }

    /// The builders, as they call themselves.
    pub fn versions(&self, workload: Workload) -> Result<Vec<String>, Failure> {
        let mut versions = Vec::new();
        for builder in self.builders(workload)? {
            let version = builder.version()?;
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        Ok(versions)
    }
}

//! The monorepo that is built: steps that all images share, and one step for each image.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Failure;
use crate::rootfs;

/// Images of the monorepo.
pub const IMAGES: usize = 20;
/// Steps below all of them.
const SHARED: usize = 10;
/// Different steps.
pub const STEPS: usize = SHARED + IMAGES;

/// Its folder.
pub struct Tree {
    /// The context.
    pub folder: PathBuf,
}

impl Tree {
    /// Writes the Dockerfile and the sources.
    pub fn write(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure(format!("cannot write {}: {error}", folder.display()));
        fs::create_dir_all(folder).map_err(failed)?;
        rootfs::from_host(rootfs::UTILITIES, &folder.join("host"), &folder.join("rootfs.tar.gz"))?;
        let _ = fs::remove_dir_all(folder.join("host"));
        let mut text = String::from("FROM scratch AS common\nADD rootfs.tar.gz /\n");
        for number in 1..SHARED {
            text += &format!("RUN sleep 0.3 && head -c 200000 /dev/urandom > /shared-{number}\n");
        }
        for number in 0..IMAGES {
            let service = folder.join(format!("services/{number}"));
            fs::create_dir_all(&service).map_err(failed)?;
            fs::write(service.join("source"), format!("the source of service {number}\n")).map_err(failed)?;
            text += &format!(
                "FROM common AS service-{number}\n\
                 RUN --mount=type=bind,source=services/{number},target=/src sleep 0.3 && \
                 cat /src/source /shared-1 > /service\n"
            );
        }
        fs::write(folder.join("Dockerfile"), text).map_err(failed)?;
        fs::write(folder.join(".dockerignore"), "host\n").map_err(failed)?;
        Ok(Self { folder: folder.to_owned() })
    }
}

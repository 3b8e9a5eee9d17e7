//! The control groups that hold a run's processes, if it has limits.
//!
//! A run without limits stays in lbuild's group: a group of its own would hide nothing more from
//! it, and entering one takes the kernel 0.5 ms a hierarchy, at times 7 ms.
//!
//! Source: <https://docs.kernel.org/admin-guide/cgroup-v2.html>,
//! <https://docs.kernel.org/admin-guide/cgroup-v1/>

mod hierarchy;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use self::hierarchy::{Hierarchies, Version};
use crate::error::RunError;
use crate::limits::Limits;

/// The period that processors' time is shared out over, in microseconds: the kernel's default.
const PERIOD: u64 = 100_000;
/// The least time in a period that the kernel takes, in microseconds.
const MIN_QUOTA: u64 = 1000;

/// The groups of one run, removed when it is dropped; none if there are no limits.
#[derive(Debug, Default)]
pub(crate) struct Cgroup {
    directories: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes groups with these limits.
    ///
    /// # Errors
    /// [`RunError::Limit`] if a limit cannot be had.
    pub(crate) fn create(limits: &Limits) -> Result<Self, RunError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut cgroup = Self::default();
        if limits.is_empty() {
            return Ok(cgroup);
        }
        let hierarchies =
            Hierarchies::read().map_err(RunError::setting_up("find out about control groups"))?;
        let name = format!("lbuild-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        for (controller, limit) in settings(limits) {
            cgroup
                .limit(&hierarchies, &name, controller, &limit)
                .map_err(|source| RunError::Limit { controller, source })?;
        }
        Ok(cgroup)
    }

    /// The files that a process joins the groups by.
    pub(crate) fn procs(&self) -> impl Iterator<Item = PathBuf> {
        self.directories.iter().map(|directory| directory.join("cgroup.procs"))
    }

    fn limit(
        &mut self,
        hierarchies: &Hierarchies,
        name: &str,
        controller: &str,
        limit: &Limit,
    ) -> io::Result<()> {
        let (version, parent) = hierarchies.parent_for(controller)?;
        let directory = parent.join(name);
        if !self.directories.contains(&directory) {
            remove_abandoned(&parent);
            fs::create_dir(&directory)?;
            self.directories.push(directory.clone());
        }
        match version {
            Version::One => {
                limit.v1.iter().try_for_each(|(file, value)| fs::write(directory.join(file), value))
            }
            Version::Two => fs::write(directory.join(limit.v2.0), &limit.v2.1),
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // The kernel may still be about to let go of processes that are gone.
            for _ in 0..20 {
                match fs::remove_dir(directory) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Files of a group with the values to write.
struct Limit {
    v1: Vec<(&'static str, String)>,
    v2: (&'static str, String),
}

/// Each limit with the controller that enforces it.
fn settings(limits: &Limits) -> Vec<(&'static str, Limit)> {
    let memory = limits.memory.map(|bytes| {
        let bytes = bytes.to_string();
        let v1 = vec![("memory.limit_in_bytes", bytes.clone())];
        ("memory", Limit { v1, v2: ("memory.max", bytes) })
    });
    let cpu = limits.cpus.map(|cpus| {
        // A float beyond what an integer holds becomes the largest one.
        let quota = ((cpus * PERIOD as f64) as u64).max(MIN_QUOTA);
        let v1 = vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
        ("cpu", Limit { v1, v2: ("cpu.max", format!("{quota} {PERIOD}")) })
    });
    let pids = limits.pids.map(|count| {
        let count = count.to_string();
        ("pids", Limit { v1: vec![("pids.max", count.clone())], v2: ("pids.max", count) })
    });
    [memory, cpu, pids].into_iter().flatten().collect()
}

/// Removes the groups in `parent` that an lbuild left which was killed. A group with processes in
/// it cannot be removed.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("lbuild-")?.split_once('-'));
        if let Some((pid, _)) = owner
            && !Path::new("/proc").join(pid).exists()
        {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_files_of_both_versions() {
        let limits = Limits { memory: Some(1 << 20), cpus: Some(1.5), pids: Some(7) };
        let found: Vec<_> =
            settings(&limits).into_iter().map(|(name, limit)| (name, limit.v1, limit.v2)).collect();
        assert_eq!(
            found,
            [
                (
                    "memory",
                    vec![("memory.limit_in_bytes", "1048576".into())],
                    ("memory.max", "1048576".into())
                ),
                (
                    "cpu",
                    vec![("cpu.cfs_period_us", "100000".into()), ("cpu.cfs_quota_us", "150000".into())],
                    ("cpu.max", "150000 100000".into())
                ),
                ("pids", vec![("pids.max", "7".into())], ("pids.max", "7".into())),
            ]
        );
        assert_eq!(settings(&Limits { cpus: Some(0.0), ..Limits::default() })[0].1.v2.1, "1000 100000");
    }
}

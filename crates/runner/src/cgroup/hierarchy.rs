//! Where control groups can be made: the mounted hierarchies and our own place in them.
//!
//! Source: cgroups(7)

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Which of the two interfaces a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// The mounted hierarchies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchies(Vec<Hierarchy>);

#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    /// Of version 1 only: a hierarchy of version 2 lists them in a file.
    controllers: Vec<String>,
    mount_point: PathBuf,
    /// The directory of our own group; the mount point if that group is not below it.
    own: PathBuf,
}

impl Hierarchies {
    /// # Errors
    /// As open(2) of files in `/proc`.
    pub(super) fn read() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        Ok(Self::parse(&mounts, &groups))
    }

    fn parse(mounts: &str, groups: &str) -> Self {
        Self(mounts.lines().filter_map(|mount| Hierarchy::parse(mount, groups)).collect())
    }

    /// A directory in which a group can be made that `controller` limits.
    ///
    /// # Errors
    /// `Unsupported` if the controller is not there, or not given to any group that can be used.
    pub(super) fn parent_for(&self, controller: &str) -> io::Result<(Version, PathBuf)> {
        let listed = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|name| name == controller);
        if let Some(hierarchy) = self.0.iter().find(listed) {
            return Ok((Version::One, hierarchy.own.clone()));
        }
        let unified = self.0.iter().find(|hierarchy| hierarchy.version == Version::Two);
        // A group with processes in it, such as our own, cannot have others that are limited.
        let parents = unified.into_iter().flat_map(|hierarchy| {
            let above = if hierarchy.own == hierarchy.mount_point { None } else { hierarchy.own.parent() };
            above.into_iter().chain([hierarchy.mount_point.as_path()])
        });
        for parent in parents {
            if gives(parent, controller) {
                return Ok((Version::Two, parent.to_owned()));
            }
        }
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("no control group with the controller `{controller}` can be made"),
        ))
    }
}

/// Whether the groups below `parent` have `controller`, now that they were given it if they could be.
fn gives(parent: &Path, controller: &str) -> bool {
    let control = parent.join("cgroup.subtree_control");
    let has =
        || fs::read_to_string(&control).is_ok_and(|list| list.split_whitespace().any(|c| c == controller));
    has() || fs::write(&control, format!("+{controller}")).is_ok() && has()
}

impl Hierarchy {
    /// Reads a line of mountinfo; `None` if it is another file system.
    fn parse(mount: &str, groups: &str) -> Option<Self> {
        let (place, file_system) = mount.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, mount_point) = (place.next()?, PathBuf::from(place.next()?));
        let mut file_system = file_system.split(' ');
        let version = match file_system.next()? {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        let options: Vec<&str> = file_system.nth(1)?.split(',').collect();
        let (controllers, own) = groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let is_this = match version {
                Version::One => {
                    !controllers.is_empty() && controllers.split(',').all(|name| options.contains(&name))
                }
                Version::Two => controllers.is_empty(),
            };
            is_this.then_some((controllers, path))
        })?;
        let below = Path::new(own).strip_prefix(root).ok().map(|path| mount_point.join(path));
        let own = below.filter(|path| path.starts_with(&mount_point)).unwrap_or(mount_point.clone());
        let controllers = match version {
            Version::One => controllers.split(',').map(str::to_owned).collect(),
            Version::Two => Vec::new(),
        };
        Some(Self { version, controllers, mount_point, own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_place_in_each_hierarchy_is_found() {
        let mounts = "\
            22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 /docker/1 /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            36 31 0:33 /docker/1 /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
        let groups = "\
            9:cpu,cpuacct:/system.slice\n\
            5:pids:/elsewhere\n\
            4:memory:/docker/1/x\n\
            0::/user.slice/a.scope\n";
        let expected = [
            (Version::One, vec!["cpu", "cpuacct"], "/sys/fs/cgroup/cpu", "/system.slice"),
            (Version::One, vec!["memory"], "/sys/fs/cgroup/memory", "/x"),
            (Version::One, vec!["pids"], "/sys/fs/cgroup/pids", ""),
            (Version::Two, vec![], "/sys/fs/cgroup/unified", "/user.slice/a.scope"),
        ]
        .map(|(version, controllers, mount_point, own)| Hierarchy {
            version,
            controllers: controllers.into_iter().map(str::to_owned).collect(),
            mount_point: mount_point.into(),
            own: format!("{mount_point}{own}").into(),
        });
        assert_eq!(Hierarchies::parse(mounts, groups), Hierarchies(expected.into()));
    }
}

//! Packages of Debian's unstable suite, unpacked into a folder below cargo's target folder.
//!
//! Releases have programs of years ago, and some of these lack what is needed here. Nothing is installed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Failure, command, run_quietly};
use crate::workspace::entries;

/// Where Debian is where apt's own sources do not say.
const ARCHIVE: &str = "http://deb.debian.org/debian";

/// What signs the archive; of the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Downloads `packages` and unpacks them into `root` below `folder`, once; returns that.
///
/// # Errors
/// Where the packages cannot be had. Those that they depend on are not fetched.
pub fn unpacked(folder: &Path, packages: &[&str]) -> Result<PathBuf, Failure> {
    let root = folder.join("root");
    if !root.exists() {
        println!("getting {} from Debian's unstable suite (about half a minute)", packages.join(", "));
        // Only what is complete has the name.
        let unpacked = folder.join("unpacked");
        for package in download(folder, packages)? {
            run_quietly(command("dpkg", ["--extract"]).arg(package).arg(&unpacked))?;
        }
        fs::rename(&unpacked, &root).map_err(Failure::of("cannot rename what was unpacked"))?;
    }
    Ok(root)
}

/// Writes a file, and its folder if that is missing.
pub fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let failed = || Failure::of(format!("cannot write {}", file.display()));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed())?;
    }
    fs::write(file, text).map_err(failed())
}

/// Fetches the packages with apt, which checks their signatures, and returns their files.
fn download(folder: &Path, names: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let (apt, packages) = (folder.join("apt"), folder.join("packages"));
    for made in [&apt.join("lists/partial"), &apt.join("cache/archives/partial"), &packages] {
        fs::create_dir_all(made).map_err(Failure::of(format!("cannot make {}", made.display())))?;
    }
    let sources = apt.join("sources.list");
    write(&sources, &format!("deb [signed-by={KEYRING}] {} sid main\n", archive()))?;
    let options = [
        ("Dir::Etc::sourcelist", sources.as_os_str()),
        ("Dir::Etc::sourceparts", OsStr::new("/dev/null")),
        ("Dir::State::lists", apt.join("lists").as_os_str()),
        ("Dir::Cache", apt.join("cache").as_os_str()),
        // The folder may be one that apt's own user cannot enter.
        ("APT::Sandbox::User", OsStr::new("root")),
        ("Acquire::Languages", OsStr::new("none")),
    ]
    .map(|(name, value)| {
        let mut option = OsStr::new(name).to_owned();
        option.push("=");
        option.push(value);
        option
    });
    let apt_get = || {
        let mut apt_get = command("apt-get", ["--quiet"]);
        options.iter().for_each(|option| {
            apt_get.arg("-o").arg(option);
        });
        apt_get
    };
    run_quietly(apt_get().arg("update"))?;
    run_quietly(apt_get().arg("download").args(names).current_dir(&packages))?;
    entries(&packages)
}

/// The archive that this machine's own packages come from, if it is Debian's.
fn archive() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(entries(Path::new("/etc/apt/sources.list.d")).unwrap_or_default());
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.filter_map(|text| find_archive(&text)).next().unwrap_or_else(|| ARCHIVE.to_owned())
}

/// The first address of a Debian archive in a file of apt's sources, of either form.
fn find_archive(sources: &str) -> Option<String> {
    let lines = sources.lines().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let mut words = lines.flat_map(str::split_whitespace).map(|word| word.trim_end_matches('/'));
    words.find(|word| word.contains("://") && word.ends_with("/debian")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_found_in_sources_of_either_form() {
        for (sources, expected) in [
            ("deb http://a.test/debian bookworm main\n", Some("http://a.test/debian")),
            ("deb [arch=amd64] https://a.test/debian/ sid main\n", Some("https://a.test/debian")),
            ("Types: deb\nURIs: http://b.test/debian/\nSuites: sid\n", Some("http://b.test/debian")),
            ("# deb http://a.test/debian sid main\n", None),
            ("deb http://a.test/debian-security sid-security main\n", None),
            ("deb http://a.test/ubuntu noble main\n", None),
        ] {
            assert_eq!(find_archive(sources).as_deref(), expected, "{sources}");
        }
    }
}

//! What every RUN finds around it: variables, hosts, name servers, limits.

use std::ffi::OsString;
use std::fs;

use lbuild_runner::{Limits, Ulimit};

use crate::arguments::is_proxy;
use crate::problem::Problem;
use crate::request::BuildRequest;
use crate::state::StageState;
use crate::user::ProcessUser;

/// The host name inside a RUN: the same on every machine.
const HOST_NAME: &str = "lbuild";
/// The build argument that gives it another name.
const HOST_NAME_ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";
/// Docker's size of /dev/shm.
pub(crate) const DEFAULT_SHM: u64 = 64 << 20;
/// As large a resolv.conf as is read.
const MAX_RESOLV_CONF: usize = 1 << 20;

/// The variables of a RUN: the stage's, the proxies given to the build, secrets, and HOME.
pub(crate) fn variables(
    request: &BuildRequest,
    state: &StageState,
    secrets: Vec<(String, Vec<u8>)>,
    user: &ProcessUser,
) -> Vec<(OsString, OsString)> {
    use std::os::unix::ffi::OsStringExt;

    let mut variables: Vec<(OsString, OsString)> =
        state.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let proxies = request.build_args.iter().filter(|(name, _)| is_proxy(name));
    // Programs look for either spelling.
    let proxies = proxies.flat_map(|(name, value)| {
        [name.to_uppercase(), name.to_lowercase()].map(|name| (name.into(), value.into()))
    });
    let secrets = secrets.into_iter().map(|(name, value)| (name.into(), OsString::from_vec(value)));
    for (name, value) in proxies.chain(secrets) {
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
    }
    if !variables.iter().any(|(name, _)| name == "HOME") {
        variables.push(("HOME".into(), user.home.clone().into()));
    }
    variables
}

/// The host name inside a RUN.
pub(crate) fn host_name(request: &BuildRequest) -> &str {
    let given = request.build_args.get(HOST_NAME_ARGUMENT);
    given.map(String::as_str).filter(|name| !name.is_empty()).unwrap_or(HOST_NAME)
}

/// The content of /etc/hosts.
pub(crate) fn hosts(request: &BuildRequest) -> Vec<u8> {
    let name = host_name(request);
    let mut text = format!("127.0.0.1\tlocalhost {name}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in &request.run.hosts {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text.into_bytes()
}

/// The content of /etc/resolv.conf: the host's, whose network a RUN shares.
pub(crate) fn resolv_conf() -> Vec<u8> {
    let mut content = fs::read("/etc/resolv.conf").unwrap_or_default();
    content.truncate(MAX_RESOLV_CONF);
    content
}

/// The same for a network that `helper` connects: the host's servers may listen on its loopback, which is
/// not to be reached from there, and the helper answers for them.
pub(crate) fn resolv_conf_of(helper: &lbuild_runner::NetworkHelper) -> Vec<u8> {
    let content = resolv_conf();
    let text = String::from_utf8_lossy(&content);
    let others = text.lines().filter(|line| !line.trim_start().starts_with("nameserver"));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    format!("nameserver {}\n{others}", helper.resolver()).into_bytes()
}

/// The resource limits of `--ulimit`.
///
/// # Errors
/// A name that is no limit.
pub(crate) fn ulimits(request: &BuildRequest) -> Result<Vec<Ulimit>, Problem> {
    let limit = |(name, soft, hard): &(String, u64, u64)| {
        let resource = name.parse().map_err(|error: lbuild_runner::UnknownResource| {
            Problem::from(error).help("use a name such as nofile, nproc or core")
        })?;
        Ok(Ulimit { resource, soft: Some(*soft), hard: Some(*hard) })
    };
    request.run.ulimits.iter().map(limit).collect()
}

/// The limits of all processes of a RUN together.
pub(crate) fn limits(request: &BuildRequest) -> Limits {
    Limits { memory: request.run.memory, cpus: request.run.cpus, pids: request.run.pids }
}

#[cfg(test)]
mod tests {
    use lbuild_oci::Platform;

    use super::*;

    #[test]
    fn secrets_and_proxies_win_over_the_stage() {
        let mut request = BuildRequest::new("");
        request.build_args.insert("HTTP_PROXY".into(), "proxy".into());
        request.build_args.insert("OTHER".into(), "unseen".into());
        let mut state = StageState::scratch(&Platform::host());
        state.set_env(&[("TOKEN".into(), "public".into())]);
        let user = ProcessUser { uid: 0, gid: 0, groups: Vec::new(), home: "/root".into() };
        let variables = variables(&request, &state, vec![("TOKEN".into(), b"secret".to_vec())], &user);
        let names: Vec<_> = variables.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "HTTP_PROXY", "http_proxy", "TOKEN", "HOME"]);
        assert_eq!(variables[3].1, "secret");
    }

    #[test]
    fn added_hosts_follow_the_usual_ones() {
        let mut request = BuildRequest::new("");
        request.run.hosts.push(("db".into(), "10.0.0.2".into()));
        let hosts = String::from_utf8(hosts(&request)).unwrap();
        assert!(hosts.ends_with("\n10.0.0.2\tdb\n"), "{hosts}");
    }

    #[test]
    fn the_host_name_is_the_same_everywhere_unless_it_is_given() {
        let mut request = BuildRequest::new("");
        for (given, expected) in [(None, "lbuild"), (Some(""), "lbuild"), (Some("build-1"), "build-1")] {
            let given = given.map(|name| (HOST_NAME_ARGUMENT.to_owned(), name.to_owned()));
            request.build_args = given.into_iter().collect();
            assert_eq!(host_name(&request), expected);
            assert!(hosts(&request).starts_with(format!("127.0.0.1\tlocalhost {expected}\n").as_bytes()));
        }
    }
}

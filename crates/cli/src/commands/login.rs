//! `lbuild login` and `lbuild logout`.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use lbuild_registry::{Credentials, Kept};

use crate::args::{LoginArgs, LogoutArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{diagnostics, registry, terminal};

/// Bytes of a password.
const MAX_PASSWORD: u64 = 64 << 10;

/// Keeps credentials for a registry, which must take them.
pub fn login(args: LoginArgs) -> Result<(), Failure> {
    let host = host(&args.registry)?;
    let stdin_is_terminal = io::stdin().is_terminal();
    let user = match args.username {
        Some(user) => user,
        None if stdin_is_terminal && !args.password_stdin => ask("Username: ")?,
        None => {
            let example = format!("lbuild login --username NAME --password-stdin {} < FILE", args.registry);
            return Err(Failure::usage("--username is missing").help(example));
        }
    };
    let password = if args.password_stdin {
        read_password()?
    } else if stdin_is_terminal {
        ask_password()?
    } else {
        return Err(Failure::usage("there is no terminal to ask for the password")
            .help(format!("lbuild login --username {user} --password-stdin {host} < FILE")));
    };
    let client = registry::client(None)?;
    let kept = client.login(&host, Credentials::Password { user, password })?;
    let mut out = io::stdout().lock();
    match kept {
        Kept::Helper(program) => writeln!(out, "Logged in to {host}; {program} keeps the password")?,
        Kept::File(path) => {
            writeln!(out, "Logged in to {host}")?;
            diagnostics::print(&format!(
                "note: the password is in {}, which only you may read; a credential helper keeps it better",
                path.display()
            ));
        }
    }
    Ok(())
}

/// Forgets the credentials for a registry.
pub fn logout(args: &LogoutArgs) -> Result<(), Failure> {
    let host = host(&args.registry)?;
    let text = match registry::client(None)?.logout(&host)? {
        true => format!("Logged out of {host}"),
        false => format!("Not logged in to {host}"),
    };
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// The registry's host; `https://` before it and a path behind it are forgiven, as in Docker.
fn host(text: &str) -> Result<String, Failure> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let name: Result<lbuild_oci::Reference, _> = format!("{host}/x").parse();
    match name {
        Ok(name) if name.domain() == host || name.domain() == "docker.io" && host.ends_with("docker.io") => {
            Ok(name.domain().to_owned())
        }
        _ => Err(Failure::usage(format!("{text:?} is no registry: write HOST[:PORT]"))),
    }
}

fn ask(question: &str) -> Result<String, Failure> {
    let mut err = io::stderr().lock();
    // Nobody can be asked whose terminal is gone; reading tells.
    let _ = err.write_all(question.as_bytes()).and_then(|()| err.flush());
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(Failure::io("cannot read standard input"))?;
    Ok(line.trim().to_owned())
}

/// A line from the terminal that nobody sees.
fn ask_password() -> Result<String, Failure> {
    let line = terminal::read_hidden_line("Password: ").map_err(Failure::io("cannot read the password"));
    let _ = io::stderr().write_all(b"\n");
    match line? {
        Some(line) if line.is_empty() => Err(Failure::usage("the password is empty")),
        Some(line) if line.len() as u64 >= MAX_PASSWORD => Err(Failure::usage("the password is too long")),
        Some(line) => Ok(line),
        None => Err(Failure::Reported(Exit::Signal(rustix::process::Signal::INT.as_raw()))),
    }
}

/// All of standard input, without the end of its last line.
fn read_password() -> Result<String, Failure> {
    let mut password = String::new();
    let mut stdin = io::stdin().lock().take(MAX_PASSWORD);
    stdin.read_to_string(&mut password).map_err(Failure::io("cannot read the password"))?;
    let end = password.trim_end_matches(['\r', '\n']).len();
    password.truncate(end);
    if password.is_empty() {
        return Err(Failure::usage("the password on standard input is empty"));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_with_a_port() {
        for (text, expected) in [
            ("ghcr.io", Some("ghcr.io")),
            ("localhost:5000", Some("localhost:5000")),
            ("https://Registry.Example.com/v2/", Some("registry.example.com")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("docker.io", Some("docker.io")),
            ("", None),
            ("a b", None),
            ("../x", None),
        ] {
            assert_eq!(host(text).ok().as_deref(), expected, "{text}");
        }
    }
}

//! Instructions that change only the image's configuration.

use std::collections::BTreeMap;

use lbuild_oci::Healthcheck as HealthcheckConfig;
use lbuild_parser::expand::add_text;
use lbuild_parser::expose::Ports;
use lbuild_parser::{Arg, CommandLine, Healthcheck, Instruction, Pair};
use serde_json::json;

use crate::environment::Environment;
use crate::problem::Problem;
use crate::state::StageState;

/// The most ports that one EXPOSE may name: all of TCP, UDP and SCTP.
const MAX_PORTS: usize = 3 << 16;

/// What applying an instruction needs beside the stage.
pub(crate) struct Scope<'a> {
    /// The Dockerfile's escape character.
    pub escape: char,
    /// `--build-arg`.
    pub build_args: &'a BTreeMap<String, String>,
    /// Global arguments.
    pub globals: &'a Environment,
}

/// Applies `instruction` to `state` and returns the text for the history; `None` for an
/// instruction that leaves no entry.
///
/// # Errors
/// A word that cannot be expanded or means nothing here. Instructions that touch files are none of
/// this function's.
pub(crate) fn apply(
    state: &mut StageState,
    instruction: &Instruction,
    scope: &Scope<'_>,
) -> Result<Option<String>, Problem> {
    let text = match instruction {
        Instruction::Arg(arguments) => declare(state, arguments, scope)?,
        Instruction::Cmd(command) => {
            let words = command_words(state, command);
            let text = format!("CMD {}", go_quoted(&words));
            state.image.config.cmd = Some(words);
            state.image.config.args_escaped = true;
            state.has_cmd = true;
            text
        }
        Instruction::Entrypoint(command) => {
            let words = command_words(state, command);
            let text = format!("ENTRYPOINT {}", go_quoted(&words));
            state.image.config.entrypoint = Some(words);
            if !state.has_cmd {
                state.image.config.cmd = None;
            }
            text
        }
        Instruction::Env(pairs) => {
            let pairs = expand_pairs(state, pairs, scope)?;
            state.set_env(&pairs);
            format!("ENV {}", joined(&pairs))
        }
        Instruction::Expose(words) => expose(state, words, scope)?,
        Instruction::Healthcheck(check) => {
            let config = healthcheck(check);
            let text = format!("HEALTHCHECK {}", go_healthcheck(&config));
            state.image.config.healthcheck = Some(config);
            text
        }
        Instruction::Label(pairs) => {
            let pairs = expand_pairs(state, pairs, scope)?;
            state.image.config.labels.extend(pairs.iter().cloned());
            format!("LABEL {}", joined(&pairs))
        }
        Instruction::Maintainer(name) => {
            state.image.author = Some(name.clone());
            format!("MAINTAINER {name}")
        }
        Instruction::Onbuild(trigger) => {
            state.image.config.on_build.push(trigger.text.clone());
            return Ok(None);
        }
        Instruction::Shell(words) => {
            state.image.config.shell = Some(words.clone());
            format!("SHELL {}", go_list(words))
        }
        Instruction::Stopsignal(word) => {
            let signal = expand(state, word, scope)?;
            check_signal(&signal).map_err(|problem| problem.about(word))?;
            let text = format!("STOPSIGNAL {signal}");
            state.image.config.stop_signal = signal;
            text
        }
        Instruction::User(word) => {
            let user = expand(state, word, scope)?;
            let text = format!("USER {user}");
            state.image.config.user = user;
            text
        }
        Instruction::Volume(words) => volume(state, words, scope)?,
        Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::Workdir(_) => {
            return Ok(None);
        }
    };
    add_text(&mut state.texts_length, &text)?;
    Ok(Some(text))
}

/// The words of a command: the shell's and the text, or the exec form's.
pub(crate) fn command_words(state: &StageState, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Exec(words) => words.clone(),
        CommandLine::Shell(text) => {
            let mut words = state.shell();
            words.push(text.clone());
            words
        }
    }
}

/// A word, expanded; a problem is one of the word's.
fn expand(state: &StageState, word: &str, scope: &Scope<'_>) -> Result<String, Problem> {
    let expanded = state.expand(scope.escape, word).map_err(|error| Problem::from(error).about(word))?;
    Ok(expanded.text)
}

fn declare(state: &mut StageState, arguments: &[Arg], scope: &Scope<'_>) -> Result<String, Problem> {
    let (mut shown, mut length) = (Vec::new(), state.texts_length);
    for argument in arguments {
        let value = match (scope.build_args.get(&argument.name), &argument.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(expand(state, default, scope)?),
            (None, None) => scope.globals.get(&argument.name).map(str::to_owned),
        };
        if let Some(value) = &value {
            add_text(&mut length, value)?;
            state.environment.set(&argument.name, value);
        }
        shown.push(match &value {
            Some(value) if !crate::arguments::is_proxy(&argument.name) => {
                format!("{}={value}", argument.name)
            }
            _ => argument.name.clone(),
        });
        state.arguments.push((argument.name.clone(), value));
    }
    Ok(format!("ARG {}", shown.join(" ")))
}

fn expand_pairs(
    state: &StageState,
    pairs: &[Pair],
    scope: &Scope<'_>,
) -> Result<Vec<(String, String)>, Problem> {
    let mut length = state.texts_length;
    let mut expand = |word: &str| {
        let text = expand(state, word, scope)?;
        add_text(&mut length, &text)?;
        Ok::<_, Problem>(text)
    };
    pairs.iter().map(|pair| Ok((expand(&pair.name)?, expand(&pair.value)?))).collect()
}

fn expose(state: &mut StageState, words: &[String], scope: &Scope<'_>) -> Result<String, Problem> {
    let mut ports = Vec::new();
    for word in words {
        let lookup = |name: &str| state.variable(name);
        let expander = lbuild_parser::expand::Expander::new(scope.escape, &lookup);
        let about = |error: Problem| error.about(word);
        for port in expander.words(word).map_err(|error| about(error.into()))? {
            let named = Ports::parse(&port).map_err(|error| {
                about(Problem::from(error)).help("EXPOSE takes ports such as 80, 53/udp or 8000-8010/tcp")
            })?;
            ports.extend(named.names());
            if ports.len() > MAX_PORTS {
                let problem = Problem::new("EXPOSE names more ports than there are");
                return Err(about(problem.help("name each port once")));
            }
        }
    }
    let text = format!("EXPOSE {}", go_list(&ports));
    state.image.config.exposed_ports.extend(ports.into_iter().map(|port| (port, json!({}))));
    Ok(text)
}

fn volume(state: &mut StageState, words: &[String], scope: &Scope<'_>) -> Result<String, Problem> {
    let (mut volumes, mut length) = (Vec::new(), state.texts_length);
    for word in words {
        let path = expand(state, word, scope)?;
        add_text(&mut length, &path)?;
        if path.is_empty() {
            let problem = Problem::new("VOLUME names an empty path").help("give the path of a directory");
            return Err(problem.about(word));
        }
        volumes.push(path);
    }
    let text = format!("VOLUME {}", go_list(&volumes));
    state.image.config.volumes.extend(volumes.into_iter().map(|path| (path, json!({}))));
    Ok(text)
}

fn healthcheck(check: &Healthcheck) -> HealthcheckConfig {
    match check {
        Healthcheck::None => HealthcheckConfig { test: vec!["NONE".to_owned()], ..Default::default() },
        Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } => {
            let mut test = match command {
                CommandLine::Exec(_) => vec!["CMD".to_owned()],
                CommandLine::Shell(_) => vec!["CMD-SHELL".to_owned()],
            };
            match command {
                CommandLine::Exec(words) => test.extend(words.iter().cloned()),
                CommandLine::Shell(text) => test.push(text.clone()),
            }
            HealthcheckConfig {
                test,
                interval: *interval,
                timeout: *timeout,
                start_period: *start_period,
                start_interval: *start_interval,
                retries: *retries,
            }
        }
    }
}

/// The names that Docker knows, without `SIG`.
const SIGNALS: [&str; 35] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
];

fn check_signal(signal: &str) -> Result<(), Problem> {
    let upper = signal.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = name == "RTMAX"
        || ["RTMIN+", "RTMAX-"].iter().any(|prefix| {
            let offset = name.strip_prefix(prefix).and_then(|offset| offset.parse::<u8>().ok());
            offset.is_some_and(|offset| (1..=15).contains(&offset))
        });
    let number = signal.parse::<i32>().is_ok_and(|number| number != 0);
    if SIGNALS.contains(&name) || real_time || number {
        return Ok(());
    }
    Err(Problem::new(format!("{signal:?} is not a signal"))
        .help("use a name such as SIGTERM, or a number such as 15"))
}

fn joined(pairs: &[(String, String)]) -> String {
    let words: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.join(" ")
}

/// A list as Go's `%v` prints it.
fn go_list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// A list as Go's `%q` prints it.
fn go_quoted(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// A health check as Go's `%+v` prints it.
fn go_healthcheck(check: &HealthcheckConfig) -> String {
    let time = |nanoseconds: Option<i64>| go_duration(nanoseconds.unwrap_or(0));
    format!(
        "{{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        go_list(&check.test),
        time(check.interval),
        time(check.timeout),
        time(check.start_period),
        time(check.start_interval),
        check.retries.unwrap_or(0)
    )
}

/// A duration as Go prints it: `1m30s`, `500ms`.
fn go_duration(nanoseconds: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let fraction = |value: i64, unit: i64, suffix: &str| {
        let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
        format!("{}{suffix}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        small if small < 1_000 => format!("{small}ns"),
        small if small < 1_000_000 => fraction(small, 1_000, "µs"),
        small if small < SECOND => fraction(small, 1_000_000, "ms"),
        long => {
            let (minutes, rest) = (long / (60 * SECOND), long % (60 * SECOND));
            let seconds = fraction(rest, SECOND, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lbuild_oci::Platform;
    use lbuild_parser::Span;

    use super::*;

    fn applied(state: &mut StageState, instruction: &Instruction) -> Option<String> {
        let scope = Scope { escape: '\\', build_args: &BTreeMap::new(), globals: &Environment::new() };
        apply(state, instruction, &scope).unwrap()
    }

    fn state() -> StageState {
        StageState::scratch(&Platform::host())
    }

    fn pair(name: &str, value: &str) -> Pair {
        Pair { name: name.into(), value: value.into(), legacy: false, span: Span::default() }
    }

    #[test]
    fn an_env_does_not_see_its_own_variables() {
        let mut state = state();
        state.set_env(&[("A".into(), "old".into())]);
        let text = applied(&mut state, &Instruction::Env(vec![pair("A", "new"), pair("B", "$A")]));
        assert_eq!(text.as_deref(), Some("ENV A=new B=old"));
        assert_eq!(state.variable("B").as_deref(), Some("old"));
    }

    #[test]
    fn an_entrypoint_drops_an_inherited_cmd_only() {
        let command = |word: &str| CommandLine::Exec(vec![word.into()]);
        let mut own = state();
        applied(&mut own, &Instruction::Cmd(command("c")));
        applied(&mut own, &Instruction::Entrypoint(command("e")));
        assert_eq!(own.image.config.cmd, Some(vec!["c".to_owned()]));
        let mut inherited = own.child();
        applied(&mut inherited, &Instruction::Entrypoint(command("e")));
        assert_eq!(inherited.image.config.cmd, None);
    }

    #[test]
    fn texts_are_those_of_go() {
        let mut state = state();
        let shell = CommandLine::Shell("echo \"hi\"".into());
        let text = applied(&mut state, &Instruction::Cmd(shell.clone()));
        assert_eq!(text.as_deref(), Some(r#"CMD ["/bin/sh" "-c" "echo \"hi\""]"#));
        let text = applied(&mut state, &Instruction::Expose(vec!["80".into(), "53/UDP".into()]));
        assert_eq!(text.as_deref(), Some("EXPOSE [80/tcp 53/udp]"));
        let check = Healthcheck::Check {
            command: shell,
            interval: Some(90_000_000_000),
            timeout: Some(1_500_000_000),
            start_period: None,
            start_interval: Some(3_600_000_000_000),
            retries: Some(3),
        };
        let text = applied(&mut state, &Instruction::Healthcheck(check));
        assert_eq!(
            text.as_deref(),
            Some(
                "HEALTHCHECK {Test:[CMD-SHELL echo \"hi\"] Interval:1m30s Timeout:1.5s StartPeriod:0s \
                 StartInterval:1h0m0s Retries:3}"
            )
        );
    }

    #[test]
    fn signals_are_names_or_numbers() {
        for good in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-1", "RTMAX"] {
            assert!(check_signal(good).is_ok(), "{good}");
        }
        for bad in ["", "0", "SIGNOPE", "RTMIN+99"] {
            assert!(check_signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (nanoseconds, text) in
            [(0, "0s"), (15, "15ns"), (1_500, "1.5µs"), (20_000_000, "20ms"), (60_000_000_000, "1m0s")]
        {
            assert_eq!(go_duration(nanoseconds), text);
        }
    }
}

//! What the exit status of a command means.

/// What an exit status means, and what to do about it, where that can be told.
pub fn explain(status: i32, signal: Option<i32>) -> (Option<String>, Option<&'static str>) {
    let killed = signal.or((status > 128 && status <= 128 + 64).then_some(status - 128));
    let (meaning, advice) = match (status, killed) {
        (126, _) => (
            "it cannot be executed".to_owned(),
            Some("make the file executable, and check that it is for the image's platform"),
        ),
        (127, _) => (
            "a command was not found".to_owned(),
            Some("check the spelling and the PATH, or install the program in an earlier step"),
        ),
        (_, Some(9)) => (
            "it was killed".to_owned(),
            Some("the usual reason is memory: give the step more with --memory, or let it use less"),
        ),
        (_, Some(signal)) => (format!("it was ended by {}", signal_name(signal)), None),
        _ => return (None, None),
    };
    (Some(meaning), advice)
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL, an instruction that this processor does not have",
        6 => "SIGABRT, it gave up itself",
        7 => "SIGBUS",
        8 => "SIGFPE",
        11 => "SIGSEGV, an access to memory that it does not have",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU, a limit on processor time",
        25 => "SIGXFSZ, a limit on file sizes",
        31 => "SIGSYS, a system call that is not allowed",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_explained() {
        for (status, signal, expected) in [
            (1, None, ""),
            (126, None, "cannot be executed"),
            (127, None, "not found"),
            (137, Some(9), "killed"),
            (139, None, "SIGSEGV"),
            (255, None, ""),
        ] {
            let meaning = explain(status, signal).0.unwrap_or_default();
            assert_eq!(meaning.is_empty(), expected.is_empty(), "{status}: {meaning}");
            assert!(meaning.contains(expected), "{status}: {meaning}");
        }
    }
}

//! What a RUN executes: its words, and the script that a heredoc gives.

use lbuild_parser::{Run, Script};

use crate::state::StageState;

/// Where the script of a heredoc with an interpreter line lies while it runs.
pub(crate) const SCRIPT_FOLDER: &str = "/dev/pipes";

/// A RUN's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// A file in [`SCRIPT_FOLDER`] that the shell is given, by its name and content.
    pub script: Option<(String, String)>,
}

impl Command {
    /// The command of `run` in a stage with this shell.
    pub fn new(state: &StageState, run: &Run) -> Self {
        let in_shell = |text: String| {
            let mut words = state.shell();
            words.push(text);
            words
        };
        match run.script() {
            Script::Exec(words) => Self { words, script: None },
            Script::Shell(text) => Self { words: in_shell(text), script: None },
            Script::File { name, content } => {
                Self { words: in_shell(format!("{SCRIPT_FOLDER}/{name}")), script: Some((name, content)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lbuild_oci::Platform;
    use lbuild_parser::Instruction;

    use super::*;

    fn command(run: &str) -> Command {
        let dockerfile = lbuild_parser::parse(format!("FROM scratch\n{run}\n").as_bytes()).unwrap();
        let Instruction::Run(run) = &dockerfile.stages[0].steps[0].instruction else { panic!("{run}") };
        Command::new(&StageState::scratch(&Platform::host()), run)
    }

    #[test]
    fn a_lone_heredoc_is_the_shells_text() {
        assert_eq!(command("RUN <<EOF\necho a\nEOF").words, ["/bin/sh", "-c", "echo a\n"]);
        assert_eq!(command("RUN [\"a\", \"b\"]").words, ["a", "b"]);
    }

    #[test]
    fn a_lone_heredoc_with_an_interpreter_is_a_file() {
        let command = command("RUN <<EOF\n#!/bin/awk -f\nEOF");
        assert_eq!(command.words, ["/bin/sh", "-c", "/dev/pipes/EOF"]);
        assert_eq!(command.script, Some(("EOF".into(), "#!/bin/awk -f\n".into())));
    }

    #[test]
    fn other_heredocs_are_left_to_the_shell() {
        assert_eq!(command("RUN cat <<A <<B\na\nA\nb\nB").words[2], "cat <<A <<B\na\nA\nb\nB");
    }
}

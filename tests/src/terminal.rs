//! A program at a terminal.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program that runs at a terminal of its own, and who types there.
#[derive(Debug)]
pub struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    shown: Vec<u8>,
    /// So much of what is shown was answered.
    answered: usize,
}

impl Terminal {
    /// Starts `command`, whose words need no quotes.
    pub fn start(command: &Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        let mut script = Command::new("script");
        script.args(["-qec", &words.join(" "), "/dev/null"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            script.current_dir(folder);
        }
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keyboard, screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        Self { script, keyboard, screen, shown: Vec::new(), answered: 0 }
    }

    /// Types `keys` once `text` is shown, after what was answered before.
    #[track_caller]
    pub fn answer(&mut self, text: &str, keys: &[u8]) -> &mut Self {
        while !self.shown[self.answered..].windows(text.len()).any(|shown| shown == text.as_bytes()) {
            let mut byte = [0];
            let count = self.screen.read(&mut byte).unwrap();
            assert_eq!(count, 1, "it ended before {text:?}: {}", self.text());
            self.shown.push(byte[0]);
        }
        self.answered = self.shown.len();
        self.keyboard.write_all(keys).unwrap();
        self
    }

    /// Waits for the end of the program; returns its exit status and all that was shown.
    pub fn end(mut self) -> (Option<i32>, String) {
        self.screen.read_to_end(&mut self.shown).unwrap();
        (self.script.wait().unwrap().code(), self.text())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).replace('\r', "")
    }
}

//! What the terminal can do.

use std::io::{self, Stdin, Write};

use anstream::{AutoStream, ColorChoice};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// What Ctrl-C sends.
const INTERRUPT: u8 = 3;

/// The width where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 80;

/// Whether standard error takes colours: a terminal, and neither `NO_COLOR` nor `TERM=dumb`.
pub fn has_colour() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// Whether the terminal cannot move its cursor.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

/// The columns of the terminal behind standard error.
pub fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => DEFAULT_WIDTH,
    }
}

/// A line from standard input, a terminal, that is asked for with `question` and not shown while it is typed,
/// without its end; `None` if Ctrl-C or Ctrl-D was typed instead.
///
/// # Errors
/// Those of the terminal, or a line that is no UTF-8.
pub fn read_hidden_line(question: &str) -> io::Result<Option<String>> {
    let stdin = io::stdin();
    let hidden = Hidden::new(&stdin)?;
    // Whoever types as soon as he is asked is not seen, and loses nothing.
    let mut err = io::stderr().lock();
    let _ = err.write_all(question.as_bytes()).and_then(|()| err.flush());
    let mut line = Vec::new();
    for byte in io::Read::bytes(stdin.lock()) {
        match byte? {
            INTERRUPT => return Ok(None),
            b'\n' => {
                drop(hidden);
                let line = String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData)?;
                return Ok(Some(line.trim_end_matches('\r').to_owned()));
            }
            byte => line.push(byte),
        }
    }
    Ok(None)
}

/// A terminal that shows nothing, until this is dropped. Ctrl-C is a character of its input meanwhile: the
/// signal would end the process and leave the terminal so.
struct Hidden<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(stdin: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(stdin, OptionalActions::Flush, &hidden)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no repair.
        let _ = tcsetattr(self.stdin, OptionalActions::Flush, &self.before);
    }
}

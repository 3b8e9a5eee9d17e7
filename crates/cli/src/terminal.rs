//! What the terminal can do.

use std::io;

use anstream::{AutoStream, ColorChoice};

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

//! Variables with a hostile value, the first line, and a word of any text, the rest: no panic, no
//! endless work.

#![no_main]

use lbuild_parser::expand::{Expander, MAX_EXPANDED_LEN};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (value, word) = input.split_once('\n').unwrap_or(("value", input));
    let lookup = |name: &str| (name != "NONE").then(|| value.to_owned());
    for escape in ['\\', '`'] {
        let expander = Expander::new(escape, &lookup);
        if let Ok(expanded) = expander.word(word) {
            assert!(expanded.text.len() <= 2 * MAX_EXPANDED_LEN);
        }
        let _ = expander.words(word);
        let _ = expander.raw_quotes().raw_escapes().keep_unset().words(word);
    }
    let _ = Expander::heredoc(&lookup).word(word);
});

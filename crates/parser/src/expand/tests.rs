//! Cases of the whole expansion.

use super::*;

fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "HOME" => "/root",
        "EMPTY" => "",
        "PATHS" => "/a/b/a.tar.gz",
        "BLANKS" => " x  y ",
        "GLOB" => "*.gz",
        "ÜBER" => "ü",
        "1" => "one",
        _ => return None,
    };
    Some(value.to_owned())
}

fn word(text: &str) -> String {
    Expander::new('\\', &lookup).word(text).map_or_else(|error| format!("! {error}"), |word| word.text)
}

#[test]
fn variables_are_replaced() {
    for (text, expected) in [
        ("$HOME", "/root"),
        ("${HOME}x", "/rootx"),
        ("$HOMEx-$HOME.x", "-/root.x"),
        ("$NONE|$EMPTY|", "||"),
        ("$ÜBER", "ü"),
        ("$1x$12", "onex"),
        ("$", "$"),
        ("$.$ $/", "$.$ $/"),
        ("$@$*$#$?$-$$$!", ""),
        ("a$", "a$"),
        ("<$HOME<<$HOME", "</root<</root"),
        ("\u{feff}a", "a"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn quotes_and_escapes_are_resolved() {
    for (text, expected) in [
        ("'$HOME'", "$HOME"),
        ("\"$HOME\"", "/root"),
        (r"\$HOME", "$HOME"),
        (r"a\bc", "abc"),
        (r#""a\b\"\$\\""#, r#"a\b"$\"#),
        (r"'a\b'", r"a\b"),
        (r"a\", "a"),
        ("a'b'\"c\"", "abc"),
        ("'\"'\"'\"", "\"'"),
        ("a  b", "a  b"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn the_escape_character_can_be_another() {
    let expander = Expander::new('`', &lookup);
    for (text, expected) in [("C:\\$HOME", "C:\\/root"), ("`$HOME", "$HOME"), ("\"`\"``\"", "\"`")] {
        assert_eq!(expander.word(text).unwrap().text, expected, "{text}");
    }
}

#[test]
fn defaults_and_alternatives_depend_on_the_variable() {
    for (text, expected) in [
        ("${NONE:-x}${NONE-x}", "xx"),
        ("${EMPTY:-x}${EMPTY-x}", "x"),
        ("${HOME:-x}", "/root"),
        ("${NONE:+x}${NONE+x}", ""),
        ("${EMPTY:+x}${EMPTY+x}", "x"),
        ("${HOME:+x}${HOME+x}", "xx"),
        ("${NONE:-$HOME}", "/root"),
        ("${NONE:-${NONE:-'a}b'}}", "a}b"),
        (r"${NONE:-\}}", "}"),
        ("${HOME?x}${EMPTY?x}", "/root"),
        ("${NONE?}", "! NONE: is not allowed to be unset"),
        ("${EMPTY:?}", "! EMPTY: is not allowed to be empty"),
        ("${EMPTY:?set it}", "! EMPTY: set it"),
        ("${NONE:?use $HOME}", "! NONE: use /root"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn patterns_cut_and_replace() {
    for (text, expected) in [
        ("${PATHS#/*/}", "b/a.tar.gz"),
        ("${PATHS##/*/}", "a.tar.gz"),
        ("${PATHS%.*}", "/a/b/a.tar"),
        ("${PATHS%%.*}", "/a/b/a"),
        ("${PATHS%$GLOB}", "/a/b/a.tar"),
        ("${PATHS#?a}", "/b/a.tar.gz"),
        ("${PATHS#nothing}", "/a/b/a.tar.gz"),
        ("${PATHS/a/x}", "/x/b/a.tar.gz"),
        ("${PATHS//a/x}", "/x/b/x.txr.gz"),
        (r"${PATHS//\//-}", "-a-b-a.tar.gz"),
        ("${PATHS//./}", "/a/b/atargz"),
        ("${PATHS/%/x}", "/a/b/a.tar.gz"),
        ("${NONE#a}${NONE/a/b}", ""),
        (r"${GLOB#\*}", ".gz"),
        ("${GLOB//[.]/x}", "*.gz"),
        ("${EMPTY//a/b}", ""),
        (r"${PATHS#\a}", "! the pattern `\\a` is invalid: `\\a` is no escape"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, expected) in [
        ("'a", ExpandError::UnclosedQuote('\'')),
        ("\"a", ExpandError::UnclosedQuote('"')),
        (r#""a\"#, ExpandError::UnclosedQuote('"')),
        ("${", ExpandError::UnclosedBrace),
        ("${a", ExpandError::UnclosedBrace),
        ("${a:", ExpandError::UnclosedBrace),
        ("${a:-b", ExpandError::UnclosedBrace),
        ("${a/b/c", ExpandError::UnclosedBrace),
        ("${a/b}", ExpandError::MissingSlash),
        ("${}", ExpandError::BadSubstitution),
        ("${:a}", ExpandError::BadSubstitution),
        ("${{a}}", ExpandError::BadSubstitution),
        ("${a=b}", ExpandError::UnsupportedModifier("=".to_owned())),
        ("${a:=b}", ExpandError::UnsupportedModifier(":=".to_owned())),
        ("${a:#b}", ExpandError::UnsupportedModifier(":#".to_owned())),
        ("${a b}", ExpandError::UnsupportedModifier(" ".to_owned())),
    ] {
        assert_eq!(Expander::new('\\', &lookup).word(text), Err(expected), "{text}");
    }
}

#[test]
fn names_are_reported() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let expanded = Expander::new('\\', &lookup).word("$HOME ${HOME} ${A:-$B} ${EMPTY:-$C} '$D'").unwrap();
    assert_eq!(expanded.used, names(&["EMPTY", "HOME"]));
    assert_eq!(expanded.unmatched, names(&["A", "B", "C"]));
}

#[test]
fn words_are_split_after_expansion() {
    let words = |text| Expander::new('\\', &lookup).words(text).unwrap();
    for (text, expected) in [
        ("a  b", vec!["a", "b"]),
        ("$BLANKS", vec!["x", "y"]),
        ("a$BLANKS", vec!["a", "x", "y"]),
        ("a\"$BLANKS\"b", vec!["a x  y b"]),
        (r"a\ b 'c d'", vec!["a b", "c d"]),
        ("'' a", vec!["a"]),
        ("80${NONE:-81}", vec!["81"]),
        ("a 80\"${HOME+81}\"82", vec!["a", "8182"]),
        ("80${HOME}${NONE}", vec!["80/root"]),
        ("a << b", vec!["a", "<< b"]),
        ("", vec![]),
    ] {
        assert_eq!(words(text), expected, "{text}");
    }
}

#[test]
fn quotes_escapes_and_unset_variables_can_stay() {
    let expander = Expander::new('\\', &lookup);
    let text = r#"'a' "b $HOME" c\ d $NONE ${NONE} ${NONE:-$HOME} ${NONE#x} ${NONE//a/b}"#;
    let shown = expander.raw_quotes().raw_escapes().keep_unset().word(text).unwrap().text;
    assert_eq!(shown, r#"'a' "b /root" c\ d $NONE ${NONE} ${NONE:-/root} ${NONE#x} ${NONE/a/b}"#);
}

#[test]
fn quotes_mean_nothing_in_a_heredoc() {
    let expanded = Expander::heredoc(&lookup).word("it's \"$HOME\" \\$HOME\n\tx\n").unwrap();
    assert_eq!(expanded.text, "it's \"/root\" $HOME\n\tx\n");
}

#[test]
fn hostile_words_end_soon() {
    let deep = "${a:-".repeat(100_000);
    assert_eq!(Expander::new('\\', &lookup).word(&deep), Err(ExpandError::TooDeep));
    let long = "x".repeat(1 << 20);
    let big = |_: &str| Some(long.clone());
    assert_eq!(Expander::new('\\', &big).word(&"$a".repeat(20)), Err(ExpandError::TooLong));
    assert_eq!(Expander::new('\\', &big).word(&"\"$a$a$a\"".repeat(20)), Err(ExpandError::TooLong));
}

//! Cases of lines, continuations, comments and heredocs.

use super::*;
use crate::syntax::dump;

fn tree(source: &str) -> String {
    let file = parse_file(source, '\\', Unknown::Plain);
    assert!(file.errors.is_empty(), "{source}: {:?}", file.errors);
    dump(&file.nodes)
}

fn errors(source: &str) -> Vec<(String, usize, usize)> {
    let place = |error: Diagnostic| {
        let span = error.span.unwrap();
        (error.message, span.line(source), span.column(source))
    };
    parse_file(source, '\\', Unknown::Plain).errors.into_iter().map(place).collect()
}

#[test]
fn lines_are_continued() {
    for (source, expected) in [
        ("RUN a \\\n  b", r#"(run "a   b")"#),
        ("RUN a\\\nb", r#"(run "ab")"#),
        ("RUN a \\ \t\nb", r#"(run "a b")"#),
        ("RUN a \\\r\n  b\r\n", r#"(run "a   b")"#),
        ("RUN a \\\\\nUSER b", "(run \"a \\\\\\\\\")\n(user \"b\")"),
        ("RUN a \\\n# comment\n  # indented \\\n\n  b", r#"(run "a   b")"#),
        ("RUN a \\\n  b # no comment", r#"(run "a   b # no comment")"#),
        ("RUN a \\", r#"(run "a")"#),
        ("\\\nRUN a", r#"(run "a")"#),
        ("  RUN a", r#"(run "a")"#),
        ("RUN \\\n\\\n a", r#"(run "a")"#),
        ("RU\\\nN a", r#"(run "a")"#),
    ] {
        assert_eq!(tree(source), expected, "{source}");
    }
}

#[test]
fn the_escape_directive_changes_the_continuation() {
    for (source, expected) in [
        ("# escape=`\nRUN a `\n b \\\nUSER c", "(run \"a  b \\\\\")\n(user \"c\")"),
        ("#escape = \\\nRUN a \\\n b", r#"(run "a  b")"#),
        ("  # escape=`\nRUN a`\nb", r#"(run "ab")"#),
        ("# comment\n# escape=`\nRUN a \\\nb", r#"(run "a b")"#),
        ("\n# escape=`\nRUN a \\\nb", r#"(run "a b")"#),
        ("#!/bin/sh\n# escape=`\nRUN a \\\nb", r#"(run "a b")"#),
        ("# syntax=x\n# escape=`\nRUN a`\nb", r#"(run "ab")"#),
    ] {
        assert_eq!(tree(source), expected, "{source}");
    }
    assert_eq!(
        errors("# escape=x\nRUN a"),
        [("invalid escape token 'x' does not match ` or \\".to_owned(), 1, 10)]
    );
    assert_eq!(
        errors("# escape=`\n# escape=`\nRUN a"),
        [("only one escape parser directive can be used".to_owned(), 2, 1)]
    );
}

#[test]
fn directives_are_kept_with_their_places() {
    let source = "# syntax=a/b:1 // x\n# check=skip=all\nFROM a";
    let directives = parse_file(source, '\\', Unknown::Plain).directives;
    assert_eq!(directives.syntax, Some(("a/b:1".to_owned(), Span { start: 9, end: 14 })));
    assert_eq!(directives.check, Some(("skip=all".to_owned(), Span { start: 28, end: 36 })));
    let after_shebang = parse_file("#!/bin/x\n# check=skip=all\nFROM a", '\\', Unknown::Plain).directives;
    assert_eq!(after_shebang.check, Some(("skip=all".to_owned(), Span { start: 17, end: 25 })));
    assert_eq!(parse_file(" # check=skip=all\nFROM a", '\\', Unknown::Plain).directives.check, None);
}

#[test]
fn arguments_are_split_by_each_instruction() {
    for (source, expected) in [
        ("From  a\tAS b", r#"(from "a" "AS" "b")"#),
        ("ENV a b  c", r#"(env "a" "b  c" "")"#),
        ("ENV a=b c=\"d e\"", r#"(env "a" "b" "=" "c" "\"d e\"" "=")"#),
        ("ENV a=b=c d=", r#"(env "a" "b=c" "=" "d" "" "=")"#),
        ("LABEL a=b", r#"(label "a" "b" "=")"#),
        ("ENV", "(env)"),
        ("ARG a b=\"c d\"", r#"(arg "a" "b=\"c d\"")"#),
        ("COPY --from=a --chown=\"x y\" b  c /", r#"(copy ["--from=a" "--chown=x y"] "b" "c" "/")"#),
        ("COPY [\"a b\", \"/\"]", r#"(copy "a b" "/")"#),
        ("COPY [a, /]", r#"(copy "[a," "/]")"#),
        ("CMD [\"a\", \"b\"]", r#"(cmd "a" "b")"#),
        ("CMD ['a']", r#"(cmd "['a']")"#),
        ("CMD", "(cmd)"),
        ("CMD []", "(cmd)"),
        ("HEALTHCHECK --retries=1 CMD a b", r#"(healthcheck ["--retries=1"] "CMD" "a b")"#),
        ("HEALTHCHECK CMD [\"a\", \"b\"]", r#"(healthcheck "CMD" "a" "b")"#),
        ("HEALTHCHECK NONE", r#"(healthcheck "NONE")"#),
        ("ONBUILD COPY --from=a b c", r#"(onbuild (copy ["--from=a"] "b" "c"))"#),
        ("ONBUILD", "(onbuild)"),
        ("USER a b", r#"(user "a b")"#),
        ("RUN --mount=a,\\\n  b -- --c", r#"(run ["--mount=a,"] "b -- --c")"#),
        ("RUN -- --c", r#"(run "--c")"#),
        ("FOO a b", r#"(foo "")"#),
    ] {
        assert_eq!(tree(source), expected, "{source}");
    }
}

#[test]
fn wrong_arguments_are_pointed_at() {
    for (source, message, line, column) in [
        ("ENV a", "ENV must have two arguments", 1, 5),
        ("LABEL \\\n a", "LABEL must have two arguments", 2, 2),
        ("ENV a=1 b", "Syntax error - can't find = in \"b\". Must be of the form: name=value", 1, 9),
        (
            "RUN [\"a\", \\\n 1]",
            "when using JSON array syntax, arrays must be comprised of strings only",
            2,
            2,
        ),
        ("ONBUILD ENV a", "ENV must have two arguments", 1, 13),
        ("RUN cat <<\"E OF\nx\n", "", 0, 0),
    ] {
        let expected = if line == 0 { vec![] } else { vec![(message.to_owned(), line, column)] };
        assert_eq!(errors(source), expected, "{source}");
    }
}

#[test]
fn comments_belong_to_the_next_instruction() {
    let comments = |source| -> Vec<Vec<String>> {
        parse_file(source, '\\', Unknown::Plain).nodes.into_iter().map(|node| node.comments).collect()
    };
    for (source, expected) in [
        ("# a\n# b\nRUN x\nRUN y", vec![vec!["a", "b"], vec![]]),
        ("# a\n\n# b\nRUN x", vec![vec!["a", "b"]]),
        ("# a\n#\n# b\nRUN x", vec![vec!["b"]]),
        ("# syntax=x\n# a\nRUN x", vec![vec!["a"]]),
        ("RUN x \\\n# a\n y\nRUN z", vec![vec![], vec![]]),
        ("  # a\nRUN x", vec![vec!["# a"]]),
    ] {
        assert_eq!(comments(source), expected, "{source}");
    }
}

#[test]
fn heredocs_are_read() {
    let source =
        "RUN <<A cat 3<<-'B' \\\n  && x\na $x\nA\n\tb\n\tB\nCOPY <<\"C\" /\nC\r\nONBUILD COPY <<D /\nd\nD";
    let file = parse_file(source, '\\', Unknown::Plain);
    let heredocs: Vec<_> = file.nodes.iter().flat_map(|node| &node.heredocs).collect();
    let found: Vec<_> = heredocs
        .iter()
        .map(|doc| (doc.name.as_str(), doc.expand, doc.chomp, doc.fd, doc.content.as_str(), doc.raw.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("A", true, false, 0, "a $x\n", "a $x\n"),
            ("B", false, true, 3, "b\n", "\tb\n"),
            ("C", false, false, 0, "", ""),
            ("D", true, false, 0, "d\n", "d\n"),
        ]
    );
    let texts: Vec<_> = file.nodes.iter().map(|node| &source[node.span.range()]).collect();
    assert!(texts[0].starts_with("RUN <<A") && texts[0].ends_with("\n\tB"), "{texts:?}");
    assert_eq!(texts[1], "COPY <<\"C\" /\nC");
    assert_eq!(texts[2], "ONBUILD COPY <<D /\nd\nD");
}

#[test]
fn not_all_that_looks_like_a_heredoc_is_one() {
    for source in [
        "ENV a=<<EOF\nUSER x",
        "RUN [\"cat\", \"<<EOF\"]\nUSER x",
        "RUN cat <<<EOF\nUSER x",
        "RUN echo it's <<EOF\nUSER x",
        "RUN echo $((1<<2)) \\<<EOF\nUSER x",
        "CMD cat <<EOF\nUSER x",
    ] {
        let file = parse_file(source, '\\', Unknown::Plain);
        assert_eq!((file.nodes.len(), file.errors.len()), (2, 0), "{source}: {file:?}");
    }
}

#[test]
fn a_heredoc_without_an_end_is_an_error() {
    for (source, related, help) in [
        ("FROM a\nRUN <<EOF\necho\n", None, "end the heredoc with a line `EOF`"),
        ("FROM a\nRUN <<EOF\necho\n EOF\n", Some(4), "the name must stand alone on its line"),
        ("FROM a\nRUN <<EOF\necho\n\tEOF\n", Some(4), "with `<<-` the name may be indented by tabs"),
    ] {
        let file = parse_file(source, '\\', Unknown::Plain);
        let [error] = &file.errors[..] else { panic!("{source}: {:?}", file.errors) };
        assert_eq!(error.message, "unterminated heredoc");
        assert_eq!(&source[error.span.unwrap().range()], "<<EOF");
        assert_eq!(error.related.first().map(|(span, _)| span.line(source)), related);
        assert_eq!(error.help.as_deref(), Some(help));
    }
}

#[test]
fn the_body_of_an_unknown_instructions_heredoc_is_skipped() {
    let names = |unknown| -> Vec<_> {
        let file = parse_file("FROM a\nRUNN <<EOF\nx\ny\nEOF\nUSER z", '\\', unknown);
        file.nodes.into_iter().map(|node| node.keyword.into_string()).collect()
    };
    assert_eq!(names(Unknown::Mistake), ["FROM", "RUNN", "USER"]);
    assert_eq!(names(Unknown::Plain), ["FROM", "RUNN", "x", "y", "EOF", "USER"]);
}

#[test]
fn empty_lines_inside_an_instruction_are_noticed() {
    let source = "RUN a \\\n\n  \n  b\nRUN c \\\n d\n\n";
    let lines: Vec<_> =
        parse_file(source, '\\', Unknown::Plain).empty_lines.iter().map(|span| span.line(source)).collect();
    assert_eq!(lines, [2]);
}

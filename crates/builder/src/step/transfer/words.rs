//! The words of a COPY or ADD, expanded.

use std::collections::BTreeMap;

use lbuild_parser::expand::Expander;
use lbuild_parser::{Heredoc, Source};

use crate::copy::ModeChange;
use crate::path::absolute;
use crate::problem::Problem;
use crate::solve::Solver;
use crate::state::StageState;

/// Words of the instruction before their expansion.
#[derive(Default)]
pub(super) struct Words {
    /// By what they expand to.
    pub(super) sources: BTreeMap<String, String>,
    pub(super) destination: String,
}

/// Paths, inline files with their content, and the words that they were.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) paths: Vec<String>,
    pub(super) inline: Vec<(String, String)>,
    pub(super) words: Words,
}

pub(super) fn expand_sources(
    solver: &Solver<'_>,
    state: &StageState,
    sources: &[Source],
    destination: &str,
) -> Result<Sources, Problem> {
    let mut expanded = Sources::default();
    expanded.words.destination = destination.to_owned();
    for source in sources {
        match source {
            Source::Path(word, _) => {
                let path = expand_word(solver, state, word)?;
                expanded.words.sources.entry(path.clone()).or_insert_with(|| word.clone());
                expanded.paths.push(path);
            }
            Source::Heredoc(heredoc) => {
                expanded.inline.push((file_name(heredoc)?, expand_heredoc(state, heredoc)?));
            }
        }
    }
    Ok(expanded)
}

impl Words {
    /// The word that expands to `source`.
    pub(super) fn source<'a>(&'a self, source: &'a str) -> &'a str {
        self.sources.get(source).map_or(source, String::as_str)
    }
}

/// A word, expanded; a problem is one of the word's.
pub(super) fn expand_word(solver: &Solver<'_>, state: &StageState, word: &str) -> Result<String, Problem> {
    solver.expand(state, word).map_err(|problem| problem.about(word))
}

/// The name of a heredoc's file, which lies in no folder.
fn file_name(heredoc: &Heredoc) -> Result<String, Problem> {
    if absolute("/", &heredoc.name)[1..].contains('/') {
        return Err(Problem::new(format!("a heredoc's file cannot lie in a folder: {:?}", heredoc.name))
            .about(&heredoc.name)
            .help("name the folder in the destination"));
    }
    Ok(heredoc.name.clone())
}

fn expand_heredoc(state: &StageState, heredoc: &Heredoc) -> Result<String, Problem> {
    if !heredoc.expand {
        return Ok(heredoc.content.clone());
    }
    let lookup = |name: &str| state.variable(name);
    Ok(Expander::heredoc(&lookup).word(&heredoc.content)?.text)
}

pub(super) fn expand_option(
    solver: &Solver<'_>,
    state: &StageState,
    word: Option<&str>,
) -> Result<Option<String>, Problem> {
    let expanded = word.map(|word| expand_word(solver, state, word)).transpose()?;
    Ok(expanded.filter(|text| !text.is_empty()))
}

pub(super) fn mode(
    solver: &Solver<'_>,
    state: &StageState,
    word: Option<&str>,
) -> Result<Option<ModeChange>, Problem> {
    let Some(text) = expand_option(solver, state, word)? else { return Ok(None) };
    let change = ModeChange::parse(&text).map_err(|error| {
        let problem = Problem::from(error);
        let problem = problem.help("write an octal number such as 0755, or a change such as u+x,go-w");
        problem.about(word.unwrap_or_default())
    })?;
    Ok(Some(change))
}

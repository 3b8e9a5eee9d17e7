//! `--call`: what a build is asked instead of an image, answered as `docker build` answers.

mod check;
mod go;
mod outline;
mod targets;

use std::io::{self, Write};

use lbuild_builder::{BuildError, BuildEvent, BuildRequest};
use lbuild_layer_store::Store;
use serde::Serialize;

use crate::args::csv;
use crate::diagnostics::{self, Source, Style};
use crate::exit::Exit;
use crate::failure::{self, Failure};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// An image, the usual thing.
    Build,
    /// What could be better.
    Check,
    /// Arguments, secrets and agents.
    Outline,
    /// Stages.
    Targets,
}

/// `--call=METHOD[,format=FORMAT][,ignorestatus=BOOL]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub method: Method,
    json: bool,
    /// Findings are no failure.
    ignores_status: bool,
}

impl Call {
    /// No question.
    pub const BUILD: Self = Self { method: Method::Build, json: false, ignores_status: false };
    /// `--check`.
    pub const CHECK: Self = Self { method: Method::Check, ..Self::BUILD };

    /// Reads the option's value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut call = Self::BUILD;
        for (key, value) in csv::parse(text)? {
            match (key.as_str(), value.as_deref()) {
                ("build", None) => call.method = Method::Build,
                ("check" | "lint", None) => call.method = Method::Check,
                ("outline", None) => call.method = Method::Outline,
                ("targets", None) => call.method = Method::Targets,
                ("format", Some("json")) => call.json = true,
                ("format", Some("text")) => call.json = false,
                ("format", _) => return Err("format is json or text".to_owned()),
                ("ignorestatus", None | Some("true" | "1")) => call.ignores_status = true,
                ("ignorestatus", Some("false" | "0")) => call.ignores_status = false,
                _ => return Err(format!("{key:?} is none of build, check, outline, targets")),
            }
        }
        Ok(call)
    }

    /// Prints the answer on standard output.
    ///
    /// # Errors
    /// A wrong Dockerfile, and for [`Method::Check`] findings; they were told.
    pub fn answer(self, store: &Store, request: &BuildRequest, source: &Source) -> Result<(), Failure> {
        match self.method {
            Method::Check => self.check(store, request, source),
            Method::Targets => {
                let targets = lbuild_builder::targets(&request.dockerfile)
                    .map_err(|problems| failure::tell(source, &BuildError::Dockerfile(problems)))?;
                self.print(&targets::Answer::new(&targets, source, &request.dockerfile))
            }
            Method::Outline | Method::Build => {
                let style = Style::of_stderr();
                let warn = |event| {
                    if let BuildEvent::Warning(warning) = event {
                        diagnostics::print(&format!("{}\n", source.render(&warning, &style)));
                    }
                };
                let outline = lbuild_builder::outline(store, request, &warn)
                    .map_err(|error| failure::tell(source, &error))?;
                self.print(&outline::Answer::new(&outline, source, &request.dockerfile))
            }
        }
    }

    fn check(self, store: &Store, request: &BuildRequest, source: &Source) -> Result<(), Failure> {
        let checked = lbuild_builder::check(store, request);
        self.print(&check::Answer::new(&checked, source, &request.dockerfile))?;
        let failure = checked.error.as_ref().map(|error| failure::tell(source, error));
        match failure {
            _ if self.ignores_status => Ok(()),
            Some(failure) => Err(failure),
            None if checked.warnings.is_empty() => Ok(()),
            None => Err(Failure::Reported(Exit::Failed)),
        }
    }

    fn print(self, answer: &(impl Serialize + Text)) -> Result<(), Failure> {
        let text = if self.json { go::json(answer) } else { answer.text() };
        Ok(io::stdout().lock().write_all(text.as_bytes())?)
    }
}

/// An answer for people.
trait Text {
    /// All of it, with its line ends.
    fn text(&self) -> String;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_formats_are_read() {
        let call = |method, json, ignores_status| Ok(Call { method, json, ignores_status });
        for (text, expected) in [
            ("build", call(Method::Build, false, false)),
            ("check", Ok(Call::CHECK)),
            ("lint", Ok(Call::CHECK)),
            ("outline,format=json", call(Method::Outline, true, false)),
            ("format=text,targets", call(Method::Targets, false, false)),
            ("check,ignorestatus", call(Method::Check, false, true)),
            ("check,format=xml", Err("format is json or text".to_owned())),
            ("chekc", Err("\"chekc\" is none of build, check, outline, targets".to_owned())),
        ] {
            assert_eq!(Call::parse(text), expected, "{text}");
        }
    }
}

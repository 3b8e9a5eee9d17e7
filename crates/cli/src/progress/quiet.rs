//! Shows nothing.

use std::time::Duration;

use lbuild_builder::BuildEvent;

use super::Renderer;

/// Shows nothing.
pub struct Quiet;

impl Renderer for Quiet {
    fn event(&mut self, _: &BuildEvent, _: Duration) {}
}

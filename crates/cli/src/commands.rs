//! The commands, one a file.

mod build;
mod cache;
mod cache_prune;
mod check;
mod completions;
mod context;
mod df;
mod diff;
mod doctor;
mod history;
mod images;
mod inspect;
mod load;
mod login;
mod logs;
mod mount;
mod prune;
mod pull;
mod push;
mod rmi;
mod save;
mod shell;
mod store;
mod tag;
mod version;
mod why;

use lbuild_layer_store::{ImageRecord, Store};

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::root;

/// Does what the command line asks for.
pub fn run(Cli { global, command }: Cli) -> Result<(), Failure> {
    let store = || root::open(&global);
    match command {
        Command::Build(args) => build::run(&global, *args),
        Command::Check(args) => check::run(&store()?, &args),
        Command::Context(command) => context::run(&command),
        Command::Images(args) => images::run(&store()?, &args),
        Command::Inspect(args) => inspect::run(&store()?, &args),
        Command::History(args) => history::run(&store()?, &args),
        Command::Diff(args) => diff::run(&store()?, &args),
        Command::Shell(args) => shell::run(&store()?, args),
        Command::Why(args) => why::run(&store()?, &args),
        Command::Logs(args) => logs::run(&store()?, &args),
        Command::Tag(args) => tag::run(&store()?, &args),
        Command::Rmi(args) => rmi::run(&store()?, &args),
        Command::Load(args) => load::run(&store()?, args),
        Command::Save(args) => save::run(&store()?, &args),
        Command::Mount(args) => mount::mount(&store()?, root::standing(&global)?, &args),
        Command::Umount(args) => mount::umount(&store()?, &args),
        Command::Pull(args) => pull::run(&global, &args),
        Command::Push(args) => push::run(&store()?, &args),
        Command::Login(args) => login::login(args),
        Command::Logout(args) => login::logout(&args),
        Command::Prune(args) => prune::run(&store()?, &args),
        Command::Doctor(args) => doctor::run(&global, &args),
        Command::Df(args) => df::run(&store()?, &args),
        Command::Cache(command) => cache::run(&store, &command),
        Command::Store(command) => store::run(&store()?, &command),
        Command::Completions(args) => completions::run(&args),
        Command::Version => version::run(),
    }
}

/// The image of a name or an id, which must be there.
fn find(store: &Store, image: &str) -> Result<ImageRecord, Failure> {
    store.find(image)?.ok_or_else(|| Failure::no_image(image))
}

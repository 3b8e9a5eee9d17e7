//! Runs of real programs, as root.
//!
//! The root file system holds a static busybox, and nothing of the host.

mod attacks;
mod bed;
mod confinement;
mod endings;
mod limits;
mod mounts;
mod view;

use libtest_mimic::{Arguments, Failed, Trial};

/// Names each function as a test of its module.
macro_rules! trials {
    ($($module:ident: $($function:ident)+;)+) => {
        vec![$($(Trial::test(concat!(stringify!($module), "::", stringify!($function)), || {
            $module::$function();
            Ok::<(), Failed>(())
        })),+),+]
    };
}

fn main() {
    lbuild_runner::supervise_if_asked();
    let trials = trials! {
        endings:
            the_exit_status_is_the_programs;
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

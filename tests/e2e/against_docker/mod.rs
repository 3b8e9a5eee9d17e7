//! What a real Docker makes of the images.

mod cases;
mod confinement;
mod current;
mod language;
mod outputs;
mod own_image;
mod registry;
mod unprivileged;

use lbuild_tests::{Docker, TestBed};

/// Builds the bed's context and loads the image into Docker, where it has the bed's name.
fn load_into_docker(bed: &TestBed) -> Docker {
    bed.build([""; 0]).success();
    let docker = Docker::connect();
    docker.load(&bed.save(&bed.name()));
    docker
}

//! lbuild inside of containers that are neither root's nor Docker's.

mod kubernetes;
mod podman;

use std::fs;
use std::path::{Path, PathBuf};

use lbuild_tests::{BaseImage, Image, Person, SharedBed, static_lbuild, workspace};

/// Owners, modes and kinds of files by `ADD`, `COPY` and `RUN`, by root and by another user.
const DOCKERFILE: &str = "FROM scratch
ADD base.tar /
COPY --chown=5:6 Dockerfile /copied
WORKDIR /made
RUN echo app:x:1234:1234::/home/app:/bin/sh >> /etc/passwd && mkdir -p /home/app && chown app:1234 /home/app \
    && mkdir m && chown 33:34 m && chmod 2770 m && cp /bin/busybox become && chown 1000:5 become \
    && chmod 4711 become && ln -s m link && chown -h 7:8 link && mkfifo fifo && chown 9:10 fifo \
    && test \"$(stat -c %u:%g:%a become)\" = 1000:5:4711
USER app
RUN test \"$(id -un)\" = app && cd /home/app && echo mine > mine && ! chown 0:0 mine
USER 0
RUN cp -a /home/app /copy && rm -r /d && echo x > m/x
";

/// Writes the context, and returns the id of the image that root builds of it.
fn write_context(bed: &SharedBed) -> String {
    let layer = BaseImage::busybox().layers().concat();
    bed.file("Dockerfile", DOCKERFILE).file("base.tar", layer);
    let (id, image) = bed.build(Person::Root);
    let [.., made, _, copied] = &image.layers[..] else { panic!("{image:?}") };
    let become_ = made.entry("made/become");
    assert_eq!((become_.uid, become_.gid, become_.mode), (1000, 5, 0o4711));
    assert_eq!((made.entry("made/fifo").uid, made.entry("made/link").gid), (9, 8));
    assert_eq!(copied.entry("copy/mine").uid, 1234);
    id
}

/// An archive of lbuild's own image, which `docker/Dockerfile` makes.
fn own_image(bed: &SharedBed, name: &str) -> PathBuf {
    let folder = bed.folder().join("own");
    for (context, file, from) in [
        ("binary", "lbuild", static_lbuild()),
        ("certificates", "ca-certificates.crt", Path::new("/etc/ssl/certs/ca-certificates.crt")),
    ] {
        fs::create_dir_all(folder.join(context)).unwrap();
        fs::copy(from, folder.join(context).join(file)).unwrap();
    }
    let contexts = ["binary", "certificates"]
        .map(|context| format!("--build-context={context}={}", folder.join(context).display()));
    let archive = folder.join("image.tar");
    let output = format!("--output=type=docker,dest={}", archive.display());
    let docker = workspace().join("docker");
    let words = ["build", "--tag", name, &output, &contexts[0], &contexts[1], docker.to_str().unwrap()];
    bed.lbuild(Person::Root, words).success();
    fs::set_permissions(&archive, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    archive
}

/// The id of the image that a build wrote.
#[track_caller]
fn id(archive: &Path) -> String {
    Image::read(archive).id
}

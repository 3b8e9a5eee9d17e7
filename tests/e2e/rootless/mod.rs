//! Builds by people with fewer rights than root's: the same images.

mod debian;
mod doctor;

pub use debian::{check_owners, write_context};

use lbuild_tests::{BaseImage, Person, SharedBed};

use crate::cases::{CHANGED, IN_THREE_LAYERS, MADE_AND_REMOVED, REPLACED_FOLDER};

/// Owners, modes and kinds of files, by `ADD`, `COPY` and `RUN`, of root and of others.
const OWNERS: &str = "FROM base
COPY --chown=5:6 Dockerfile /copied
WORKDIR /made/by/workdir
RUN touch /a /b && chown 1000:5 /a && chmod 4711 /a && mkdir /m && chmod 2750 /m && chown 33:33 /m \
    && ln -s a /link && chown -h 7:8 /link && mkfifo /fifo && chown 9:10 /fifo && mv /link /moved \
    && test \"$(stat -c %u:%g:%a /a)\" = 1000:5:4711 && test \"$(stat -c %u:%g /moved)\" = 7:8
RUN cp -a /a /c && ln /b /e && rm /b && rm -r /d && chmod 600 /c && chown 65534:65534 /c
RUN cd /m && echo x > x && chown 1:2 x && mv x y
COPY --from=0 /made /elsewhere
";

/// Files that a user other than root makes are that user's.
const USER: &str = "FROM base
RUN mkdir -p /home/app && chown 1000:1001 /home/app
USER 1000:1001
RUN test \"$(id -u):$(id -g)\" = 1000:1001 && cd /home/app && echo a > a && mkdir d && ln -s a l && mkfifo f \
    && ! chown 0:0 a
";

#[test]
fn one_dockerfile_gives_one_image_whoever_builds_it() {
    let bed = SharedBed::new();
    for person in Person::ALL {
        bed.load_base(person, "base", &BaseImage::busybox());
    }
    let two_stages = OWNERS.replace("COPY --from=0", "FROM base\nCOPY --from=0");
    for dockerfile in [MADE_AND_REMOVED, CHANGED, REPLACED_FOLDER, IN_THREE_LAYERS, &two_stages, USER] {
        bed.file("Dockerfile", dockerfile);
        let images = Person::ALL.map(|person| bed.build(person));
        for ((id, image), person) in images.iter().zip(Person::ALL) {
            let (expected, root) = &images[0];
            for (layer, model) in image.layers.iter().zip(&root.layers) {
                assert_eq!(layer.entries, model.entries, "{person:?}:\n{dockerfile}");
            }
            assert_eq!(id, expected, "{person:?}:\n{dockerfile}");
        }
    }
}

#[test]
fn an_archive_with_devices_needs_root_and_says_so() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Char);
    header.set_size(0);
    header.set_mode(0o600);
    header.set_device_major(5).unwrap();
    header.set_device_minor(1).unwrap();
    archive.append_data(&mut header, "dev/console", std::io::empty()).unwrap();
    let bed = SharedBed::new();
    bed.file("devices.tar", archive.into_inner().unwrap())
        .file("Dockerfile", "FROM scratch\nADD devices.tar /\n");
    let context = bed.context();
    for person in [Person::WithSubordinateIds, Person::WithoutSubordinateIds] {
        let run = bed.lbuild(person, ["build", context.to_str().unwrap()]);
        run.failure(1).says(&["dev/console", "device"]);
    }
}

//! Builds by people with fewer rights than root's: the same images.

mod copies;
mod debian;
mod doctor;
mod network;

pub use debian::{check_owners, write_context};

use lbuild_tests::{BaseImage, Person, SharedBed};

use crate::cases::{CHANGED, IN_THREE_LAYERS, MADE_AND_REMOVED, REPLACED_FOLDER};

/// Owners, modes and kinds of files, by `ADD`, `COPY` and `RUN`, of root and of others.
const OWNERS: &str = "FROM base
COPY --chown=5:6 Dockerfile /copied
WORKDIR /made/by/workdir
RUN touch /a /b && chown 1000:5 /a && chmod 4711 /a && mkdir /m && chmod 2750 /m && chown 33:33 /m \
    && ln -s a /link && chown -h 7:8 /link && mkfifo /fifo && chown 9:10 /fifo && mv /link /moved \
    && ln -s fifo /to-fifo && chown 11:12 /to-fifo && test \"$(stat -c %u:%g /fifo)\" = 11:12 \
    && test \"$(stat -c %u:%g:%a /a)\" = 1000:5:4711 && test \"$(stat -c %u:%g /moved)\" = 7:8
RUN cp -a /a /c && ln /b /e && rm /b && rm -r /d && chmod 600 /c && chown 65534:65534 /c
RUN cd /m && echo x > x && chown 1:2 x && mv x y && echo z > z && mkdir n && echo w > n/w && ln -s z l && mkfifo f
";

/// All of that, taken from another stage.
const COPIED: &str = "FROM base
COPY --from=0 / /elsewhere
";

/// Files that a user other than root makes are that user's.
const USER: &str = "FROM base
RUN mkdir -p /home/app /shared && chown 1000:1001 /home/app && chown 1000:33 /shared && chmod 2755 /shared
USER 1000:1001
RUN test \"$(id -u):$(id -g)\" = 1000:1001 && cd /home/app && echo a > a && mkdir d && ln -s a l && mkfifo f \
    && ! chown 0:0 a && echo a > /shared/a && mkdir /shared/d
";

/// Has everybody build `dockerfile`, which must give the same image.
fn build_by_all(bed: &SharedBed, dockerfile: &str) {
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

#[test]
fn one_dockerfile_gives_one_image_whoever_builds_it() {
    let bed = SharedBed::new();
    for person in Person::ALL {
        bed.load_base(person, "base", &BaseImage::busybox());
    }
    let two_stages = [OWNERS, COPIED].concat();
    for dockerfile in [MADE_AND_REMOVED, CHANGED, REPLACED_FOLDER, IN_THREE_LAYERS, OWNERS, &two_stages, USER]
    {
        build_by_all(&bed, dockerfile);
    }
}

/// A mount of a namespace of lbuild's own would end with it, and be seen by nobody.
#[test]
fn a_mount_that_nobody_would_see_is_refused() {
    let bed = SharedBed::new();
    for person in Person::ALL.into_iter().filter(|&person| person != Person::Root) {
        bed.load_base(person, "base", &BaseImage::busybox());
        let mount = bed.lbuild(person, ["mount", "base"]).failure(1);
        mount.says(&["cannot mount base", "help: ", "lbuild shell base"]);
    }
}

#[test]
fn what_an_ordinary_user_may_not_is_told_with_what_to_do() {
    let bed = SharedBed::new();
    let person = Person::WithSubordinateIds;
    bed.load_base(person, "base", &BaseImage::busybox());
    bed.load_base(Person::Root, "base", &BaseImage::busybox());
    bed.file("Dockerfile", "FROM base\nRUN true\n");
    let context = bed.context();
    let context = context.to_str().unwrap();
    let roots = bed.home(Person::Root).join("store");
    let roots = roots.to_str().unwrap();
    for (arguments, code, parts) in [
        // The numbers are the machine's, not those of the user namespace.
        (&["--root", roots, "images"][..], 4, &["belongs to user 0, and this is user 54321", "--root"][..]),
        (&["--root", roots, "doctor"], 4, &["belongs to user 0"]),
        (&["build", "-f", "/etc/shadow", context], 1, &["/etc/shadow", "help: this user may not"]),
        (&["build", "-o", "/root/image.tar", context], 1, &["/root/image.tar", "help: this user may not"]),
        (&["build", "--memory", "64m", context], 1, &["limit the memory of a RUN", "lbuild doctor"]),
    ] {
        bed.lbuild(person, arguments).failure(code).says(parts);
    }
}

/// An archive with devices of several owners, and two names of one.
fn devices() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, kind, (major, minor), (uid, gid), mode) in [
        ("nodes/console", tar::EntryType::Char, (5, 1), (0, 5), 0o620),
        ("nodes/disk", tar::EntryType::Block, (259, 300), (7, 6), 0o660),
        ("nodes/null", tar::EntryType::Char, (1, 3), (0, 0), 0o666),
        ("nodes/zero", tar::EntryType::Char, (1, 5), (0, 0), 0o666),
        ("nodes/gone", tar::EntryType::Char, (1, 7), (0, 0), 0o666),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        archive.append_data(&mut header, path, std::io::empty()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// What is done to devices that came by ADD, COPY and the base.
const DEVICES: &str = "FROM base AS added
ADD devices.tar /added/
ADD --chown=3:4 devices.tar /given/
RUN chmod 600 /added/nodes/null && mv /added/nodes/zero /moved && rm /added/nodes/gone && chgrp 9 /given/nodes/null
FROM base
COPY --from=added /added /given /copied/
COPY --from=added --chown=5:6 /moved /owned
RUN rm /nodes/gone && chmod 640 /nodes/console && touch /nodes/new && mv /nodes/null /null
";

#[test]
fn devices_are_the_same_whoever_builds() {
    let bed = SharedBed::new();
    bed.file("devices.tar", devices());
    for person in Person::ALL {
        bed.load_base(person, "base", &BaseImage::busybox().layer(devices()));
    }
    let of_one_stage: String = DEVICES.lines().take(4).map(|line| format!("{line}\n")).collect();
    for dockerfile in [&of_one_stage, DEVICES] {
        build_by_all(&bed, dockerfile);
    }
    let (_, root) = bed.build(Person::Root);
    let [.., copied, owned, _] = &root.layers[..] else { panic!("{root:?}") };
    assert_eq!(copied.entry("copied/nodes/disk").kind, tar::EntryType::Block);
    assert_eq!((owned.entry("owned").uid, owned.entry("owned").kind), (5, tar::EntryType::Char));
}

/// In a step, what stands for a device is no way to one, and another user's file stands for none.
#[test]
fn a_noted_device_is_no_device_in_a_step() {
    let bed = SharedBed::new();
    bed.file("devices.tar", devices()).file(
        "Dockerfile",
        "FROM base\nADD devices.tar /\nRUN test -f /nodes/zero && ! test -s /nodes/zero\n",
    );
    let person = Person::WithSubordinateIds;
    bed.load_base(person, "base", &BaseImage::busybox());
    let (_, image) = bed.build(person);
    assert_eq!(image.layers[1].entry("nodes/zero").kind, tar::EntryType::Char);
    let folder = bed.home(person).join("unpacked");
    let output = format!("type=local,dest={}", folder.display());
    bed.lbuild(person, ["build", "-o", &output, bed.context().to_str().unwrap()]).success();
    assert!(folder.join("bin/sh").exists() && !folder.join("nodes/zero").exists());
}

//! Hard links, setuid bits, owners.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lbuild_tests::TestBed;
use tar::EntryType;

#[test]
fn a_change_to_one_of_two_linked_files_is_a_change_to_that_one() {
    let bed = TestBed::with_base("FROM base\nRUN echo more >> /linked-1\n");
    let image = bed.built();
    assert_eq!(image.top_layer().paths(), ["linked-1"]);
    let changed = image.top_layer().entry("linked-1");
    assert_eq!(changed.kind, EntryType::Regular);
    assert_eq!(changed.content, b"one file, two names\nmore\n");
}

#[test]
fn links_that_a_step_makes_stay_links() {
    let bed = TestBed::with_base("FROM base\nRUN mkdir /n && echo x > /n/b && ln /n/b /n/c && ln /n/b /a\n");
    let layer = bed.built().layers.pop().unwrap();
    assert_eq!(layer.paths(), ["a", "n/", "n/b", "n/c"]);
    assert_eq!(layer.entry("a").content, b"x\n");
    for name in ["n/b", "n/c"] {
        let link = layer.entry(name);
        assert_eq!((link.kind, link.link.as_deref()), (EntryType::Link, Some("a")), "{name}");
    }
}

#[test]
fn setuid_and_setgid_bits_survive_a_change_of_owner() {
    let bed = TestBed::with_base(
        "FROM base
         COPY --chown=1000:1000 tool /copied
         ADD --chown=1000:1000 tool /added
         COPY --from=base --chown=1000:1000 /script /from-image
         RUN cp -p /script /by-run && chown 1000:1000 /by-run && chmod 6755 /by-run",
    );
    bed.file("tool", "#!/bin/sh\n");
    fs::set_permissions(bed.context().join("tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    let image = bed.built();
    for (layer, path, mode) in
        [(1, "copied", 0o6755), (2, "added", 0o6755), (3, "from-image", 0o4755), (4, "by-run", 0o6755)]
    {
        let entry = image.layers[layer].entry(path);
        assert_eq!((entry.uid, entry.gid, entry.mode), (1000, 1000, mode), "{path}");
    }
}

#[test]
fn huge_ids_are_kept() {
    let bed = TestBed::with_base("FROM base\nRUN touch /f && chown 2147483648:4294967294 /f\n");
    let image = bed.built();
    let file = image.top_layer().entry("f");
    assert_eq!((file.uid, file.gid), (1 << 31, (1 << 32) - 2));
}

#[test]
fn files_without_any_permission_are_read() {
    let bed = TestBed::with_base("FROM base\nRUN echo secret > /f && chmod 000 /f && chmod 000 /d\n");
    let image = bed.built();
    assert_eq!(image.top_layer().entry("f").content, b"secret\n");
    assert_eq!(image.top_layer().entry("f").mode, 0);
    assert_eq!(image.top_layer().entry("d/").mode, 0);
}

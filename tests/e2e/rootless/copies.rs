//! A kernel that mounts no overlays in a user namespace: trees are copied.

use lbuild_tests::{BaseImage, Person, SharedBed};

/// Runs the rest as the user, and refuses what only overlays are configured by: `fsconfig` with a flag, command 0.
/// Loads the call's number, compares; loads its second argument, compares; refuses with EPERM.
const WITHOUT_OVERLAYS: &str = r#"python3 -c '
import ctypes, os, struct, sys
filter = b"".join(struct.pack("HBBI", *instruction) for instruction in [
    (0x20, 0, 0, 0), (0x15, 0, 3, 431), (0x20, 0, 0, 24), (0x15, 0, 1, 0), (0x06, 0, 0, 0x50001),
    (0x06, 0, 0, 0x7fff0000),
])
memory = ctypes.create_string_buffer(filter)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(filter) // 8, ctypes.addressof(memory)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
os.execvp(sys.argv[1], sys.argv[1:])
' setpriv --reuid 54321 --regid 54321 --clear-groups "$@""#;

const DOCKERFILE: &str = "FROM scratch
ADD base.tar /
RUN rm -r /d && echo changed >> /etc/motd && mkdir /m && chown 33:33 /m && chmod 2770 /m && echo x > /m/x
COPY --chown=5:6 Dockerfile /m/
RUN mv /m /moved && ln -s moved /link && chown -h 7:8 /link
";

#[test]
fn without_overlays_each_step_works_in_a_copy_and_that_is_said() {
    let bed = SharedBed::new();
    bed.file("Dockerfile", DOCKERFILE).file("base.tar", &BaseImage::busybox().layers()[0]);
    let (root, _) = bed.build(Person::Root);
    // Makes the folder.
    let home = bed.home(Person::WithoutSubordinateIds);
    let context = bed.context();
    let words = ["build", "--iidfile", "id", context.to_str().unwrap()];
    let iidfile = home.join("id");
    let words = words.map(|word| if word == "id" { iidfile.to_str().unwrap() } else { word });
    let built = bed.lbuild_after(WITHOUT_OVERLAYS, words).success();
    let note = "note: overlays cannot be mounted here: each step works in a copy of its layers";
    assert_eq!(built.stderr.lines().filter(|line| line.starts_with(note)).count(), 1, "{built}");
    assert_eq!(std::fs::read_to_string(&iidfile).unwrap().trim(), root, "{built}");

    let report = bed.lbuild_after(WITHOUT_OVERLAYS, ["doctor", "--json"]).success().json();
    let features = report["features"].as_array().unwrap();
    let overlays = features.iter().find(|found| found["feature"] == "overlays in a user namespace").unwrap();
    assert_eq!(overlays["works"], false, "{overlays}");
    assert!(
        overlays["cause"].as_str().unwrap().contains("gives overlays to no user namespace"),
        "{overlays}"
    );
    assert!(overlays["instead"].as_str().unwrap().contains("in a copy of its layers"), "{overlays}");
}

//! Settings of the kernel, and places where a store may stand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use lbuild_tests::{Run, TestBed};

/// The kernel's defaults for overlay mounts that name no option, switched on while this lives.
struct OverlayDefaults(Vec<(PathBuf, String)>);

impl OverlayDefaults {
    fn switch_on() -> Self {
        let parameters = ["redirect_dir", "metacopy", "index"];
        let previous = parameters.map(|name| {
            let file = PathBuf::from("/sys/module/overlay/parameters").join(name);
            let value = fs::read_to_string(&file).unwrap();
            fs::write(&file, "Y").unwrap();
            (file, value)
        });
        Self(previous.into())
    }
}

impl Drop for OverlayDefaults {
    fn drop(&mut self) {
        for (file, value) in &self.0 {
            let _ = fs::write(file, value);
        }
    }
}

#[test]
fn the_kernels_defaults_do_not_change_a_layer() {
    const DOCKERFILE: &str = "FROM base\nRUN mv /d /d2\nRUN chmod 700 /bin/busybox\n";
    let _defaults = OverlayDefaults::switch_on();
    let bed = TestBed::with_base(DOCKERFILE);
    let image = bed.built();
    // With redirect_dir, the moved folder would be empty but for an attribute.
    assert_eq!(image.layers[1].paths(), [".wh.d", "d2/", "d2/a", "d2/b", "d2/sub/", "d2/sub/c"]);
    assert_eq!(image.layers[1].entry("d2/a").content, b"a\n");
    // With metacopy, the file would have no bytes.
    let busybox = image.layers[2].entry("bin/busybox");
    assert_eq!((busybox.mode, busybox.size), (0o700, fs::metadata("/bin/busybox").unwrap().len()));
}

#[test]
fn a_copied_store_works() {
    let mut bed = TestBed::with_base("FROM base\nRUN rm -r /d && mkdir /d && touch /d/n\n");
    let image = bed.built();
    let original = bed.store().to_owned();
    bed.move_store("copy");
    Run::of(Command::new("cp").arg("-a").args([&original, bed.store()])).success();
    fs::remove_dir_all(&original).unwrap();

    assert_eq!(bed.built().diff_ids(), image.diff_ids());
    bed.dockerfile(
        "FROM base\nRUN rm -r /d && mkdir /d && touch /d/n\nRUN test \"$(ls /d)\" = n && touch /more\n",
    );
    assert_eq!(bed.built().top_layer().paths(), ["more"]);
}

#[test]
fn a_store_may_have_any_name() {
    for name in ["a:b,c", "back\\slash", "white space", "Ünïcode"] {
        let mut bed = TestBed::new();
        bed.move_store(name);
        bed.load_base("base", &lbuild_tests::BaseImage::busybox());
        bed.dockerfile("FROM base\nRUN rm /d/a\nRUN test ! -e /d/a && echo > /d/n\n");
        assert_eq!(bed.built().top_layer().paths(), ["d/", "d/n"], "{name}");
    }
}

#[test]
fn a_store_on_an_overlay_works_and_says_what_it_costs() {
    let bed = TestBed::new();
    let base = bed.folder().join("base.tar");
    lbuild_tests::BaseImage::busybox().write("base", &base);
    bed.dockerfile("FROM base\nRUN rm -r /d && mkdir /d && touch /d/n\nRUN test \"$(ls /d)\" = n\n");
    // As in a container: what is below the store is an overlay already.
    let script = r#"set -e
        cd "$BED" && mkdir lower upper work merged
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
        export LBUILD_ROOT="$BED/merged/store"
        "$LBUILD" load -i base.tar
        "$LBUILD" build --progress plain -t image -o image.tar context"#;
    let script_file = bed.folder().join("script");
    fs::write(&script_file, script).unwrap();
    fs::set_permissions(&script_file, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-e"]).arg(&script_file);
    command.env("BED", bed.folder()).env("LBUILD", lbuild_tests::lbuild_binary());
    Run::of(&mut command).success().says(&["overlay"]);

    let image = lbuild_tests::Image::read(&bed.folder().join("image.tar"));
    assert_eq!(image.top_layer().paths(), ["d/", "d/.wh..wh..opq", "d/n"]);
}

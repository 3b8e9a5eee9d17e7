//! `-o`, `--iidfile`, `-q`: where an image goes.

use std::fs;
use std::path::Path;
use std::process::Command;

use lbuild_tests::{Image, Run, TestBed};

fn bed() -> TestBed {
    TestBed::with_base("FROM base\nRUN rm -r /d && mkdir /d && echo new > /d/n && chown 1000:1000 /d/n\n")
}

#[test]
fn one_archive_is_both_a_docker_archive_and_an_oci_layout() {
    let bed = bed();
    let archive = bed.folder().join("image.tar");
    let path = archive.to_str().unwrap();
    let tags = serde_json::json!([format!("{}:latest", bed.name())]);
    for (output, tags) in [
        (path.to_owned(), Some(&tags)),
        (format!("type=docker,dest={path}"), Some(&tags)),
        // An OCI archive that was asked for is no more than that.
        (format!("type=oci,dest={path}"), None),
    ] {
        bed.build(["-o", &output]).success();
        let image = Image::read(&archive);
        assert_eq!(image.top_layer().paths(), ["d/", "d/.wh..wh..opq", "d/n"], "{output}");
        assert_eq!(image.docker_manifest.as_ref().map(|manifest| &manifest[0]["RepoTags"]), tags, "{output}");
        fs::remove_file(&archive).unwrap();
    }
}

#[test]
fn an_archive_goes_to_a_pipe() {
    let bed = bed();
    let archive = bed.folder().join("image.tar");
    for output in ["-", "type=docker,dest=-"] {
        let run = bed.build(["-o", output]).success();
        fs::write(&archive, &run.stdout).unwrap();
        assert_eq!(Image::read(&archive).layers.len(), 2, "{output}");
    }
}

#[test]
fn an_output_whose_disk_is_full_is_named() {
    let bed = bed();
    bed.build([""; 0]).success();
    // The mount is in a namespace of its own and ends with it.
    let script = "mount -t tmpfs -o size=100k none \"$0\" && exec \"$@\"";
    let disk = bed.folder().join("disk");
    fs::create_dir(&disk).unwrap();
    let context = bed.context().to_str().unwrap();
    let (file, folder) = (format!("{}/image.tar", disk.display()), format!("{}/files", disk.display()));
    for (arguments, path) in [
        (&["build", "-o", &file, context][..], &file),
        (&["build", "-o", &format!("type=tar,dest={file}"), context], &file),
        (&["build", "-o", &format!("type=local,dest={folder}"), context], &folder),
        (&["build", "-o", &format!("type=oci,tar=false,dest={folder}"), context], &folder),
        (&["save", "-o", &file, &bed.name()], &file),
    ] {
        let lbuild = bed.command(arguments);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(&disk);
        command.arg(lbuild.get_program()).args(lbuild.get_args());
        command.envs(lbuild.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let parts = [&format!("cannot write {path}"), "No space left on device", "help: free space"];
        Run::of(&mut command).failure(1).says(&parts);
    }
}

#[test]
fn layers_can_be_compressed() {
    let bed = bed();
    let plain = bed.built();
    for (name, suffix) in [("gzip", "gzip"), ("zstd", "zstd")] {
        let archive = bed.folder().join(format!("{name}.tar"));
        bed.build(["-o", &format!("type=oci,dest={},compression={name}", archive.display())]).success();
        let image = Image::read(&archive);
        assert_eq!(image.diff_ids(), plain.diff_ids());
        for layer in image.manifest["layers"].as_array().unwrap() {
            assert!(layer["mediaType"].as_str().unwrap().ends_with(suffix), "{layer}");
        }
    }
}

#[test]
fn the_root_file_system_goes_to_a_folder_or_a_tar() {
    let bed = bed();
    let (tree, tar, unpacked) =
        (bed.folder().join("tree"), bed.folder().join("root.tar"), bed.folder().join("unpacked"));
    bed.build(["-o", &format!("type=local,dest={}", tree.display())]).success();
    bed.build(["-o", &format!("type=tar,dest={}", tar.display())]).success();
    fs::create_dir(&unpacked).unwrap();
    Run::of(Command::new("tar").arg("-xpf").arg(&tar).arg("-C").arg(&unpacked)).success();
    // Files in a folder belong to the user who asked for them; a tar keeps their owners.
    for (root, owner) in [(&tree, 0), (&unpacked, 1000)] {
        assert_root(root, owner);
    }
}

/// The base image with the folder `/d` replaced.
#[track_caller]
fn assert_root(root: &Path, owner: u32) {
    use std::os::unix::fs::MetadataExt;
    let names: Vec<_> =
        fs::read_dir(root.join("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["n"], "{}", root.display());
    assert_eq!(fs::metadata(root.join("d/n")).unwrap().uid(), owner);
    assert_eq!(fs::metadata(root.join("script")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::metadata(root.join("linked-1")).unwrap().nlink(), 2);
    assert_eq!(fs::read_link(root.join("bin/sh")).unwrap(), Path::new("busybox"));
}

#[test]
fn a_layout_goes_to_a_folder() {
    let bed = bed();
    let folder = bed.folder().join("layout");
    bed.build(["-o", &format!("type=oci,tar=false,dest={}", folder.display())]).success();
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    assert!(folder.join("blobs").join(digest.replace(':', "/")).exists());
    let other = TestBed::new();
    other.lbuild(["load", "-i", folder.to_str().unwrap()]).success();
}

#[test]
fn an_output_that_was_there_is_replaced_only_by_a_good_one() {
    let bed = bed();
    let archive = bed.folder().join("image.tar");
    fs::write(&archive, "old").unwrap();
    bed.file("bad/Dockerfile", "FROM base\nRUN false\n");
    bed.lbuild(["build", "-o", archive.to_str().unwrap(), bed.context().join("bad").to_str().unwrap()])
        .failure(1);
    assert_eq!(fs::read(&archive).unwrap(), b"old");
    bed.build(["-o", archive.to_str().unwrap()]).success();
    Image::read(&archive);
}

#[test]
fn quiet_prints_only_the_id() {
    let bed = bed();
    let file = bed.folder().join("id");
    let run = bed.build(["-q", "--iidfile", file.to_str().unwrap()]).success();
    let id = bed.image(&bed.name()).id;
    assert_eq!((run.text().trim(), run.stderr.as_str()), (id.as_str(), ""));
    assert_eq!(fs::read_to_string(file).unwrap().trim(), id);
}

#[test]
fn a_build_says_how_its_image_is_used() {
    let bed = bed();
    let build = bed.build([""; 0]).success();
    let command = format!("lbuild save {}:latest | docker load", bed.name());
    assert!(build.text().contains(&command), "{build}");
}

#[test]
fn a_docker_that_is_not_there_is_named() {
    let bed = bed();
    let nowhere = format!("unix://{}", bed.folder().join("no.sock").display());
    let build = Run::of(bed.build_command(["--load"]).env("DOCKER_HOST", nowhere));
    build.failure(1).says(&["no.sock", "is it running"]);
}

#[test]
fn annotations_are_the_manifests() {
    let bed = TestBed::with_base("FROM base\n");
    let platform = format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
    let archive = bed.folder().join("image.tar");
    let arguments = [
        "--annotation=a=plain".to_owned(),
        "--annotation=manifest:b=of the manifest".to_owned(),
        format!("--annotation=manifest[{platform}]:c=x=y"),
        "--annotation=manifest[linux/s390x]:d=of another platform".to_owned(),
        format!("--output=type=oci,dest={}", archive.display()),
    ];
    bed.build(&arguments).success();
    let annotations = Image::read(&archive).manifest["annotations"].take();
    assert_eq!(annotations, serde_json::json!({"a": "plain", "b": "of the manifest", "c": "x=y"}));
    for level in ["index", "manifest-descriptor", "index-descriptor"] {
        bed.build([format!("--annotation={level}:e=f")]).failure(2).says(&[level]);
    }
}

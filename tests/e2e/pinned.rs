//! Digests of images as they were when they were first built: work on speed must not change a byte.
//!
//! A digest here changes only with a decision about the format, which the commit tells.

use lbuild_tests::{Image, Run, TestBed};

/// Seconds since the Unix epoch.
const EPOCH: &str = "1700000000";

/// Builds at [`EPOCH`] without the cache into an archive and reads that.
fn build(bed: &TestBed, compression: &str) -> Image {
    let archive = bed.folder().join(format!("{compression}.tar"));
    let output = format!("type=oci,dest={},compression={compression}", archive.display());
    let mut command = bed.build_command(["--no-cache", "--platform", "linux/amd64", "-o", &output]);
    Run::of(command.env("SOURCE_DATE_EPOCH", EPOCH)).success();
    Image::read(&archive)
}

/// The first digits of a digest.
fn short(digest: &str) -> &str {
    &digest["sha256:".len()..][..16]
}

/// Text that compresses somewhat, longer than a block of any compressor here.
fn long_text() -> String {
    let mut state = 1_u32;
    let mut word = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        format!("{:x} ", state >> 20)
    };
    (0..1_000_000).map(|_| word()).collect()
}

#[test]
fn an_image_of_copied_files_has_the_same_manifest_in_every_compression() {
    let bed = TestBed::new();
    bed.dockerfile(
        "FROM scratch
         WORKDIR /made
         COPY --chown=1000:1000 folder folder
         COPY --chmod=0640 folder/a /a
         ADD archive.txt /
         COPY <<-END /inline
\ttext
\tEND
         LABEL b=2 a=1
         ENV A=1 B=2
         CMD [\"true\"]",
    );
    bed.file("folder/a", "a").file("folder/sub/b", "b").file("archive.txt", long_text());
    for (compression, expected) in
        [("uncompressed", "98375d7764573c01"), ("gzip", "8a5ccc573749fd5d"), ("zstd", "01102c74f1abbe7b")]
    {
        assert_eq!(short(&build(&bed, compression).manifest_digest), expected, "{compression}");
    }
}

#[test]
fn what_commands_change_makes_the_same_layers() {
    let bed = TestBed::with_base(
        "FROM base AS first
         RUN mkdir n && echo one > n/f && ln n/f n/g && ln -s f n/l && rm -r /d && mkfifo p
         RUN rm /etc/motd && mkdir -p /d/sub && touch /d/sub/c && chmod 4755 /d/sub/c
         RUN rm -r /d && mkdir /d && echo new > /d/n
         RUN truncate -s 1M /holes && echo end >> /holes
         RUN mkdir -p /many && for i in $(seq 300); do echo $i > /many/$i; done
         RUN chmod 600 /many/1* && chown 7:8 /many/2*
         FROM first
         COPY --from=first --chown=user /many /copy/
         COPY --link --from=first /holes /linked/",
    );
    let image = build(&bed, "uncompressed");
    let layers: Vec<_> = image.diff_ids()[1..].iter().map(|digest| short(digest)).collect();
    assert_eq!(
        layers,
        [
            "57dd4931b01aaca5",
            "8bd7912e49130d04",
            "60faff5d1606c62f",
            "b0ce9b0c1b07c648",
            "3d2280700fb349a2",
            "09ac1ae7bcd294ff",
            "9f524dc7dbd4024f",
            "88b01aafd4aa6e09",
        ]
    );
}

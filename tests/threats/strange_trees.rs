//! What a step leaves behind for those who handle its files later: the sealing, the next step, the cleaning.

use std::fs;

use lbuild_tests::Run;

use crate::row::Mode;
use crate::scene::Scene;

/// The attributes by which overlayfs marks what it hides, moves or borrows hide nothing if a step sets them.
pub fn marks_of_overlayfs(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    scene.dockerfile(
        "FROM base AS marked\nRUN mkdir /new && touch /new/file /d/new && echo x >> /d/b && \
         plant marks / /d /d/a /d/b /d/sub /new /new/file /etc\n\
         RUN cat /d/a /d/b /d/sub/c /new/file /etc/motd && ! [ -e /d/motd ]\n\
         RUN touch /new/more /d/sub/more && mv /new/file /new/moved && ls /d/sub | grep -qx c\n\
         FROM base\nCOPY --from=marked /d /new /copied/\nRUN cat /copied/a /copied/sub/c /copied/moved\n",
    );
    let image = scene.image_of_build();
    let marked = image.layers.iter().flat_map(|layer| &layer.entries);
    let marked: Vec<_> =
        marked.filter(|entry| entry.xattrs().iter().any(|name| name.contains("overlay"))).collect();
    assert!(marked.is_empty(), "{marked:?}");
}

/// Trees that are deeper than any path, names as long as may be, directories that nobody may enter.
pub fn trees_that_are_hard_to_clean(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let long = "n".repeat(255);
    for user in ["", "USER user\n"] {
        for attack in [
            "mkdir -m 777 /tmp/w; cd /tmp/w && plant deep 3000".to_owned(),
            format!("cd /tmp && touch {long} && mkdir -p $(printf '%s/' {long} {long} {long} {long} {long})"),
            "mkdir -p /tmp/a/b && touch /tmp/a/b/c && chmod 0 /tmp/a/b/c /tmp/a/b /tmp/a".to_owned(),
            "cd /tmp && touch \"$(printf '\\377\\376')\" \"$(printf 'a\\nb\\033[2J')\" -- '-rf' ' ' '*'"
                .to_owned(),
            "cd /tmp && mkfifo p && mknod s p; ln -s / root; ln -s . self; ln -s loop loop".to_owned(),
        ] {
            scene.dockerfile(&format!("FROM base\n{user}RUN {attack}\nRUN echo over > /tmp/over\n"));
            for arguments in [&["--no-cache"][..], &[]] {
                let run = scene.tried(arguments);
                assert!(!run.stderr.contains(['\u{1b}', '\u{7}']), "{run:?}");
            }
            scene.assert_untouched();
        }
    }
    // All of it goes away again.
    scene.lbuild(["rmi", &scene.name()]);
    scene.lbuild(["prune", "--all", "--force"]).success();
    scene.lbuild(["store", "check"]).success();
}

/// A process that a step leaves behind does not write to its layer, nor to a cache, when the step has ended.
pub fn a_process_that_goes_on(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    scene.dockerfile(
        "FROM base\n\
         RUN --mount=type=cache,id=c,target=/c (trap '' HUP TERM INT; cd /; setsid sh -c \
         'while :; do echo x >> /grows; echo x >> /c/grows; done' > /dev/null 2>&1 &) ; \
         until [ -s /grows ] && [ -s /c/grows ]; do :; done\n\
         RUN --mount=type=cache,id=c,target=/c one=$(cat /grows /c/grows | wc -c); i=0; \
         while [ $i -lt 300 ]; do [ $(cat /grows /c/grows | wc -c) = $one ] || exit 1; i=$((i + 1)); done; echo still\n",
    );
    let run: Run = scene.unseen(scene.build([""; 0])).success();
    assert!(run.stderr.lines().any(|line| line.ends_with(" still")), "{run}");
}

/// A step that kills what it can kill ends itself and nothing else.
pub fn a_step_that_kills_everything(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for attack in [
        "kill -9 1",
        "kill -9 -1",
        "kill -STOP -1; true",
        "kill -9 0",
        "kill -SEGV $$",
        "exec true <&- >&- 2>&-",
    ] {
        for user in ["", "USER user\n"] {
            scene.dockerfile(&format!("FROM base\n{user}RUN {attack}\nRUN echo after\n"));
            let mut build = scene.build_command(["--no-cache"]);
            let run = scene.unseen(Run::of(&mut build));
            assert!(run.status.code().is_some_and(|code| code < 256), "lbuild itself was ended: {run}");
            assert!(!run.stderr.contains("panicked"), "{run}");
        }
    }
    assert!(fs::read_dir(scene.store().join("tmp")).into_iter().flatten().next().is_none());
}

# docker: 20.10
FROM base AS seed
RUN mkdir -m 1770 /seed && chown 5:6 /seed && echo grown > /seed/f
FROM base
RUN --mount=type=cache,id=lbuild-own,target=/c,sharing=locked,mode=0750,uid=7,gid=8 test "$(stat -c %a:%u:%g /c)" = 750:7:8 && echo kept > /c/f
RUN --mount=type=cache,id=lbuild-own,target=/d,sharing=locked,mode=0750,uid=7,gid=8,ro grep -qx kept /d/f && ! touch /d/g
RUN --mount=type=cache,id=lbuild-seeded,target=/c,from=seed,source=/seed,sharing=private,mode=0700 grep -qx grown /c/f && test "$(stat -c %a:%u:%g /c)" = 1770:5:6
RUN test ! -e /c/f && test ! -e /d/f
RUN --mount=type=cache,id=lbuild-mode,target=/c,mode=1777,uid=7 test "$(stat -c %a:%u:%g /c)" = 755:7:0
RUN --mount=type=cache,id=lbuild-emptied,target=/c,from=seed,uid=7 test -z "$(ls /c)"
WORKDIR /w
RUN --mount=type=cache,target=lbuild-named,sharing=locked echo kept > lbuild-named/f
WORKDIR /v
RUN --mount=type=cache,id=lbuild-named,target=/c,sharing=locked grep -qx kept /c/f

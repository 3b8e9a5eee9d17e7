# docker: 20.10
FROM base AS seed
RUN mkdir /seed && echo grown > /seed/f
FROM base
RUN --mount=type=cache,id=lbuild-own,target=/c,sharing=locked,mode=0750,uid=7,gid=8 test "$(stat -c %a:%u:%g /c)" = 750:7:8 && echo kept > /c/f
RUN --mount=type=cache,id=lbuild-own,target=/d,sharing=locked,mode=0750,uid=7,gid=8,ro grep -qx kept /d/f && ! touch /d/g
RUN --mount=type=cache,id=lbuild-seeded,target=/c,from=seed,source=/seed,sharing=private grep -qx grown /c/f
RUN test ! -e /c/f && test ! -e /d/f

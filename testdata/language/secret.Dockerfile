# docker: 20.10
# args: --secret id=word,src={context}/secret
FROM base
RUN --mount=type=secret,id=word grep -qx sesame /run/secrets/word
RUN --mount=type=secret,id=word,target=/x/y,mode=0440,uid=7,gid=8 test "$(stat -c %a:%u:%g /x/y)" = 440:7:8
RUN --mount=type=secret,id=word,required=true true
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
RUN test ! -e /run/secrets/word

# docker: 20.10
# args: --ssh default={agent}
FROM base
RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK"
RUN --mount=type=ssh,target=/agent,mode=0666,uid=7,gid=8 test "$(stat -c %a:%u:%g /agent)" = 666:7:8 && test "$SSH_AUTH_SOCK" = /agent
RUN --mount=type=ssh,id=absent true
RUN test -z "$SSH_AUTH_SOCK"

# docker: 28
# args: --secret id=word,src={context}/secret
FROM base
RUN --mount=type=secret,id=word,env=TOKEN test "$TOKEN" = sesame && test ! -e /run/secrets/word
RUN --mount=type=secret,id=word,env=TOKEN,target=/both test "$TOKEN" = "$(cat /both)"
RUN test -z "$TOKEN"
RUN --mount=type=secret,id=absent,env=GONE,target=/gone test "${GONE-unset}" = "" && test ! -e /gone

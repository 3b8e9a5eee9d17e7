# docker: 28
FROM base
COPY --exclude=sub/* tree /without
RUN test -d /without && test ! -e /without/sub/f
ADD --exclude=tree --exclude=secret . /some/
RUN test -e /some/file && test ! -e /some/tree && test ! -e /some/secret

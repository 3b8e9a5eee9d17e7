# docker: 28
FROM base
COPY --link file /new/folder/
COPY --link --chown=7:8 tree /owned
RUN test "$(cat /new/folder/file)" = file && test "$(stat -c %u:%g /owned/sub/f)" = 7:8 && test "$(cat /etc/motd)" = Welcome.

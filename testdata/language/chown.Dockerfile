# docker: 20.10
# Owners by name and id. An empty group behind a colon, as a variable that is not there gives it, is root's.
FROM base
ARG group
ENV owner=1000
COPY --chown=1000 file /id
COPY --chown=1000:7 file /ids
COPY --chown=${owner}:${group} file /empty-group
COPY --chown=:7 file /empty-user
COPY --chown=nobody-here:7 file /unknown-user
RUN test "$(stat -c %u:%g /id /ids /empty-group | tr '\n' ' ')" = '1000:1000 1000:7 1000:0 '
RUN test "$(stat -c %u:%g /empty-user /unknown-user | tr '\n' ' ')" = '0:7 0:7 '

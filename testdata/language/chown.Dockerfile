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
RUN stat -c '%n %u:%g' /id /ids /empty-group /empty-user /unknown-user | tee /owners && test "$(cat /owners)" = "\
/id 1000:1000
/ids 1000:7
/empty-group 1000:0
/empty-user 0:7
/unknown-user 0:7"

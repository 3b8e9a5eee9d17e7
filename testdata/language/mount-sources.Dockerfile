# docker: 20.10
FROM base
RUN --mount=source=nowhere/../tree/.,target=/one --mount=source=tree,target=/two test "$(ls /one)" = "$(ls /two)"
RUN --mount=target=/all --mount=source=tree,target=/one test "$(stat -c %a:%u:%g:%Y /all/tree)" = "$(stat -c %a:%u:%g:%Y /one)"

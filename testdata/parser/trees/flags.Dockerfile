FROM --platform=linux/amd64 base AS x
COPY --from=x --chown="a b" --chmod=\7\5\5 a /b
ADD --link --checksum='sha256:0' a /b
RUN --mount=type=cache,\
    target=/x \
    --network=none command --flag
RUN -- --not-a-flag
RUN --
HEALTHCHECK --interval=5s --timeout=1s CMD command
CMD - a

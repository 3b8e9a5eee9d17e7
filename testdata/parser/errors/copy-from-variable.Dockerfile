ARG x=y
FROM base
COPY --from=${x} a /

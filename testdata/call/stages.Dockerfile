ARG BASE=scratch
# first is where it begins
# and goes on
FROM ${BASE} AS first
COPY a /

FROM first as second
COPY b /

FROM --platform=linux/arm64 scratch AS third-one
COPY c /

# the last has no name
FROM scratch
COPY --from=second /b /

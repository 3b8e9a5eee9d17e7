# syntax=docker/dockerfile:1
FROM base AS build
RUN a \
 # comment
 b
FROM build

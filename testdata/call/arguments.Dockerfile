# check=skip=all
# VERSION is the release that is built
ARG VERSION=1.2
# ARCH has no default
ARG ARCH

# build compiles it
FROM scratch AS build
ARG VERSION
# JOBS says how many compilers run
ARG JOBS=4
ARG FLAGS="-O2 -g"
ARG UNUSED
COPY . /src
RUN --mount=type=secret,id=token,required=true --mount=type=ssh configure $VERSION
RUN --mount=type=secret,id=other,target=/x \
    --mount=type=ssh,id=deploy,required \
    --mount=type=cache,id=objects,target=/cache \
    --mount=type=cache,target=/more,sharing=locked,ro \
    make -j$JOBS

FROM scratch AS image
# USER_NAME runs it
ARG USER_NAME=app
COPY --from=build /src/out /

# docker: never, it is Buildah's
# args: --build-arg-file {context}/arguments
# config: {"Labels": {"given": "from the file"}}
FROM base
ARG given
LABEL given=$given

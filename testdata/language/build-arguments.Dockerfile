# docker: 20.10
# args: --build-arg given=x --build-arg LBUILD_CASE
# config: {"Labels": {"all": "x/from the environment/default"}}
FROM base
ARG given=default
ARG LBUILD_CASE=default
ARG other=default
LABEL all="$given/$LBUILD_CASE/$other"

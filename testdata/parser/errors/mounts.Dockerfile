FROM base
RUN --mount=type=cahce,target=/x \
    --mount=typ=cache \
    --mount=type=cache,\
target=/x,mode=9 y
RUN --mount=type=secret y
RUN --mount=from=$x,target=/y z
RUN --mount=required y
RUN --mount= y
RUN --device=a,b c
RUN --device=a,required=maybe c

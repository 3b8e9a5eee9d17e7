FROM scratch
WORKDIR relative

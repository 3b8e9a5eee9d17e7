FROM base
ENV name
ENV a=b \
    c
LABEL a=b "c d"

FROM base
RUN a \

    b \
    # a comment is no empty line
    c \

    d

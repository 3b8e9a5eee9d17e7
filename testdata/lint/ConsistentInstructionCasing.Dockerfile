FROM base
run true
RUN true

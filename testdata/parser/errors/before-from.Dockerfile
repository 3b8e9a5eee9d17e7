ARG x
RUN a
ENV b=c
FROM base

FROM base
RUN a
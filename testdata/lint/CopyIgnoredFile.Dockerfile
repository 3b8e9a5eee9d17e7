FROM base
COPY ignored /

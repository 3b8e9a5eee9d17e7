# café
FROM base
RUN echo café \
  thé

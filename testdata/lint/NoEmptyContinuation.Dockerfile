FROM base
RUN true \

  && true

FROM base as lower

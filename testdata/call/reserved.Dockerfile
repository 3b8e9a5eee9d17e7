FROM scratch AS context
COPY a /
copy b /

#syntax=docker/dockerfile:1
#   ESCAPE   =   `
# check = skip=all
FROM base
COPY a `
  C:\dir\

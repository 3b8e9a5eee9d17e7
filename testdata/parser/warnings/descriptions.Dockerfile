# check=experimental=InvalidDefinitionDescription
# this is a
ARG a=1
# b is b
ARG b=1
# c is c
ARG d e
#
ARG f
# x is a stage
FROM base AS y
# anything
COPY a /b

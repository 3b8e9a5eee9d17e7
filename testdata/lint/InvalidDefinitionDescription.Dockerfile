# check=experimental=InvalidDefinitionDescription
# something else
ARG name
FROM base

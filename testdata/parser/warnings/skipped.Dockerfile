# check=skip=FromAsCasing,StageNameCasing;error=true
FROM base as X
MAINTAINER me

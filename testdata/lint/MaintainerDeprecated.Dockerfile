FROM base
MAINTAINER someone

FROM base
MAINTAINER me
# check=skip=MaintainerDeprecated
MAINTAINER you

# check=skip=all
From base as X
MAINTAINER me

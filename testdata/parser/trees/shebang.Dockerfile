#!/usr/bin/env lbuild
# escape=`
FROM base
RUN a \
 b

FROM scratch AS First
MAINTAINER someone
ENV name value
ENV API_TOKEN=x
WORKDIR relative
COPY $NOTHING /x
CMD echo 1
EXPOSE 80/TCP

FROM scratch
LABEL a=$b \
    c=d
ENTRYPOINT exec true

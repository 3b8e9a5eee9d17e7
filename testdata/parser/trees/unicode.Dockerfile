FROM größe AS x
LABEL 名前="値 ☃" b=​
COPY --chown=ü:ö ä /é
RUN echo "́"

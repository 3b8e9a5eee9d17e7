FROM base
CMD ["a", 1]
ENTRYPOINT ["a", \
  null]
COPY [["a"], "b"]

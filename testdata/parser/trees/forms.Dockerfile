FROM base
CMD ["a", "b\u0020c", "\ud83d\ude00"]
ENTRYPOINT [ 'single' ]
RUN ["open", "array"
VOLUME ["/a b", "/c"]
VOLUME /a /b
ADD ["a b", "/"]
ADD [a, /b]
SHELL ["a"]
CMD []
CMD
HEALTHCHECK CMD ["a"]
HEALTHCHECK NONE

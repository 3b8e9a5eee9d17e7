# docker: 28
FROM base
COPY --chmod=a+x file /executable
COPY --chmod=u=rw,go= file /private
COPY --chmod=u=rwX,go=g tree /copied
COPY --chmod=go-rwx tree /closed
ADD --chmod=u+s,g+w file /marked
RUN test "$(stat -c %a /executable /private | tr '\n' ' ')" = '755 600 '
RUN test "$(stat -c %a /closed/sub /closed/sub/f /marked | tr '\n' ' ')" = '700 600 4664 '

# docker: 28
# args: --shm-size 32m --ulimit nofile=123:456
FROM base
RUN df -k /dev/shm | grep -q ' 32768 '
RUN test "$(ulimit -n)" = 123 && test "$(ulimit -Hn)" = 456

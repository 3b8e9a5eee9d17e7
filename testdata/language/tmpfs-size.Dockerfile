# docker: 28
FROM base
RUN --mount=type=tmpfs,target=/t,size=64k df -k /t | grep -q ' 64 ' && echo gone > /t/f
RUN test ! -e /t/f

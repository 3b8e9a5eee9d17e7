# docker: 28
FROM base
RUN mkdir -m 751 /covered
RUN --mount=type=tmpfs,target=/covered --mount=type=tmpfs,target=/made/new --mount=type=tmpfs,target=/ro,ro \
    test "$(stat -c %a /covered /made/new /made | tr '\n' ' ')" = "751 1777 755 " && ! touch /ro/f
RUN test "$(stat -c %a /covered)" = 751 && test ! -e /made/new && test ! -e /ro/f

FROM base
ONBUILD COPY --from=a b /c
onbuild env a=b c=d
ONBUILD CMD ["a", "b"]
ONBUILD RUN <<EOF
body
EOF
ONBUILD

# escape=`
FROM base
RUN dir C:\ `
  && dir D:\
COPY <<EOF C:\x
line
EOF
USER u

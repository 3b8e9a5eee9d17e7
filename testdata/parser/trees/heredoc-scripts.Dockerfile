# syntax=docker/dockerfile:1
FROM alpine:3
RUN <<EOF
set -e
apk add --no-cache curl
for i in 1 2 3; do
  echo $i
done
EOF
RUN <<-'PYTHON' python3
	import os
	print(os.environ["PATH"])
	PYTHON
COPY --chmod=0644 <<app.conf <<"raw.conf" /etc/app/
listen = ${PORT:-8080}
app.conf
price = $5
raw.conf

FROM base
COPY a /b
RUN <<EOF
	echo
	EOF
USER u

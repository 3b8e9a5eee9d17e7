# docker: 28
FROM base
ENV v=value
RUN cat <<'ONE' > /one && cat <<-TWO > /two
$HOME
ONE
	tab $((1+1))
	TWO
RUN grep -qxF '$HOME' /one && grep -qx 'tab 2' /two
COPY <<a <<"b" <<-c /files/
$v
a
$v
b
		cut
	c
RUN test "$(cat /files/a)" = value && test "$(cat /files/b)" = '$v' && test "$(cat /files/c)" = cut
RUN <<empty
empty
RUN 5<<EOF cat <&5 > /five
five
EOF
RUN test "$(cat /five)" = five

FROM base
RUN <<EOF
FROM is no instruction here
EOF
COPY <<-one <<"two three" /dir/
	content
	one
content
two three
RUN 3<<EOF cat <&3
text
EOF
RUN cat << EOF
apart
EOF
ENV a=<<EOF
RUN ["cat", "<<EOF"]
RUN cat <<<word
ADD <<empty /x
empty

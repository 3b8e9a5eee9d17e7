ARG a b= c="d e" f='g h' i=j\ k
FROM base
ENV a=b c="d e" f=g\ h i='j "k"' l==m
ENV name a value = with  blanks
LABEL "a b"="c" d=
LABEL single value

# docker: 20.10
# args: --label from=line --label both=line --add-host there:10.1.2.3
# config: {"Labels": {"both": "line", "file": "yes", "from": "line"}}
FROM base
LABEL both=file file=yes
RUN grep -q '^10.1.2.3[[:space:]]*there' /etc/hosts

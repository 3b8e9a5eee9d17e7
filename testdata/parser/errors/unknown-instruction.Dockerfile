FROM base
RUM echo
COPPY a /
apt-get update
apt-get install x
USER u
LABLE a=b
RUN x

# check=error=true;skip=WorkdirRelativePath
FROM scratch AS One
WORKDIR relative
CMD ["true"]

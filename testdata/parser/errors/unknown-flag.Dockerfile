FROM --plattform=x base
COPY --form=x --link=yes --link --chown a /b
RUN --mount --network=hosts --security=no --what x
USER --x u
HEALTHCHECK --retires=1 CMD x
ADD --keep-git-dir= --exclude=a --exclude=b --checksum=1 --checksum=2 a /

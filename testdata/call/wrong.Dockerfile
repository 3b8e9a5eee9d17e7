FROM scratch
COPPY a /

# docker: 20.10
# config: {"Healthcheck": {"Test": ["NONE"]}}
FROM base
HEALTHCHECK CMD true
HEALTHCHECK NONE

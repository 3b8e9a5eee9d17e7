# docker: 28
# config: {"Healthcheck": {"Test": ["CMD-SHELL", "true || exit 1"], "StartInterval": 2000000000}}
FROM base
HEALTHCHECK --start-interval=2s CMD true || exit 1

FROM base
HEALTHCHECK --interval=5 --timeout=1d --start-period=1us --start-interval=-5s --retries=-1 CMD x
HEALTHCHECK --retries=many CMD x

# docker: 20.10
# config: {"Healthcheck": {"Test": ["CMD", "true", "a b"], "Interval": 90000000000, "Timeout": 1500000000, "StartPeriod": 3600000000000, "Retries": 5}}
FROM base
HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=1h --retries=5 CMD ["true", "a b"]

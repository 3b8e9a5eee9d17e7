FROM base AS scratch
FROM base AS a
FROM base AS A
FROM base AS context

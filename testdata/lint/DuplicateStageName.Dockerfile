FROM base AS one
FROM base AS one

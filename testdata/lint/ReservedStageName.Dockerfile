FROM base AS context

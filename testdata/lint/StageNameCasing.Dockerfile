FROM base AS Upper

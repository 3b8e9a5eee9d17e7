FROM base
ENV name value

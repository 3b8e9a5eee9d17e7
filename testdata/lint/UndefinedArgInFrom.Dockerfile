FROM base$TAG

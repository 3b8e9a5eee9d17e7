FROM --platform=linux/amd64 base

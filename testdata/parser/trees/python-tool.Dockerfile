FROM python:3.13-slim

LABEL org.opencontainers.image.title="A tool" \
      org.opencontainers.image.licenses="MIT"

RUN set -eux; \
    apt-get update; \
    apt-get install -y --no-install-recommends \
        build-essential \
        # needed by the wheel below
        libffi-dev \
    ; \
    rm -rf /var/lib/apt/lists/*

COPY requirements.txt /tmp/
RUN pip install --no-cache-dir -r /tmp/requirements.txt

RUN for name in one two; do \
      echo "$name: \"quoted\" and 'single'"; \
    done

ONBUILD COPY . /work
ONBUILD RUN pip install /work
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN echo "a | b" | tr a-z A-Z > /etc/banner
ENTRYPOINT python -m tool

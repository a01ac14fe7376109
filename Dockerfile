# One image for every service: `headrace orchestrator`, `headrace worker POOL`, `headrace topics apply`, …
# glibc, not musl: librdkafka comes in manylinux wheels.
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.13-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /src

# What changes rarely comes first. The lock is the constraint: with --require-hashes nothing outside it is installed.
# The lock also holds the tools of the developers; this way they stay out of the image.
COPY pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv --quiet /opt/headrace \
    && uv pip install --quiet --python /opt/headrace --require-hashes --constraint requirements.lock \
       --extra objects --extra tokens --extra speed --requirements pyproject.toml \
    && echo hatchling > build-tools.txt \
    && uv venv --quiet /opt/build \
    && uv pip install --quiet --python /opt/build --require-hashes --constraint requirements.lock \
       --requirements build-tools.txt

COPY . .
RUN /opt/build/bin/hatchling build --target wheel --directory /dist \
    && uv pip install --quiet --python /opt/headrace --no-deps /dist/*.whl

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="Headrace" \
      org.opencontainers.image.description="Orchestration of LLM work on Kafka" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEADRACE_DATA_DIR=/var/lib/headrace \
    HEADRACE_ADMIN__HOST=0.0.0.0 \
    HEADRACE_ADMIN__PORT=9464
# The base image has no bytecode of the standard library, and a user who may not write would compile what our services
# import of it again at each start: 0.4 s of CPU time.
RUN env -u PYTHONDONTWRITEBYTECODE python -c \
    "import headrace.console.cli, headrace.orchestrator.__main__, headrace.workers.__main__"
# Numeric, so that `runAsNonRoot` can be checked without a look into /etc/passwd.
RUN mkdir -p /var/lib/headrace/objects && chown -R 10001:10001 /var/lib/headrace
USER 10001:10001
WORKDIR /var/lib/headrace
EXPOSE 9464
ENTRYPOINT ["headrace"]
CMD ["--help"]

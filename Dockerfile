# syntax=docker/dockerfile:1
# One image for the service and the agent. Build: docker build --build-arg EXTRAS="aws azure" -t sigmascale .
# Every package is pinned with its hash: what builds by deploy/requirements-build.lock, what runs by requirements.lock.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY deploy/requirements-build.lock deploy/requirements-build.lock
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r deploy/requirements-build.lock
COPY pyproject.toml requirements.lock ./
# Clouds are extras, by name: aws, azure. What they need stays a layer of its own, which changes with the lock file only.
ARG EXTRAS=""
RUN /opt/build/bin/uv venv --python python3 /opt/sigmascale
RUN for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done; \
    /opt/build/bin/uv pip install --python /opt/sigmascale/bin/python --compile-bytecode --only-binary :all: \
    --require-hashes --constraints requirements.lock -r pyproject.toml "$@"
COPY README.md LICENSE NOTICE ./
COPY autoscaler autoscaler
COPY collectors collectors
COPY providers providers
COPY rules rules
COPY dashboards dashboards
RUN /opt/build/bin/uv build --wheel --python python3 --require-hashes --build-constraints requirements.lock --out-dir /wheel .
RUN /opt/build/bin/uv pip install --python /opt/sigmascale/bin/python --compile-bytecode --no-deps /wheel/*.whl

FROM python:${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sigmascale" \
      org.opencontainers.image.description="Autoscaling of GPU inference fleets: the service and the agent of a node" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 sigmascale \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/sigmascale --shell /usr/sbin/nologin sigmascale \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/sigmascale \
    && install -d /etc/sigmascale
COPY --from=build /opt/sigmascale /opt/sigmascale
ENV PATH=/opt/sigmascale/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SIGMASCALE_CONFIG=/etc/sigmascale/config.yaml \
    HEALTH_URL=http://127.0.0.1:9377/healthz
# The only place that is written to, besides /tmp: run it with --read-only --tmpfs /tmp.
VOLUME /var/lib/sigmascale
WORKDIR /var/lib/sigmascale
USER 10001:10001
EXPOSE 9377 9400
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "autoscaler.cli.healthy"]
ENTRYPOINT ["sigmascale"]
CMD ["run"]

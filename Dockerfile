# The image of harmony-agent with all extras. Build it with BuildKit, buildah or podman:
#
#   docker build --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
#
# Any Debian image with Python 3.11 or later and pip will do as BASE; pin it by digest for releases.
ARG BASE=python:3.11-slim

FROM ${BASE} AS builder
WORKDIR /build
RUN python -m venv --without-pip /opt/harmony-agent
# First the dependencies, which change seldom: this layer is made anew only with these files.
COPY pyproject.toml README.md constraints.txt ./
COPY harmony_agent/__init__.py harmony_agent/
RUN python -m pip --python /opt/harmony-agent/bin/python install \
        --no-cache-dir --no-compile -c constraints.txt '.[all]'
COPY . .
RUN python -m pip --python /opt/harmony-agent/bin/python install \
        --no-cache-dir --no-compile --no-deps --force-reinstall . \
    && python entrypoint/slim_image.py /opt/harmony-agent \
    # The image is read-only where it runs, so what is not compiled here is compiled at every start.
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/harmony-agent/lib

FROM ${BASE}
# tini is process 1: it reaps orphans of `exec` probes, hands signals on and keeps the exit code.
# hadolint ignore=DL3008 # Debian keeps one version of each in a release: the one with the fixes
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tini tzdata \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/apt/* /var/cache/debconf/*-old \
    # Nothing is installed in a running container; the base brings its library without bytecode.
    && rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip/_bundled \
        /usr/local/bin/pip* /usr/local/bin/wheel \
    && python -m compileall -q -j 0 -x '/(test|idlelib|lib2to3|tkinter|ensurepip)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    # Mount points: a named volume takes owner and mode from here. Group 0 writes, too, since
    # OpenShift runs containers under a user of its own and group 0.
    && install -d -o 1000 -g 0 -m 0775 /opt/harmony /run/harmony-agent /var/lib/harmony-agent \
    && install -d -m 0755 /var/secrets
COPY --from=builder /opt/harmony-agent /opt/harmony-agent

ENV PATH=/opt/harmony-agent/bin:$PATH \
    HOME=/var/lib/harmony-agent \
    PYTHONDONTWRITEBYTECODE=1 \
    # glibc otherwise gives every busy thread an arena, and what is freed in it is seldom returned.
    MALLOC_ARENA_MAX=2
# Harmony's own user by default: both write on the same volumes.
USER 1000:0
WORKDIR /var/lib/harmony-agent
EXPOSE 8090
STOPSIGNAL SIGTERM
# For plain `docker run`; Kubernetes uses its own probes. The start waits for the repositories.
HEALTHCHECK --interval=60s --timeout=10s --start-period=5m --retries=3 \
    CMD ["harmony-agent", "status"]
# -s: reaps also where it is not process 1, in a shared process namespace.
ENTRYPOINT ["tini", "-s", "--", "harmony-agent"]
CMD ["run"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="harmony-agent" \
      org.opencontainers.image.description="Sidecar for Cleo Harmony containers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# An image that runs m3ray: by hand, as a node of `ray up` (docs/environment.md), and on Kubernetes (docs/kuberay.yaml).
#   docker build -t m3ray .                          PyTorch with CUDA, which also runs without a GPU
#   docker build -t m3ray:cpu --build-arg TORCH=cpu .   for processors alone, without the 4.3 GB of CUDA
#   docker run --rm -v "$PWD:/data" m3ray m3ray score --bundle /data/results/models/m3s /data/new.mp4
# CUDA comes with PyTorch, so both start from the same Python, named by its digest: no later push changes it.
ARG BASE=python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE} AS install
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG TORCH=cuda
# Builds of PyTorch for processors alone are not on PyPI.
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/m3ray
ENV PATH=/opt/m3ray/bin:$PATH
COPY requirements.lock /src/
# Every package in one version and with its hashes. The builds for processors alone are other files, whose hashes the
# lock lacks: PyTorch and torchvision in the lock's versions, and none of the packages that only CUDA needs.
RUN case "$TORCH" in \
    cuda) pip install --require-hashes -r /src/requirements.lock ;; \
    cpu) awk '/^[a-z]/ { cuda = /^(torch|torchvision|triton)==|^(cuda|nvidia)-/ } !cuda' /src/requirements.lock > /src/cpu.lock \
    && pip install --require-hashes -r /src/cpu.lock \
    && grep -oE '^(torch|torchvision)==[0-9.]+' /src/requirements.lock > /src/torch.txt \
    && pip install --no-deps --index-url "$CPU_INDEX" -r /src/torch.txt ;; \
    *) echo "TORCH is $TORCH, expected cuda or cpu" >&2; exit 2 ;; \
    esac
COPY pyproject.toml README.md LICENSE MANIFEST.in /src/
COPY m3ray /src/m3ray
# setuptools, which builds it, is in the lock too. pip check: nothing that a package asks for is missing.
RUN pip install --no-deps --no-build-isolation /src && pip check

FROM ${BASE}
# KubeRay asks the head and the workers for their health with wget.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ray
COPY --from=install /opt/m3ray /opt/m3ray
# Compiled code, weights and Ray's sessions go to places that a home that cannot be written does not take away.
ENV PATH=/opt/m3ray/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    M3RAY_CACHE=/tmp/m3ray \
    MPLCONFIGDIR=/tmp/matplotlib \
    OMP_WAIT_POLICY=PASSIVE \
    RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/ray
HEALTHCHECK --interval=5m --timeout=30s --start-period=10s CMD ["m3ray", "doctor", "--quick"]
CMD ["m3ray", "--help"]

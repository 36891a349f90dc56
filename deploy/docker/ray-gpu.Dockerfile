# A Ray node with models, for machines with an NVIDIA card (the card's driver is the machine's own; CUDA's libraries
# come with torch). Build it in the root of the checkout, on x86-64:
#   docker build -f deploy/docker/ray-gpu.Dockerfile -t melodeon-ray-gpu .
# Settings come as MELODEON_* variables, secrets as files under /var/lib/melodeon/secrets, weights in a volume; none are
# in the image. KubeRay puts its own `ray start` in the place of the command.
FROM python:3.11-slim-bookworm

# skia, which letters the covers, is linked with the first three; KubeRay's probes call wget.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libexpat1 libgl1 wget \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/melodeon
# torch by itself first: the largest part by far, and the one that changes least.
COPY constraints.txt .
RUN python -m pip install --no-cache-dir -c constraints.txt torch==2.13.0
RUN python -c "import torch; assert torch.__version__.split('+')[0] == '2.13.0' and torch.version.cuda, torch.__version__"
COPY . .
RUN python -m pip install --no-cache-dir -c constraints.txt -e ui/components/melodeon_ui -e '.[models]'
RUN python -m compileall -q analytics billing configs data serving studio ui

RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/melodeon melodeon \
    && install -d -o melodeon -g melodeon -m 0700 /var/lib/melodeon /models
ENV HOME=/var/lib/melodeon \
    MELODEON_VAR=/var/lib/melodeon \
    MELODEON_MODELS__FOLDER=/models \
    NUMBA_CACHE_DIR=/var/lib/melodeon/cache/numba \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0
USER 10001
WORKDIR /var/lib/melodeon
VOLUME ["/var/lib/melodeon", "/models"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["wget", "-q", "-T", "4", "-O", "/dev/null", "http://127.0.0.1:52365/api/local_raylet_healthz"]
# Ray refuses to start without the token: RAY_AUTH_TOKEN. A node that joins runs: ray start --block --address=HEAD:6379
ENV RAY_AUTH_MODE=token
CMD ["ray", "start", "--head", "--block", "--dashboard-host=127.0.0.1"]

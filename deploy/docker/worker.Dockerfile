# The worker, which takes the jobs; also `melodeon migrate` and every other command. Build it in the root of the checkout:
#   docker build -f deploy/docker/worker.Dockerfile -t melodeon-worker .
# Settings come as MELODEON_* variables, secrets as files under /var/lib/melodeon/secrets; none are in the image.
FROM python:3.11-slim-bookworm

# skia, which the commands bring in, is linked with these.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libexpat1 libgl1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/melodeon
COPY . .
RUN python -m pip install --no-cache-dir -c constraints.txt -e ui/components/melodeon_ui -e .
RUN python -m compileall -q analytics billing configs data serving studio ui

RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/melodeon melodeon \
    && install -d -o melodeon -g melodeon -m 0700 /var/lib/melodeon
ENV HOME=/var/lib/melodeon \
    MELODEON_VAR=/var/lib/melodeon \
    NUMBA_CACHE_DIR=/var/lib/melodeon/cache/numba \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/melodeon
VOLUME /var/lib/melodeon
# The worker touches this file after every look at the queue.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["sh", "-c", "test $(( $(date +%s) - $(stat -c %Y /var/lib/melodeon/run/worker.beat) )) -lt 300"]
CMD ["python", "-m", "serving.worker"]

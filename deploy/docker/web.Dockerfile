# The web process: pages and HTTP doors. Build it in the root of the checkout:
#   docker build -f deploy/docker/web.Dockerfile -t melodeon-web .
# Settings come as MELODEON_* variables, secrets as files under /var/lib/melodeon/secrets; none are in the image.
FROM python:3.11-slim-bookworm

# skia, which letters the covers, is linked with these.
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
    MELODEON_WEB__HOST=0.0.0.0 \
    NUMBA_CACHE_DIR=/var/lib/melodeon/cache/numba \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/melodeon
VOLUME /var/lib/melodeon
EXPOSE 8600
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8600/api/v1/health', timeout=4)"]
CMD ["python", "-m", "ui.server"]

# `geneface serve` in a container: docs/serve.md, "In a container".
#   docker build -t geneface . && docker run -p 127.0.0.1:8000:8000 -v geneface:/data geneface

FROM python:3.12-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The kernels are compiled for every instruction set and chosen at run time: the image runs on any machine of its kind.
RUN python -m venv /opt/geneface \
    && /opt/geneface/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[web,webrtc]'

FROM python:3.12-slim
COPY --from=build /opt/geneface /opt/geneface
# The folder belongs to the user before it becomes a volume, so that a new volume does, too.
RUN useradd --uid 10001 --create-home geneface \
    && install --directory --owner=geneface --group=geneface --mode=0700 /data
USER geneface
WORKDIR /home/geneface
ENV PATH=/opt/geneface/bin:$PATH PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["geneface", "serve", "--host", "0.0.0.0", "--home", "/data"]

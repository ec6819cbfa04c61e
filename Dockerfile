# `geneface serve` in a container: docker build -t geneface . ; docs/serve.md, "In a container".
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml CMakeLists.txt constraints.txt README.md LICENSE THIRD_PARTY_NOTICES.md ./
COPY csrc csrc
COPY src src
RUN python -m venv /opt/geneface \
    && /opt/geneface/bin/python -m pip install --no-cache-dir -c constraints.txt '.[web,webrtc]'

FROM python:3.13-slim
COPY --from=build /opt/geneface /opt/geneface
RUN useradd --system --uid 10001 --no-create-home geneface && mkdir -m 700 /data && chown geneface /data
USER geneface
ENV PATH=/opt/geneface/bin:$PATH PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/tmp
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# Options go behind the image's name.
ENTRYPOINT ["geneface", "serve", "--host", "0.0.0.0", "--home", "/data"]

# edgepress for CI and for machines without Python, on the processor alone.
#   docker build -t edgepress .
#   docker run --rm -v "$PWD":/work edgepress inspect model.keras
# EXTRAS as in pip install ".[EXTRAS]": --build-arg EXTRAS=all
FROM python:3.11-slim-bookworm
ARG EXTRAS=devices
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 CUDA_VISIBLE_DEVICES=-1
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY package package
COPY compress compress
COPY benchmarks benchmarks
COPY deploy deploy
RUN python -m pip install ".[${EXTRAS}]"
RUN edgepress --version && python -c "import edgepress.deploy.exporting.export"
RUN useradd --create-home edgepress
USER edgepress
WORKDIR /work
ENTRYPOINT ["edgepress"]
CMD ["--help"]

# docker build -t byol .                                  for processors
# docker build -t byol:cuda --build-arg TORCH=cu130 .     for NVIDIA GPUs: docker run --gpus all
# docker run --rm -v "$PWD:/work" byol pretrain photos/ --out runs/photos
FROM python:3.12-slim

# Passed to uv: cpu, or a CUDA version that this release of PyTorch is built for.
ARG TORCH=cpu
# The version of the package; the build has no git.
ARG VERSION=0.1.0

WORKDIR /opt/byol
RUN pip install --no-cache-dir "uv>=0.8" \
    && uv pip install --system --no-cache --torch-backend="$TORCH" "torch>=2.10" "torchvision>=0.25"
COPY pyproject.toml README.md LICENSE ./
COPY BYOL BYOL
# hadolint ignore=DL3013
RUN SETUPTOOLS_SCM_PRETEND_VERSION="$VERSION" pip install --no-cache-dir ".[tiff,dicom,heif]" \
    && useradd --uid 1000 --create-home byol

USER 1000
WORKDIR /work
ENTRYPOINT ["byol"]
CMD ["--help"]

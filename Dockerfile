# fki on a CPU, with the versions that its tests use.
#   docker build -t fki .
#   docker run --rm -it -v "$PWD:/work" fki train --preset t5_recadam --version quarter
# torch comes from pip's own index, on Linux with its CUDA libraries; another index, such as torch's
# own for CPUs:   docker build --build-arg PIP_EXTRA_INDEX_URL=... -t fki .
FROM python:3.12-slim-bookworm

ARG PIP_EXTRA_INDEX_URL=""
ENV PYTHONUNBUFFERED=1 FKI_HOME=/home/fki/.fki

RUN useradd --create-home --uid 1000 fki
WORKDIR /opt/fki
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY presets presets
COPY fki fki
RUN pip install --no-cache-dir -c constraints.txt torch \
    && pip install --no-cache-dir -c constraints.txt .

USER 1000
WORKDIR /work
ENTRYPOINT ["fki"]
CMD ["--help"]

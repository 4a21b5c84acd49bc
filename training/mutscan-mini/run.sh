#!/usr/bin/env bash
# Make models/mutscan-mini anew. From the root of the checkout:
#     bash training/mutscan-mini/run.sh DATA ENCODER
# DATA holds structures.parquet and pairs.parquet, ENCODER is the folder of the frozen encoder.
# Stopped at any time, the same command goes on where it was.
set -euo pipefail
data=${1:?folder of structures.parquet and pairs.parquet}
encoder=${2:?folder of the encoder}

mutscan train model --structures "$data/structures.parquet" --pairs "$data/pairs.parquet" \
    --encoder "$encoder" --config training/mutscan-mini/config.toml --device cpu --threads 1 --offline \
    --work build/mutscan-mini --out models/mutscan-mini
mutscan train evaluate --model models/mutscan-mini --split test --device cpu --offline \
    --structures "$data/structures.parquet" --pairs "$data/pairs.parquet" --out build/mutscan-mini/evaluation

#!/usr/bin/env bash
# Train and evaluate on several GPUs, of one machine or of several. Make the data set in WORK with run.sh first
# (STEPS=dataset bash training/prott5/run.sh LIST WORK).
#
#     bash training/prott5/torchrun.sh WORK [improved|finetune|paper]
#     bash training/prott5/torchrun.sh --smoke [WORK]      two processes on the CPU, artificial proteins
#
# Several machines: run the same command on each, with a WORK that all of them can access, and
#     NODES    how many machines          NODE    this one's number, from 0
#     MASTER   the name of machine 0      PORT    a free port on it (29500)
# Also from the environment: GPUS per machine (all), SEED, ENCODER, TM_VEC as in run.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seed=${SEED:-0}
node=${NODE:-0}

if [ "${1:-}" = --smoke ]; then
    work=${2:-$(mktemp -d)}
    name=improved
    # One dataset serves both smoke paths.
    [ -d "$work/dataset" ] || STEPS=dataset bash "$here/run.sh" --smoke "$work"
    gpus=2
    encoder=$work/input/prott5
    settings=$work/input
    device=(--device cpu --offline)
    export OMP_NUM_THREADS=1
else
    work=${1:?the folder with dataset/, or --smoke}
    name=${2:-improved}
    gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
    encoder=${ENCODER:-Rostlab/prot_t5_xl_half_uniref50-enc}
    settings=$here
    device=(--device cuda)
fi
if [ "${NODES:-1}" -gt 1 ]; then
    meet=(--nnodes "$NODES" --node-rank "$node" --master-addr "${MASTER:?name of machine 0}" --master-port "${PORT:-29500}")
else
    meet=(--standalone)
fi
model=$work/prott5-$name-seed$seed

torchrun "${meet[@]}" --nproc-per-node "$gpus" -m mutscan train model \
    --structures "$work/dataset/structures.parquet" --pairs "$work/dataset/pairs" \
    --encoder "$encoder" --config "$settings/$name.toml" --seed "$seed" "${device[@]}" \
    --work "$model.work" --out "$model"
if [ "$node" -eq 0 ]; then
    mutscan train evaluate --model "$model" --split test "${device[@]}" ${TM_VEC:+--tm-vec "$TM_VEC"} \
        --structures "$work/dataset/structures.parquet" --pairs "$work/dataset/pairs" \
        --out "$work/evaluation-$name-seed$seed"
    echo "model: $model; report: $work/evaluation-$name-seed$seed/report.html"
fi

#!/usr/bin/env bash
# The paper's system on ProtT5: from the public list of SWISS-MODEL pairs to the evaluation report.
#
#     bash training/prott5/run.sh LIST WORK [paper|improved|finetune]
#     bash training/prott5/run.sh --smoke [WORK]     the same steps in a minute: tiny encoder, artificial proteins
#
# LIST is swiss_under_300_141M.csv, WORK a folder for all results. Run an interrupted command again to resume.
# Environment variables (more in README.md):
#     STEPS    which of "dataset model evaluate" (all)
#     PAIRS    pairs drawn from the list (470000)     MINE        additional pairs of TM 0.5 to 0.8 (0)
#     SEED     random seed of all steps (0)           WILD_TYPES  folder of structures to build mutants of
#     ENCODER  folder or hub name (Rostlab's)         TM_VEC      folder of TM-Vec's weights, for comparison
#     JOBS     processes of the dataset (cores)       DEVICE      auto, cuda, cpu (auto)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
steps=${STEPS:-dataset model evaluate}
seed=${SEED:-0}

if [ "${1:-}" = --smoke ]; then
    work=${2:-$(mktemp -d)}
    name=paper
    python3 "$here/../smoke_data.py" "$work/input" --prott5 --settings "$here"/*.toml
    source=(--structures "$work/input/structures" --pairs "$work/input/pairs.csv" --clusters "$work/input/clusters.tsv")
    encoder=$work/input/prott5
    settings=$work/input
    device=(--device cpu --offline)
    export OMP_NUM_THREADS=1 JOBS=1
else
    list=${1:?the list of SWISS-MODEL pairs, or --smoke}
    work=${2:?a folder for everything that is made}
    name=${3:-paper}
    source=(--swiss-model "$list" --limit "${PAIRS:-470000}")
    encoder=${ENCODER:-Rostlab/prot_t5_xl_half_uniref50-enc}
    settings=$here
    device=(--device "${DEVICE:-auto}")
fi
model=$work/prott5-$name-seed$seed

if [[ " $steps " == *" dataset "* ]]; then
    # Exit code 3 is expected: some models are no longer in the repository; failures.csv lists them.
    mutscan train dataset "${source[@]}" --max-length 300 --lddt-exponent 3 --mine "${MINE:-0}" --seed "$seed" \
        ${WILD_TYPES:+--wild-types "$WILD_TYPES" --mutants 20} ${JOBS:+--jobs "$JOBS"} \
        --out "$work/dataset" || [ $? -eq 3 ]
fi
if [[ " $steps " == *" model "* ]]; then
    mutscan train model --structures "$work/dataset/structures.parquet" --pairs "$work/dataset/pairs" \
        --encoder "$encoder" --config "$settings/$name.toml" --seed "$seed" "${device[@]}" \
        --work "$model.work" --out "$model"
fi
if [[ " $steps " == *" evaluate "* ]]; then
    mutscan train evaluate --model "$model" --split test "${device[@]}" ${TM_VEC:+--tm-vec "$TM_VEC"} \
        --structures "$work/dataset/structures.parquet" --pairs "$work/dataset/pairs" \
        --out "$work/evaluation-$name-seed$seed"
    echo "model: $model; report: $work/evaluation-$name-seed$seed/report.html"
fi

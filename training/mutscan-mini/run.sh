#!/usr/bin/env bash
# Make models/mutscan-mini.
#
#     bash training/mutscan-mini/run.sh DATA ENCODER [WORK]
#     bash training/mutscan-mini/run.sh --smoke [WORK]     the same steps in a minute, on artificial proteins
#
# DATA holds structures.parquet and pairs.parquet, and optionally wild_types/ to build mutants of and variants/ to
# calibrate on (labelled_*, dms*, stability* and ssym_pairs.csv with the folder ssym). ENCODER is the
# folder of the encoder; if it does not exist, one is pretrained on DATA/sequences.parquet. WORK (build/mutscan-mini)
# is the folder for everything that is not shipped. Run an interrupted command again to resume. The environment
# variable SEED (0) is the random seed of all steps.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seed=${SEED:-0}

if [ "${1:-}" = --smoke ]; then
    smoke=yes
    work=${2:-$(mktemp -d)}
    data=$work/input
    encoder=$work/encoder
    model=$work/mutscan-smoke
    config=$data/config.toml
    pretraining=(--preset tiny --steps 6 --validate-every 3)
    grouping=(--fewest 1 --codebook 64)
    more=(--mine 4 --mutants 2 --builder template --jobs 1)
    verdict=(--siamese 0)
    crystals=(--structures "$data/crystals.parquet")
    export OMP_NUM_THREADS=1
    python3 "$here/../smoke_data.py" "$data" --settings "$here/config.toml"
else
    data=${1:?folder of structures.parquet and pairs.parquet, or --smoke}
    encoder=${2:?folder of the encoder}
    root=$(cd "$here/../.." && pwd)
    work=${3:-$root/build/mutscan-mini}
    model=$root/models/mutscan-mini
    config=$here/config.toml
    pretraining=(--preset 8m)
    grouping=()
    more=(--mine 6000 --mutants 20 --builder openmm --max-length 400)
    verdict=(--sequences "$data/sequences.parquet")
    crystals=(--structures "$data/structures.parquet" --crystals "$data/variants/ssym_pairs.csv")
fi

if [ ! -d "$encoder" ]; then
    mutscan train encoder --sequences "$data/sequences.parquet" "${pretraining[@]}" --seed "$seed" \
        --device cpu --threads 1 --work "$work/encoder.work" --out "$encoder"
fi
tables=(--structures "$data/structures.parquet" --pairs "$data/pairs.parquet")
training=("${tables[@]}")
if [ -d "$data/wild_types" ]; then
    # Pairs of one fold across families, and mutants. Exit code 3: some failed; failures.csv lists them.
    mutscan train dataset --structures "$data/structures.parquet" --cluster-column cluster25 \
        --wild-types "$data/wild_types" "${more[@]}" --seed "$seed" --out "$work/more" || [ $? -eq 3 ]
    training+=(--structures "$work/more/structures.parquet" --pairs "$work/more/pairs")
fi
mutscan train model "${training[@]}" --encoder "$encoder" --config "$config" --seed "$seed" \
    --device cpu --threads 1 --offline --work "$work/model.work" --out "$model"
# The family library needs MMseqs2 (mmseqs); the smoke run skips it if MMseqs2 is not installed.
if [ -f "$data/sequences.parquet" ] && { [ -z "${smoke:-}" ] || command -v mmseqs > /dev/null; }; then
    [ -f "$work/families.npz" ] ||
        mutscan train families --sequences "$data/sequences.parquet" "${grouping[@]}" --out "$work/families.npz"
    cp "$work/families.npz" "$model/families.npz"
fi
variants=$data/variants
if [ -f "$variants/labelled_variants.csv.gz" ]; then
    mutscan train calibrate --model "$model" --proteins "$variants/labelled_proteins.csv.gz" \
        --variants "$variants/labelled_variants.csv.gz" --stability "$variants/stability.csv.gz" \
        --stability-proteins "$variants/stability_proteins.csv.gz" --dms "$variants/dms.csv.gz" \
        --dms-proteins "$variants/dms_assays.csv.gz" --chains "$data/structures.parquet" "${verdict[@]}" \
        --device cpu --precision bf16 --offline --work "$work/evidence" --out "$model/calibration.json"
    mutscan train affected --model "$model" "${crystals[@]}" --seed "$seed" --device cpu --offline \
        --work "$work/affected" --out "$model/affected.json"
fi
mutscan models sums "$(dirname "$model")"
mutscan train evaluate "${tables[@]}" --model "$model" --split test --device cpu --offline --out "$work/evaluation"
echo "model: $model; report: $work/evaluation/report.html"

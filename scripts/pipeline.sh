#!/usr/bin/env bash
# The whole pipeline on the user's own images, or on a region from GIBS. Called by `make pipeline`,
# which passes each variable NAME as CURATOR_NAME.
#
#   make pipeline IMAGES=folder REFERENCE=image.jpg             label in the browser
#   make pipeline IMAGES=folder REFERENCE=image.jpg TRUTH=folders      answer from the class folders
#   make pipeline IMAGES=folder REFERENCE=image.jpg TRUTH=labels.csv   answer from tile_id,label rows
#   make pipeline LAYER=… BBOX=W,S,E,N FROM=… TO=… REFERENCE=image.jpg
#
# OUT= where (default out/pipeline), MINUTES= training (default 10), BUDGET= labels when simulated,
# SIZE= tile size for GIBS, DEVICE=, SEED=, CLASS=, QUESTION=, PORT=, RESOLUTION=, LEVEL=, ENDPOINT=.
# A stage that is up to date is not run again; a killed run continues.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,/^set/{/^# /s/^# //p;/^#$/s/^#$//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
problem() { printf 'error: %s\n\n' "$1" >&2; usage; }

OUT=${CURATOR_OUT:-out/pipeline}
reference=${CURATOR_REFERENCE:-}
device=(--device "${CURATOR_DEVICE:-auto}")
seed=(--seed "${CURATOR_SEED:-0}")
[ -n "$reference" ] || problem 'REFERENCE= is missing: one picture of what you look for'
[ -f "$reference" ] || problem "REFERENCE=$reference is no file"
if [ -n "${CURATOR_IMAGES:-}" ]; then
  [ -z "${CURATOR_LAYER:-}" ] || problem 'give either IMAGES= or LAYER=, not both'
  [ -d "$CURATOR_IMAGES" ] || problem "IMAGES=$CURATOR_IMAGES is no folder"
elif [ -n "${CURATOR_LAYER:-}" ]; then
  [ -n "${CURATOR_BBOX:-}" ] || problem 'BBOX=W,S,E,N is missing'
else
  problem 'IMAGES= or LAYER= is missing'
fi
mkdir -p "$OUT"
# shellcheck source=scripts/stages.sh
. scripts/stages.sh

if [ -n "${CURATOR_IMAGES:-}" ]; then
  tiles=$CURATOR_IMAGES
else
  when=()
  [ -z "${CURATOR_FROM:-}" ] || when+=(--from "$CURATOR_FROM" --to "${CURATOR_TO:-$CURATOR_FROM}")
  [ -z "${CURATOR_RESOLUTION:-}" ] || when+=(--resolution "$CURATOR_RESOLUTION")
  [ -z "${CURATOR_LEVEL:-}" ] || when+=(--level "$CURATOR_LEVEL")
  [ -z "${CURATOR_ENDPOINT:-}" ] || when+=(--endpoint "$CURATOR_ENDPOINT")
  tiles=$OUT/tiles
  stage fetch gibs-downloader fetch "$CURATOR_LAYER" "--bbox=$CURATOR_BBOX" "${when[@]}" -o "$OUT/scenes"
  stage tile data-preprocessor tile "$OUT/scenes" -o "$tiles" --size "${CURATOR_SIZE:-128}"
fi
stage train ssl-learner train "$tiles" -o "$OUT/model" --max-minutes "${CURATOR_MINUTES:-10}" "${seed[@]}" "${device[@]}"
stage index embed-indexer build "$tiles" --model "$OUT/model" -o "$OUT/index" "${device[@]}"
label=(--reference "$reference" --labels "$OUT/labels" -o "$OUT/curated" --report "$OUT" "${seed[@]}" "${device[@]}")
[ -z "${CURATOR_CLASS:-}" ] || label+=(--class "$CURATOR_CLASS")
case "${CURATOR_TRUTH:-}" in
  '')
    [ -z "${CURATOR_QUESTION:-}" ] || label+=(--question "$CURATOR_QUESTION")
    [ -z "${CURATOR_PORT:-}" ] || label+=(--port "$CURATOR_PORT")
    stage label active-labeler run "$OUT/index" "${label[@]}" ;;
  *)
    stage label active-labeler simulate "$OUT/index" --truth "$CURATOR_TRUTH" --budget "${CURATOR_BUDGET:-400}" "${label[@]}" ;;
esac
finish

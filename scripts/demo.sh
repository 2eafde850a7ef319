#!/usr/bin/env bash
# The whole pipeline on a procedural Earth: the stand-in GIBS server on loopback serves it, the real
# programs do the rest, from one picture of an island to a dataset of islands. Called by `make demo`.
#
#   LIVE=1   a person answers in the browser instead of the known truth
#   SMALL=1  a small region and a minute of training, for the tests
#   OUT=…    where (default out/demo)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

OUT=${CURATOR_OUT:-out/demo}
layer=MODIS_Terra_CorrectedReflectance_TrueColor
if [ -n "${CURATOR_SMALL:-}" ]; then
  bbox=-15.75,3.375,-12.375,6.75 from=2020-09-12 to=2020-09-12 minutes=0.4 budget=100
else
  bbox=-16.875,3.375,-11.25,9 from=2020-09-12 to=2020-09-13 minutes=2.5 budget=300
fi
mkdir -p "$OUT"
# shellcheck source=scripts/stages.sh
. scripts/stages.sh

# The stand-in server lives as long as this script.
gibs-standin serve --port 0 >"$OUT/.standin" &
server=$!
trap 'kill $server 2>/dev/null; rm -f "$OUT/.standin"' EXIT
for _ in $(seq 100); do
  endpoint=$(head -n 1 "$OUT/.standin"); [ -n "$endpoint" ] && break
  kill -0 $server 2>/dev/null || { echo 'error: the stand-in server did not start' >&2; exit 1; }
  sleep 0.1
done
export CURATOR_GIBS_ENDPOINT=$endpoint
printf 'A procedural Earth is served at %s\nWatch %s grow: it renews itself.\n' "$endpoint" "$OUT/report.html" >&2

stage fetch gibs-downloader fetch $layer "--bbox=$bbox" --from $from --to $to -o "$OUT/scenes"
stage tile data-preprocessor tile "$OUT/scenes" -o "$OUT/tiles" --size 64
stage truth gibs-standin truth --tiles "$OUT/tiles" -o "$OUT/truth.csv"
stage reference gibs-standin reference --tiles "$OUT/tiles" -o "$OUT/reference.jpg"
stage train ssl-learner train "$OUT/tiles" -o "$OUT/model" --max-minutes $minutes
stage evaluate ssl-learner evaluate "$OUT/tiles" --model "$OUT/model" --truth "$OUT/truth.csv"
stage index embed-indexer build "$OUT/tiles" --model "$OUT/model" -o "$OUT/index"
label=(--reference "$OUT/reference.jpg" --labels "$OUT/labels" -o "$OUT/curated" --report "$OUT")
if [ -n "${CURATOR_LIVE:-}" ]; then
  stage label active-labeler run "$OUT/index" "${label[@]}" --question 'Is there an island?'
else
  stage label active-labeler simulate "$OUT/index" --truth "$OUT/truth.csv" --budget $budget "${label[@]}"
fi
finish

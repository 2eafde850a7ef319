#!/usr/bin/env bash
# All tests: units and programs, documentation examples, and the demo in a small version.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

begun=$SECONDS
cargo test --release --workspace --locked --no-run
echo "build: $((SECONDS - begun)) s"

begun=$SECONDS
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo build --release --workspace --locked
CURATOR_SMALL=1 CURATOR_OUT=$out/demo bash scripts/demo.sh
python3 scripts/checks/demo.py "$out/demo"
python3 scripts/e2e/pipeline.py
python3 scripts/e2e/labelling_page.py || [ $? = 77 ]
python3 scripts/e2e/active_page.py || [ $? = 77 ]
python3 scripts/e2e/search_page.py "$out/demo/index" || [ $? = 77 ]
python3 scripts/e2e/worldview.py "$out/demo/index" || [ $? = 77 ]
python3 scripts/e2e/search_load.py "$out/demo/index"
.deps/clients/bin/python -W ignore scripts/e2e/standin_clients.py || [ $? = 77 ]
.deps/clients/bin/python -W ignore scripts/oracles/exports.py || [ $? = 77 ]
python3 scripts/oracles/tfrecord.py || [ $? = 77 ]
.deps/clients/bin/python -W ignore scripts/oracles/inpaint.py || [ $? = 77 ]
.deps/clients/bin/python -W ignore scripts/oracles/model_export.py || [ $? = 77 ]
.deps/clients/bin/python -W ignore scripts/e2e/products.py || [ $? = 77 ]
python3 scripts/e2e/packed_scenes.py || [ $? = 77 ]
python3 scripts/e2e/composite.py || [ $? = 77 ]
echo "small demo, pipeline and page: $((SECONDS - begun)) s"

begun=$SECONDS
cargo test --release --workspace --locked 2>&1 | tee "$out/log"
echo "tests: $((SECONDS - begun)) s"
awk '/^test result:/ {passed += $4; failed += $6; skipped += $8}
     END {printf "tests: %d passed, %d failed, %d skipped\n", passed, failed, skipped}' "$out/log"

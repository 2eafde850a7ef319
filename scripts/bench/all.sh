#!/usr/bin/env bash
# The benchmarks that need no network. Real imagery is looked for beside the project.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
data=${CURATOR_SHARED_DATA:-../shared/data}
scripts/bench/plan.py
if [ -d "$data/ucmerced" ]; then
  scripts/bench/active_learning.py "$data/ucmerced" -o out/bench/ucmerced --minutes "${MINUTES:-6}"
else
  echo "skipped: no $data/ucmerced"
fi

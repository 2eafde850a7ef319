#!/usr/bin/env bash
# The benchmarks that need no network. Real imagery is looked for beside the project; PYTHON has the peers
# (numpy, pillow, scikit-image, tensorflow) as far as they are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
data=${CURATOR_SHARED_DATA:-../shared/data}
python=${PYTHON:-python3}
cargo build --release --workspace --locked --bins --examples
has() { "$python" -c "import $1" 2>/dev/null || { echo "skipped: no $1 in $python"; false; }; }

scripts/bench/plan.py
if has "numpy, PIL"; then
  scripts/bench/tile.py --python "$python"
  scripts/bench/tile.py --python "$python" --million
fi
scripts/bench/records.py --python "$python"
scripts/bench/sample.py million
"$python" scripts/bench/stream.py || [ $? = 77 ]
scripts/bench/labelling.py start
if has "numpy, PIL, skimage"; then "$python" scripts/bench/clouds.py -o out/bench/clouds; fi
if [ -d "$data/ucmerced" ]; then
  target/release/ssl-learner train "$data/ucmerced" -o out/bench/model --input-size 64 --max-minutes "${MINUTES:-6}"
  if has "numpy, PIL, pyarrow"; then
    "$python" scripts/bench/retrieval.py classes "$data/ucmerced" --model out/bench/model
    "$python" scripts/bench/retrieval.py scenes "$data/ucmerced" --model out/bench/model
  fi
  if has "numpy, PIL"; then
    "$python" scripts/bench/active_learning.py compare "$data/ucmerced" --model out/bench/model -o out/bench/ucmerced \
      --kinds ssl
  fi
else
  echo "skipped: no $data/ucmerced"
fi

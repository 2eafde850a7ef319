#!/usr/bin/env bash
# Formatting, lints as errors, unused dependencies, the layers, shell syntax.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo fmt --all --check
cargo clippy --release --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps --locked --quiet
python3 scripts/checks/layers.py
if ! command -v cargo-machete >/dev/null; then
  echo 'installing cargo-machete, which finds unused dependencies' >&2
  cargo install --quiet --locked cargo-machete
fi
cargo machete
for script in scripts/*.sh scripts/*/*.sh .ci/run; do bash -n "$script"; done

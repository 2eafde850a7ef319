#!/usr/bin/env bash
# Finds or brings what the build needs: system packages, Rust, libtorch. Idempotent, and quick when
# everything is there.
#
#   scripts/setup.sh            what is missing, CPU libtorch unless an NVIDIA GPU is found
#   CUDA=1 scripts/setup.sh     the CUDA libtorch
#   CUDA=0 scripts/setup.sh     the CPU libtorch even where a GPU is
#   scripts/setup.sh --test     also what only the tests need: a headless browser, and other people's
#                             programs to judge ours: GDAL, OWSLib, pystac, ffmpeg, Pillow
#
# libtorch is taken from $LIBTORCH, from an earlier set-up, or from python3's own torch when the
# version fits; otherwise it is downloaded into .deps/ in this folder. Nothing is installed elsewhere
# except system packages, and those only after asking (root and CI are not asked).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TORCH=2.11.0          # the version that tch 0.24 binds
readonly CUDART=13.0.96 CUPTI=13.0.85
readonly AXE=4.14.1
readonly OWSLIB=0.35.0 PYSTAC=1.15.2 PILLOW=13.0.0 COCO=2.0.11
# The newest that takes Debian's NumPy, which GDAL's bindings are built for.
readonly PYARROW=21.0.0
readonly RUST_AT_LEAST=1.90 CMAKE_AT_LEAST=3.24

say()  { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: error: %s\n' "$1" >&2; shift; for hint in "$@"; do printf '  hint: %s\n' "$hint" >&2; done; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# The system's own python3, which sees GDAL's bindings.
system_python() { if [ -x /usr/bin/python3 ]; then /usr/bin/python3 "$@"; else python3 "$@"; fi; }

want_tests=false
[ "${1:-}" = --test ] && want_tests=true

# The packages, by what shows that they are there.
missing_packages() {
  have g++ || echo g++
  have make || echo make
  { have cmake && at_least "$CMAKE_AT_LEAST" "$(cmake --version | sed -n '1s/[^0-9]*//p')"; } || echo cmake
  have ninja || echo ninja-build
  have nasm || [ "$(uname -m)" != x86_64 ] || echo nasm
  have pkg-config || echo pkg-config
  { have pkg-config && pkg-config --exists libzstd; } || echo libzstd-dev
  { have pkg-config && pkg-config --exists openblas; } || echo libopenblas-dev
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  if $want_tests; then
    have chromium || have google-chrome || echo chromium
    have chromedriver || echo chromium-driver
    have gdal_translate || echo gdal-bin
    have ffprobe || echo ffmpeg
    system_python -c 'from osgeo import gdal' 2>/dev/null || echo python3-gdal
    system_python -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  fi
}

install_packages() {
  local packages; packages=$(missing_packages | tr '\n' ' ')
  [ -n "$packages" ] || return 0
  local command="apt-get install -y --no-install-recommends $packages"
  have apt-get || fail "missing: $packages" "install them with your package manager, then run this again"
  if [ "$(id -u)" != 0 ]; then
    have sudo || fail "missing system packages: $packages" "as root: $command"
    command="sudo $command"
    if [ -z "${CI:-}" ]; then
      [ -t 0 ] || fail "missing system packages: $packages" "$command"
      read -r -p "setup: install with \`$command\`? [Y/n] " answer
      case "$answer" in ''|[yY]*) ;; *) fail "missing system packages: $packages" "$command" ;; esac
    fi
  fi
  say "installing system packages: $packages"
  local log; log=$(mktemp)
  { ${command%%apt-get*} apt-get update -qq && DEBIAN_FRONTEND=noninteractive $command -qq; } >"$log" 2>&1 \
    || { tail -n 5 "$log" >&2; fail "apt-get failed" "see above; is the network there?"; }
  rm -f "$log"
  packages=$(missing_packages | tr '\n' ' ')
  [ -z "$packages" ] || fail "still missing or too old after installing: $packages" \
    "CMake must be $CMAKE_AT_LEAST or newer: Debian 12, Ubuntu 24.04, or \`pip install cmake\`"
}

check_system() {
  local system; system="$(uname -s) $(uname -m)"
  case "$system" in
    'Linux x86_64'|'Linux aarch64') ;;
    Darwin*) fail "macOS is not supported: FAISS is built from source here and was never tried there" \
      "it would need: rustup, cmake, ninja, pkg-config, zstd, openblas, libomp, and libtorch $TORCH in \$LIBTORCH" \
      "a Linux virtual machine or container (Debian 12 or newer) works" ;;
    *) fail "$system is not supported" "use Linux on x86-64 or arm64" ;;
  esac
  if [ "$(uname -m)" = x86_64 ] && ! grep -qm1 avx2 /proc/cpuinfo; then
    fail "this processor has no AVX2" "remove the flags in .cargo/config.toml, then build"
  fi
  have python3 || fail "python3 is missing" "apt-get install python3 python3-venv"
  have cargo || fail "Rust is missing" "install it from https://rustup.rs, then open a new shell"
  local rust; rust=$(rustc --version | cut -d' ' -f2)
  at_least "$RUST_AT_LEAST" "$rust" || fail "Rust $rust is too old, $RUST_AT_LEAST is needed" "rustup update"
}

# Whether a folder is a libtorch of the right version.
fits() {
  local folder=$1 version
  [ -e "$folder/lib/libtorch_cpu.so" ] && [ -d "$folder/include/torch/csrc/api" ] || return 1
  version=$(sed -n "s/^__version__ = '\([^']*\)'/\1/p" "$folder/version.py" 2>/dev/null)
  [ -n "$version" ] || version=$(cat "$folder/build-version" 2>/dev/null)
  case "$version" in "$TORCH"|"$TORCH+"*) return 0 ;; *) return 1 ;; esac
}

has_cuda() { [ -e "$1/lib/libtorch_cuda.so" ]; }
loads() { python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1/lib/libtorch_cpu.so" 2>/dev/null; }

wants_cuda() {
  case "${CUDA:-}" in
    1|yes|true) return 0 ;;
    0|no|false) return 1 ;;
    *) have nvidia-smi && nvidia-smi -L >/dev/null 2>&1 ;;
  esac
}

use() {
  [ "$(readlink .libtorch 2>/dev/null)" = "$1" ] || ln -sfn "$1" .libtorch
}

find_libtorch() {
  local folder
  if [ -n "${LIBTORCH:-}" ] && [ "$LIBTORCH" != "$PWD/.libtorch" ]; then
    fits "$LIBTORCH" || fail "\$LIBTORCH ($LIBTORCH) is no libtorch $TORCH" "unset it, and the right one is brought"
    use "$LIBTORCH"; return 0
  fi
  if [ -e .libtorch ] && fits .libtorch && { ! wants_cuda || has_cuda .libtorch; }; then return 0; fi
  folder=$(python3 -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")' 2>/dev/null || true)
  if [ -n "$folder" ] && fits "$folder" && loads "$folder" && { ! wants_cuda || has_cuda "$folder"; }; then
    say "using python3's own torch $TORCH"
    use "$folder"; return 0
  fi
  return 1
}

bring_libtorch() {
  local python; python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  { at_least 3.10 "$python" && at_least "$python" 3.14; } \
    || fail "Python $python has no torch $TORCH packages" "use Python 3.10 to 3.14, or set LIBTORCH"
  local set=cpu free needed=2500
  wants_cuda && set=cuda && needed=9000
  free=$(df -Pm . | awk 'NR==2 {print $4}')
  [ "$free" -ge "$needed" ] || fail "$free MB free here, $needed MB are needed to unpack libtorch" "free some space"
  rm -rf .deps/torch && mkdir -p .deps
  python3 -m venv .deps/torch
  local pip=".deps/torch/bin/python -m pip --disable-pip-version-check -q"
  if [ $set = cuda ]; then
    say "bringing libtorch $TORCH with CUDA: 2,600 MB to download (4 minutes at 100 Mbit/s), 4.6 GB on disk"
    $pip install "torch==$TORCH" || fail "pip could not install torch $TORCH" "is the network there? run this again"
  elif [ "$(uname -m)" = x86_64 ]; then
    say "bringing libtorch $TORCH for the CPU: 544 MB to download (1 minute at 100 Mbit/s), 0.7 GB on disk"
    $pip install --no-deps --no-compile "torch==$TORCH" "nvidia-cuda-runtime==$CUDART" "nvidia-cuda-cupti==$CUPTI" \
      || fail "pip could not install torch $TORCH" "is the network there? run this again"
    # The published wheel is the CUDA build; its CPU part runs without these.
    rm -f .deps/torch/lib/python*/site-packages/torch/lib/libtorch_{cuda,cuda_linalg,nvshmem,python}.so
  else
    say "bringing libtorch $TORCH: 150 MB or more to download"
    $pip install "torch==$TORCH" || fail "pip could not install torch $TORCH" "is the network there? run this again"
  fi
  local folder; folder=$(echo "$PWD"/.deps/torch/lib/python*/site-packages/torch)
  fits "$folder" || fail "what pip brought is not a libtorch $TORCH" "remove .deps and run this again"
  loads "$folder" || fail "libtorch does not load" "python3 -c 'import ctypes; ctypes.CDLL(\"$folder/lib/libtorch_cpu.so\")'"
  use "$folder"
}


# Other people's clients of map services, catalogues, pictures, labels and tables, for the tests. GDAL's bindings are the
# system's.
bring_clients() {
  .deps/clients/bin/python -c 'import owslib, pystac, jsonschema, PIL, pycocotools, pyarrow; from osgeo import gdal' 2>/dev/null && return 0
  say "bringing OWSLib $OWSLIB, pystac $PYSTAC, Pillow $PILLOW, pycocotools $COCO and pyarrow $PYARROW into .deps/clients: 70 MB"
  rm -rf .deps/clients
  { system_python -m venv --system-site-packages .deps/clients \
    && .deps/clients/bin/python -m pip --disable-pip-version-check -q install \
      "OWSLib==$OWSLIB" "pystac[validation]==$PYSTAC" "Pillow==$PILLOW" \
      "pycocotools==$COCO" "pyarrow==$PYARROW"; } \
    || fail "pip could not install OWSLib, pystac, Pillow, pycocotools or pyarrow" "is the network there? run this again"
}

# The checker of accessibility; tests say so when it is not there.
bring_axe() {
  [ -e .deps/axe/node_modules/axe-core/axe.min.js ] && return 0
  have npm || { say "no npm: the pages' accessibility is not checked"; return 0; }
  say "bringing axe-core into .deps/axe: 3 MB"
  mkdir -p .deps/axe
  npm install --silent --no-audit --no-fund --prefix "$PWD/.deps/axe" "axe-core@$AXE" \
    || fail "npm could not install axe-core" "is the network there? run this again"
}

check_system
install_packages
find_libtorch || bring_libtorch
if $want_tests; then bring_clients; bring_axe; fi

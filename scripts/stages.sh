# What the demo and the pipeline share; sourced, with OUT set to the run's directory.
# A stage is one visible command line. Its time goes to stages.jsonl, the report is renewed after it.

export PATH="$PWD/target/release:$PATH"
partial=false   # whether some stage finished with some items failed (exit code 3)

# quoted WORD…: the command line as one would type it; only words that need quotes get them.
quoted() {
  local word line=
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+="$word "
  done
  printf '%s' "${line% }"
}

# stage NAME COMMAND…: prints the command, runs it, and stops the run when it fails.
stage() {
  local name=$1 begun code=0 text; shift
  text=$(quoted "$@")
  printf '\n\033[1m$ %s\033[0m\n' "$text" >&2
  begun=$(date +%s.%N)
  "$@" | tee "$OUT/.last-stage" || code=$?
  case $code in
    0) ;;
    3) partial=true ;;
    *) printf '\nstopped at: %s (exit code %s); run the same command again to continue\n' "$name" "$code" >&2
       exit "$code" ;;
  esac
  if ! grep -q 'up to date' "$OUT/.last-stage" || ! grep -qs "\"stage\": \"$name\"" "$OUT/stages.jsonl"; then
    python3 - "$name" "$text" "$begun" "$OUT/.last-stage" >>"$OUT/stages.jsonl" <<'PYTHON'
import json, sys, time
name, command, begun, output = sys.argv[1:]
seconds = round(time.time() - float(begun), 2)
said = open(output, errors="replace").read().strip()
print(json.dumps({"stage": name, "command": command, "seconds": seconds, "output": said}))
PYTHON
  fi
  rm -f "$OUT/.last-stage"
  active-labeler report "$OUT" --quiet >/dev/null || true
}

# finish: the time of each stage, where the results are, and the exit code.
finish() {
  python3 - "$OUT/stages.jsonl" >&2 <<'PYTHON'
import json, sys
seconds = {row["stage"]: row["seconds"] for row in map(json.loads, open(sys.argv[1]))}
print("\nstage       seconds")
for stage, time in [*seconds.items(), ("all", sum(seconds.values()))]:
    print(f"{stage:<11}{time:8.1f}")
PYTHON
  printf '\nreport:  %s\ndataset: %s\n' "$OUT/report.html" "$OUT/curated" >&2
  if $partial; then
    printf 'some items failed or were skipped; they are listed above\n' >&2
    exit 3
  fi
}

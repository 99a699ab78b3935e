#!/usr/bin/env bash
# What a user without this checkout does, once per Python: pip install of the wheel, an empty folder, `icd-assets demo`.
# Run by `make test-wheel`; constraints.txt keeps torch to the build that CI has.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset DAGSTER_HOME RESULT_DIR ICD_CATALOG PYTHONPATH

"$here/.venv/bin/python" -m hatchling build -t wheel -d "$work/dist" >/dev/null
for python in "$@"; do
  echo "== $("$python" --version)"
  "$python" -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check -c "$here/constraints.txt" "$work"/dist/*.whl
  mkdir "$work/empty"
  (
    cd "$work/empty"
    "$work/venv/bin/icd-assets" demo | tee output | tail -22
    grep -q '^coverage (sequences) ' output              # the table
    grep -q 'enabled: false' dagster.yaml && [ ! -e .telemetry ]
    "$work/venv/bin/icd-assets" demo | grep -q 'nothing had to be done'
  )
  rm -rf "$work/venv" "$work/empty"
done

#!/bin/sh
# Build the wheels, install each alone and use it from an empty folder: tersor-core, which has no torch, and
# tersor with the newest torch that is tested and numpy 2. Both bring their machine code.
#   sh tools/test_bare.sh PYTHON PYTHON_WITH_BUILD
set -eu
python=$1
builder=$2
here=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for project in core .; do
    "$builder" -m build --wheel --no-isolation -o "$work" "$project" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
done
"$python" -m venv "$work/core"
"$work/core/bin/python" -m pip install -q "$work"/tersor_core-*.whl
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q 'torch==2.13.0' 'numpy>=2' "$work"/tersor-*.whl
mkdir "$work/empty"
cd "$work/empty"
"$work/core/bin/python" "$here/tools/check_bare.py" core
"$work/venv/bin/python" "$here/tools/check_bare.py"

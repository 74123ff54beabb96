#!/bin/sh
# Build the wheel, install it alone (core dependencies, numpy 2) and use it from an empty folder.
#   sh tools/test_bare.sh PYTHON PYTHON_WITH_BUILD
set -eu
python=$1
builder=$2
here=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$builder" -m build --wheel --no-isolation -o "$work" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q 'torch==2.13.0' 'numpy>=2' "$work"/tersor-*.whl
cd "$work"
"$work/venv/bin/python" "$here/tools/check_bare.py"

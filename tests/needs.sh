#!/bin/sh
# SPDX-License-Identifier: MIT
# What a machine must have before anything can be set up; each thing that is missing is named in a plain sentence.
python=${PYTHON:-python3}
say() { echo "fastgear: $1" >&2; exit 1; }

command -v "$python" >/dev/null 2>&1 || say "there is no $python; install it (Debian: apt-get install python3)."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || say "$python is older than 3.10; choose another with PYTHON=..."
"$python" -c 'import ensurepip, venv' 2>/dev/null || say "$python cannot make virtual environments; install its venv module (Debian: apt-get install python3-venv)."
command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || say "there is no C compiler; install one (Debian: apt-get install gcc libc6-dev)."
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
[ -f "$header" ] || say "the headers of $python are missing ($header); install them (Debian: apt-get install python3-dev)."

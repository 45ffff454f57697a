#!/bin/sh
# Makes .venv and installs outlast into it, editable, with what is asked for:
#
#   scripts/setup.sh demo    Keras, JAX, scikit-learn, matplotlib
#   scripts/setup.sh test    the above, PyTorch and TensorFlow (CPU builds), the checkers, the oldest Keras
#   scripts/setup.sh bench   in .venv-bench: Keras, JAX, PyTorch, and the libraries that the benches compare with
#
# uv does it if it is on PATH, else venv and pip. A stamp in .venv makes the next call return at once,
# until pyproject.toml or this file changes. PYTHON=... chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

oldest_keras=3.10.0
torch=2.13.0
torchvision=0.28.0 # for this torch
what=${1:-demo}
venv=.venv
[ "$what" != bench ] || venv=.venv-bench
venv_python=$venv/bin/python

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

case $what in
    demo | test | bench) ;;
    *) die "usage: scripts/setup.sh demo | test | bench" ;;
esac

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# The stamp holds what the result depends on: these two files and the place (a venv cannot be moved).
wanted=$(cat pyproject.toml scripts/setup.sh | cksum)" $PWD"
is_done() { [ "$(cat "$venv/outlast-$1.stamp" 2>/dev/null)" = "$wanted" ]; }

if is_new_enough $venv_python && { is_done "$what" || is_done test; }; then
    exit 0
fi

find_python() {
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.13 python3.12 python3.11; fi
    for candidate; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

has_uv() { command -v uv >/dev/null; }

make_venv() {
    python=$(find_python)
    if [ -z "$python" ] && { [ -n "${PYTHON:-}" ] || ! has_uv; }; then
        die "outlast needs Python 3.11 or newer; found: $("${PYTHON:-python3}" --version 2>/dev/null || echo none)." \
            "Install one, or name one: make $what PYTHON=/path/to/python3.11"
    fi
    if has_uv; then
        uv venv --quiet --clear --python "${python:->=3.11}" "$venv" # uv fetches a Python if there is none
    else
        "$python" -m venv --clear "$venv"
    fi
}

install() {
    if has_uv; then
        uv pip install --quiet --python $venv_python "$@"
    else
        $venv_python -m pip --version >/dev/null 2>&1 || $venv_python -m ensurepip >/dev/null # uv's have none
        $venv_python -m pip install -qq --disable-pip-version-check "$@"
    fi
}

# uv reads settings of its own; whoever has told pip where packages are need not say it twice.
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
if [ -n "${PIP_FIND_LINKS:-}" ]; then
    export UV_FIND_LINKS="${UV_FIND_LINKS:-$PIP_FIND_LINKS}"
else
    export UV_TORCH_BACKEND="${UV_TORCH_BACKEND:-cpu}"
fi

require_strace() {
    command -v strace >/dev/null && return
    [ "$(uname)" = Linux ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing strace: the tests of durability watch the system calls with it."
        { apt-get -qq update && apt-get -qq install -y strace; } </dev/null >/dev/null
    else
        say "strace is missing: the tests that watch system calls will be skipped." \
            "Your package manager has it (apt install strace)."
    fi
}

install_tests() {
    # PyTorch alone and first, by version: a build like 2.13.0+cpu from a folder of wheels
    # (PIP_FIND_LINKS) then wins over the index's, which brings several GB of CUDA.
    install "torch==$torch"
    install --editable ".[test]"
    install --no-deps --upgrade --target ".venv/keras-$oldest_keras" "keras==$oldest_keras"
    install_fastai
    require_strace
}

# fastai asks for a hundred packages that its training loop does not use.
install_fastai() {
    install --no-deps --target .venv/fastai "torchvision==$torchvision" \
        fastai fastcore "fastprogress==1.0.3" fasttransform "plum-dispatch<2.10" fastdownload beartype
}

install_peers() {
    install "torch==$torch"
    install --editable ".[bench]"
}

is_new_enough $venv_python || make_venv
say "Installing outlast and what \"make $what\" needs into $venv; this is done once ..."
case $what in
    demo) install --editable ".[demo]" ;;
    test) install_tests ;;
    bench) install_peers ;;
esac
printf '%s\n' "$wanted" >"$venv/outlast-$what.stamp"

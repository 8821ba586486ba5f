#!/bin/sh
# Makes probe/saker.bpf.o. Needs clang-14 and llvm-strip-14 (Debian: apt-get install clang-14 llvm-14); the object is
# committed, so that building and running saker needs neither.
set -eu
cd "$(dirname "$0")"
out="${1:-saker.bpf.o}"
clang-14 -target bpf -mcpu=v3 -O2 -g -Wall -Werror -fdebug-prefix-map="$PWD"=. -c saker.bpf.c -o "$out"
# Line tables stay out, type information stays in.
llvm-strip-14 -g "$out"

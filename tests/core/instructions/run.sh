#!/usr/bin/env bash
# Counts the instructions of each hot path of the core and compares them with tests/core/instructions/counts.txt.
#
#   ./tests/core/instructions/run.sh            fails if a path takes over 2 % more than is written down, or over 2 % less
#   ./tests/core/instructions/run.sh --write    writes the counts down
#
# A time moves with the machine; a count of instructions repeats. It moves with the compiler, too, so the file says which one
# it was made with, and with another one the bound is 15 %. Seen to bite: with a second clone and drop of the pool's Arc for
# each lease.
set -euo pipefail
cd "$(dirname "$0")/../../.."
counts=tests/core/instructions/counts.txt

if ! command -v valgrind >/dev/null 2>&1; then
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        as_root="sudo"
    fi
    echo "valgrind is missing: installing it with apt-get"
    $as_root apt-get update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends valgrind
fi

cargo build --locked --release --target-dir target/instructions -p redis-manager-instructions
program=target/instructions/release/redis-manager-instructions
compiler=$(rustc --version)

# All instructions of the program when it walks the path so often.
total() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 | awk '/Collected/ { print $4 }'
}

# The start and the end of the program cancel out.
each() {
    awk -v few="$(total "$1" 1000)" -v many="$(total "$1" 3000)" 'BEGIN { printf "%.0f\n", (many - few) / 2000 }'
}

if [ "${1:-}" = --write ]; then
    {
        echo "# Instructions of each hot path, by tests/core/instructions/run.sh --write"
        echo "# $compiler"
        for path in $("$program"); do
            printf '%-24s %s\n' "$path" "$(each "$path")"
        done
    } >"$counts"
    cat "$counts"
    exit 0
fi

bound=2
if ! grep -qxF "# $compiler" "$counts"; then
    bound=15
    echo "the counts were made with another compiler: within $bound % they pass"
fi
failed=0
for path in $("$program"); do
    seen=$(each "$path")
    wanted=$(awk -v path="$path" '$1 == path { print $2 }' "$counts")
    verdict=$(awk -v seen="$seen" -v wanted="${wanted:-0}" -v bound="$bound" 'BEGIN {
        off = wanted > 0 ? 100 * (seen - wanted) / wanted : 100
        printf "%+.1f %% %s", off, (off > bound || off < -bound) ? "MOVED" : "as written"
    }')
    printf '%-24s %8s instructions, %8s written down: %s\n' "$path" "$seen" "${wanted:-none}" "$verdict"
    case $verdict in *MOVED) failed=1 ;; esac
done
if [ "$failed" -ne 0 ]; then
    echo "the hot path has moved: if that is meant, write the counts down anew with --write"
    exit 1
fi
echo "every path is as it was written down"

#!/usr/bin/env bash
# Applies each mutant (tests/mutants/*.patch) to a copy of the core and prints what kills it: a seed of the simulator, or
# a test. A mutant that survives is a failure, unless EQUIVALENT.md says why nobody could tell.
#
# usage: tests/mutants/run.sh [NAME ...]        MUTANT_SEEDS=500: seeds for each
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
work=$root/target/mutants/work
seeds=${MUTANT_SEEDS:-500}
log=$root/target/mutants/log
export CARGO_TARGET_DIR=$root/target/mutants/target CARGO_TERM_COLOR=never
# Quick to build and quick enough to run; the invariants are compiled all the same.
export CARGO_PROFILE_TEST_RELEASE_OPT_LEVEL=1 CARGO_INCREMENTAL=1
export SIMULATION_SEEDS=$seeds RUST_BACKTRACE=0

rm -rf "$work"
mkdir -p "$work" "$log"
git ls-files -z Cargo.toml Cargo.lock rustfmt.toml core tests/core tests/simulation.rs tests/threads | tar -c --null -T - | tar -x -m -C "$work"
sed -i 's/^members = .*/members = ["core"]/' "$work/Cargo.toml"
cd "$work"

core_test() { timeout "$1" cargo test -q -p redis-manager-core --features testing "${@:2}"; }

# Says what kills the code as it is now, or nothing.
killer() {
    local name=$1 out=$log/$1 code=0
    core_test 600 --profile test-release --test simulation --no-run >"$out" 2>&1 || { cat "$out" >&2; echo "does not compile"; return; }
    core_test 120 --profile test-release --test simulation -- --nocapture >"$out" 2>&1 || code=$?
    if [ "$code" -ne 0 ]; then
        grep -m1 -aE '^seed [0-9]+' "$out" | sed -E 's/^seed ([0-9]+)( at [^:]*)?: /seed \1: /' | cut -c1-150 || echo "a hang of the simulator"
        return
    fi
    # The unit tests are quicker to build without optimisation than to run with it.
    for tests in '--lib' '--profile test-release --test pool_rules'; do
        core_test 600 $tests --no-run >"$out" 2>&1 || { cat "$out" >&2; echo "does not compile"; return; }
        code=0
        core_test 60 $tests >"$out" 2>&1 || code=$?
        if [ "$code" -eq 124 ]; then
            echo "a hang of the tests ($tests)"
            return
        elif [ "$code" -ne 0 ]; then
            sed -nE 's/^---- (.*) stdout ----$/test \1/p' "$out" | grep -m1 . || echo "a crash of the tests ($tests)"
            return
        fi
    done
}

mutants=("$@")
if [ ${#mutants[@]} -eq 0 ]; then
    mapfile -t mutants < <(cd "$root/tests/mutants" && printf '%s\n' *.patch | sed 's/\.patch$//')
    found=$(killer original)
    if [ -n "$found" ]; then
        echo "the code without any mutant is killed by $found"
        exit 1
    fi
fi

passed=0 failed=0
for name in "${mutants[@]}"; do
    patch=$root/tests/mutants/$name.patch
    if ! patch -p1 -s --fuzz=0 --no-backup-if-mismatch <"$patch" >"$log/$name" 2>&1; then
        cat "$log/$name"
        echo "$name.patch no longer applies"
        exit 1
    fi
    found=$(killer "$name")
    # With a new date, so that it is compiled again.
    sed -n 's/^+++ b\///p' "$patch" | while read -r file; do cp "$root/$file" "$file"; done
    if [ "$found" = 'does not compile' ]; then
        echo "$name.patch does not compile"
        exit 1
    elif [ -n "$found" ]; then
        passed=$((passed + 1))
        printf '%-36s killed by %s\n' "$name" "$found"
    elif grep -q "^## $name\$" "$root/tests/mutants/EQUIVALENT.md"; then
        passed=$((passed + 1))
        printf '%-36s equivalent, see EQUIVALENT.md\n' "$name"
    else
        failed=$((failed + 1))
        printf '%-36s SURVIVED %s seeds and all tests\n' "$name" "$seeds"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

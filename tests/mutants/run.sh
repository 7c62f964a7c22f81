#!/usr/bin/env bash
# Applies each mutant (tests/mutants/*.patch) to a copy of the core and prints what kills it: a seed of the simulator, or
# a test. A mutant that survives is a failure, unless EQUIVALENT.md says why nobody could tell.
#
# usage: tests/mutants/run.sh [NAME ...]        MUTANT_SEEDS=500: seeds for each; MUTANT_JOBS=2: copies at work
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
mutants=$root/tests/mutants
place=$root/target/mutants
log=$place/log
seeds=${MUTANT_SEEDS:-500}
jobs=${MUTANT_JOBS:-2}
# Seeds take milliseconds, also like this; those of a mutant that loops would take the time of many others.
export SIMULATION_HANGS_AFTER=5
# Most mutants die within these; the other tests come before the other seeds.
first_seeds=$((seeds < 40 ? seeds : 40))
# Most of the time goes into builds: no optimisation, and only what a mutant has changed.
export CARGO_PROFILE_TEST_RELEASE_OPT_LEVEL=0 CARGO_INCREMENTAL=1
export CARGO_PROFILE_TEST_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_TEST_RELEASE_OVERFLOW_CHECKS=true
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0

if ! command -v patch >/dev/null 2>&1; then
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        as_root="sudo"
    fi
    echo "patch is missing: installing it with apt-get"
    $as_root apt-get update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends patch
fi

# Builds a test of the copy that is the working directory, and says where it is.
build() {
    cargo test -q --profile test-release -p redis-manager-core --features testing "$@" --no-run \
        --message-format json-render-diagnostics 2>"$out" | sed -nE 's/.*"executable":"([^"]+)".*/\1/p'
}

# Says which of so many seeds, from the first one on, breaks a rule, or nothing.
killing_seed() {
    local code=0
    SIMULATION_FIRST=$2 SIMULATION_SEEDS=$3 timeout 180 "$1" --nocapture >"$out" 2>&1 || code=$?
    if [ "$code" -ne 0 ]; then
        grep -m1 -aE '^seed [0-9]+' "$out" | sed -E 's/^seed ([0-9]+)( at [^:]*)?: /seed \1: /' | cut -c1-150 || echo 'a hang of the simulator'
    fi
}

# Says which test is the first to fail, and stops the others; or nothing. What follows the program says which tests.
killing_test() {
    local line pid found='' code=0
    exec {tests}< <(exec timeout 90 "$@" 2>&1)
    pid=$!
    while read -r -u "$tests" line; do
        printf '%s\n' "$line" >>"$out"
        if [[ $line =~ ^test\ (.*)\ \.\.\.\ FAILED$ ]]; then
            found="test ${BASH_REMATCH[1]}"
            kill "$pid" 2>/dev/null || true
            break
        fi
    done
    exec {tests}<&-
    wait "$pid" || code=$?
    if [ -n "$found" ]; then
        echo "$found"
    elif [ "$code" -eq 124 ]; then
        echo "a hang of the tests"
    elif [ "$code" -ne 0 ]; then
        # A panic during another one ends the process.
        sed -nE "s/^thread '([^']+)'.* panicked at .*/test \1, by a crash/p" "$out" | tail -n 1 | grep . || echo "a crash of the tests"
    fi
}

# Says what kills the copy as it is now, or nothing.
killer() {
    local simulation tests found
    simulation=$(build --test simulation) || { cat "$out" >&2; echo 'does not compile'; return; }
    found=$(killing_seed "$simulation" 0 "$first_seeds")
    for target in '--test pool_rules' '--lib'; do
        [ -z "$found" ] || break
        # shellcheck disable=SC2086
        tests=$(build $target) || { cat "$out" >&2; echo 'does not compile'; return; }
        found=$(killing_test "$tests" --skip exhaustive)
    done
    # These take longer than all others together.
    [ -n "$found" ] || found=$(killing_test "$tests" exhaustive)
    if [ -z "$found" ] && [ "$seeds" -gt "$first_seeds" ]; then
        found=$(killing_seed "$simulation" "$first_seeds" $((seeds - first_seeds)))
    fi
    printf '%s' "$found"
}

# A copy of the core and its tests, with a target of its own.
prepare() {
    work=$place/work$1
    export CARGO_TARGET_DIR=$place/target$1
    rm -rf "$work"
    mkdir -p "$work" "$log"
    git -C "$root" ls-files -z --cached --others --exclude-standard Cargo.toml Cargo.lock rustfmt.toml core tests/core tests/simulation.rs tests/threads |
        tar -C "$root" -c --null -T - | tar -x -m -C "$work"
    sed -i -e 's/^members = .*/members = ["core"]/' -e '/^default-members = /d' "$work/Cargo.toml"
}

# One mutant, in the copy of this number.
judge() {
    local name=$2 patch=$mutants/$2.patch found
    work=$place/work$1 out=$log/$name
    export CARGO_TARGET_DIR=$place/target$1
    cd "$work"
    if ! patch -p1 -s --fuzz=0 --dry-run <"$patch" >"$out" 2>&1; then
        found='no longer applies'
    else
        patch -p1 -s --fuzz=0 --no-backup-if-mismatch <"$patch"
        found=$(killer)
        patch -p1 -s --fuzz=0 --no-backup-if-mismatch -R <"$patch"
    fi
    if [ "$found" = 'no longer applies' ] || [ "$found" = 'does not compile' ]; then
        printf '%-40s FAILED: %s\n' "$name" "$found"
    elif [ -n "$found" ]; then
        printf '%-40s killed by %s\n' "$name" "$found"
    elif grep -q "^## $name\$" "$mutants/EQUIVALENT.md"; then
        printf '%-40s equivalent, see EQUIVALENT.md\n' "$name"
    else
        printf '%-40s SURVIVED %s seeds and all tests\n' "$name" "$seeds"
    fi
}

# How this script calls itself, once for each mutant.
if [ "${1:-}" = --one ]; then
    judge "$MUTANT_COPY" "$2"
    exit
fi

names=("$@")
prepare 0
if [ ${#names[@]} -eq 0 ]; then
    mapfile -t names < <(cd "$mutants" && printf '%s\n' *.patch | sed 's/\.patch$//')
    out=$log/original
    found=$(cd "$work" && killer)
    if [ -n "$found" ]; then
        echo "the code without any mutant is killed by $found"
        exit 1
    fi
fi
for copy in $(seq 1 $((jobs - 1))); do
    # What others have written need not be built again.
    [ -d "$place/target$copy" ] || [ ! -d "$place/target0" ] || cp -a "$place/target0" "$place/target$copy"
    prepare "$copy"
done
printf '%s\n' "${names[@]}" | xargs -P "$jobs" -n 1 --process-slot-var=MUTANT_COPY "$mutants/run.sh" --one | tee "$log/results"
failed=$(grep -cE ' (FAILED|SURVIVED)' "$log/results" || true)
echo "$((${#names[@]} - failed)) passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$(wc -l <"$log/results")" -eq ${#names[@]} ]

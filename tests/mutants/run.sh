#!/usr/bin/env bash
# Applies each mutant to a copy of the code and prints what kills it. A mutant that survives is a failure, unless
# EQUIVALENT.md says why nobody could tell.
#
# - tests/mutants/core/, bugs of the core: killed by a seed of the simulator, or by a test.
# - tests/mutants/adapters/, bugs of the adapters: killed by the test that the entry names, as in
#   `killed by: -p redis-manager --lib NAME` or `killed by: -p redis-manager-tests --test redis NAME`.
#
# There is a table for each file of the code; table.pl reads them, and says what they look like.
#
# usage: tests/mutants/run.sh [core | adapters | NAME ...]
#        tests/mutants/run.sh --check        only whether all of them still apply; takes a second
#
# MUTANT_SEEDS=500    seeds for each mutant of the core
# MUTANT_JOBS=2       copies at work
# MUTANT_BUDGET=180   begins no mutant after so many seconds, but for the first MUTANT_AT_LEAST=10, in the random order of
#                     MUTANT_ORDER, a number that is printed
# MUTANT_KILLER='-p redis-manager-tests --test adapters_simulation no_seed_breaks_a_rule'
#                     what is tried on mutants of the adapters in the place of what their entries name
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
mutants=$root/tests/mutants
place=$root/target/mutants
log=$place/log
seeds=${MUTANT_SEEDS:-500}
jobs=${MUTANT_JOBS:-2}
budget=${MUTANT_BUDGET:-}
at_least=${MUTANT_AT_LEAST:-10}
# Seconds; tests that take longer hang.
patience=90
# Seeds take milliseconds, also like this; those of a mutant that loops would take the time of many others.
export SIMULATION_HANGS_AFTER=5
# Of the simulator of the adapters, for each of their mutants that it is to kill.
export SIMULATION_SEEDS=${MUTANT_ADAPTERS_SEEDS:-40}
# Most mutants die within these; the other tests come before the other seeds.
first_seeds=$((seeds < 40 ? seeds : 40))
# Most of the time goes into builds: no optimisation, and only what a mutant has changed.
export CARGO_PROFILE_TEST_RELEASE_OPT_LEVEL=0 CARGO_INCREMENTAL=1
export CARGO_PROFILE_TEST_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_TEST_RELEASE_OVERFLOW_CHECKS=true
export CARGO_PROFILE_DEV_DEBUG=0
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0

table() {
    perl "$mutants/table.pl" "$@"
}

# Builds a test of the copy that is the working directory, and says where it is.
build() {
    cargo test -q "$@" --no-run --message-format json-render-diagnostics 2>"$out" | sed -nE 's/.*"executable":"([^"]+)".*/\1/p'
}

build_core() {
    build --profile test-release -p redis-manager-core --features testing "$@"
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
    exec {tests}< <(exec timeout "$patience" "$@" 2>&1)
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

# Says what kills the copy of the core as it is now, or nothing.
core_killer() {
    local simulation tests found
    simulation=$(build_core --test simulation) || { cat "$out" >&2; echo 'does not compile'; return; }
    found=$(killing_seed "$simulation" 0 "$first_seeds")
    for target in '--test pool_rules' '--lib'; do
        [ -z "$found" ] || break
        # shellcheck disable=SC2086
        tests=$(build_core $target) || { cat "$out" >&2; echo 'does not compile'; return; }
        found=$(killing_test "$tests" --skip exhaustive)
    done
    # These take longer than all others together.
    [ -n "$found" ] || found=$(killing_test "$tests" exhaustive)
    if [ -z "$found" ] && [ "$seeds" -gt "$first_seeds" ]; then
        found=$(killing_seed "$simulation" "$first_seeds" $((seeds - first_seeds)))
    fi
    printf '%s' "$found"
}

# Says whether these tests kill the copy of the adapters as it is now, or nothing. Arguments: -p PACKAGE, then --lib or
# --test TARGET, then the names.
adapters_killer() {
    local tests target=("$1" "$2" "$3") found name listed
    shift 3
    if [ "${target[2]}" = --test ]; then
        target+=("$1")
        shift
    fi
    [ "${target[1]}" != redis-manager ] || target+=(--all-features)
    tests=$(build "${target[@]}") || { cat "$out" >&2; echo 'does not compile'; return; }
    # A test that was renamed kills nothing any more.
    for name in "$@"; do
        listed=$("$tests" --list "$name")
        if [[ $listed != *': test'* ]]; then
            echo 'names no test'
            return
        fi
    done
    found=$(killing_test "$tests" "$@")
    printf '%s' "$found"
}

# Says what kills the copy of a half as it is now, or nothing.
killer() {
    local words
    if [ "$1" = core ]; then
        core_killer
    else
        read -ra words <<<"$2"
        if [ ${#words[@]} -lt 4 ]; then
            echo 'names no test'
        else
            adapters_killer "${words[@]}"
        fi
    fi
}

enter_copy() {
    work=$place/$1/work$2
    export CARGO_TARGET_DIR=$place/$1/target$2
}

# A copy of a half and its tests, with a target of its own.
prepare() {
    local parts=(core tests/core) members='"core"'
    if [ "$1" = adapters ]; then
        parts=(README.md core adapters tests) members='"core", "adapters", "tests"'
    fi
    enter_copy "$1" "$2"
    # What others have written need not be built again.
    if [ "$2" -gt 0 ] && [ ! -d "$CARGO_TARGET_DIR" ] && [ -d "$place/$1/target0" ]; then
        cp -a "$place/$1/target0" "$CARGO_TARGET_DIR"
    fi
    rm -rf "$work"
    mkdir -p "$work" "$log"
    git -C "$root" ls-files -z --cached --others --exclude-standard Cargo.toml Cargo.lock rustfmt.toml "${parts[@]}" |
        tar -C "$root" -c --null -T - | tar -x -m -C "$work"
    sed -i -e "s/^members = .*/members = [$members]/" -e '/^default-members = /d' "$work/Cargo.toml"
}

# What the code without any mutant fails at, or nothing.
original_killer() {
    local found='' killers target names
    enter_copy "$1" 0
    cd "$work"
    out=$log/original
    if [ "$1" = core ]; then
        core_killer
        return
    fi
    # All tests of a target at once.
    patience=500
    killers=$(table killers)
    while read -r target; do
        names=$(sed -nE "s/^$target +//p" <<<"$killers" | tr ' ' '\n' | sort -u)
        # shellcheck disable=SC2086
        found=$(adapters_killer $target $names)
        [ -z "$found" ] || break
    done < <(sed -nE 's/^(-p [a-z-]+ (--lib|--test [a-z_]+)) .*/\1/p' <<<"$killers" | sort -u)
    printf '%s' "$found"
}

# One mutant, in the copy of this number.
judge() {
    local name=$2 half found
    half=$(table half "$name")
    enter_copy "$half" "$1"
    out=$log/$name
    cd "$work"
    if ! table apply "$name" "$work" >"$out" 2>&1; then
        cat "$out" >&2
        found='no longer applies'
    else
        found=$(killer "$half" "${MUTANT_KILLER:-$(table killers "$name")}")
        table revert "$work"
    fi
    if [ "$found" = 'no longer applies' ] || [ "$found" = 'does not compile' ] || [ "$found" = 'names no test' ]; then
        printf '%-40s FAILED: %s\n' "$name" "$found"
    elif [ -n "$found" ]; then
        printf '%-40s killed by %s\n' "$name" "$found"
    elif grep -q "^## $name\$" "$mutants/EQUIVALENT.md"; then
        printf '%-40s equivalent, see EQUIVALENT.md\n' "$name"
    elif [ "$half" = adapters ]; then
        printf '%-40s SURVIVED the tests that it names\n' "$name"
    else
        printf '%-40s SURVIVED %s seeds and all tests\n' "$name" "$seeds"
    fi
}

# How this script calls itself, once for each mutant: its number in the order, and its name.
if [ "${1:-}" = --one ]; then
    if [ -z "$budget" ] || [ "$2" -le "$at_least" ] || [ "$(date +%s)" -lt "$MUTANT_UNTIL" ]; then
        judge "$MUTANT_COPY" "$3"
    fi
    exit
fi
if [ "${1:-}" = --check ]; then
    table check
    exit
fi

whole=()
case ${1:-} in
    '') whole=(core adapters) ;;
    core | adapters) whole=("$1") ;;
esac
names=("$@")
if [ ${#whole[@]} -gt 0 ]; then
    mapfile -t names < <(for half in "${whole[@]}"; do table names "$half"; done)
fi
# Ends here if a name is wrong.
halves=$(table half "${names[@]}" | sort -u)
mapfile -t halves <<<"$halves"
for half in "${halves[@]}"; do
    prepare "$half" 0
done
for half in "${whole[@]}"; do
    found=$(original_killer "$half")
    if [ -n "$found" ]; then
        echo "the code without any mutant is killed by $found"
        exit 1
    fi
done
for half in "${halves[@]}"; do
    for copy in $(seq 1 $((jobs - 1))); do
        prepare "$half" "$copy"
    done
done
if [ -n "$budget" ]; then
    order=${MUTANT_ORDER:-$RANDOM}
    MUTANT_UNTIL=$(($(date +%s) + budget))
    export MUTANT_UNTIL
    mapfile -t names < <(printf '%s\n' "${names[@]}" | awk -v seed="$order" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' | sort | cut -f2)
    echo "as many of ${#names[@]} as begin within $budget s, in the order MUTANT_ORDER=$order"
fi
printf '%s\n' "${names[@]}" | awk '{ print NR, $0 }' | xargs -P "$jobs" -n 2 --process-slot-var=MUTANT_COPY "$mutants/run.sh" --one | tee "$log/results"
failed=$(grep -cE ' (FAILED|SURVIVED)' "$log/results" || true)
judged=$(wc -l <"$log/results")
echo "$((judged - failed)) passed, $failed failed, $((${#names[@]} - judged)) left out"
[ "$failed" -eq 0 ] && { [ -n "$budget" ] || [ "$judged" -eq ${#names[@]} ]; }

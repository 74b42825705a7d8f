# Commands of this workspace; `just` lists them. Each works without `just` too: see the recipe.

default:
    @just --list

# train on the bundled prices, deploy, predict over HTTP, write a report
quickstart *arguments:
    cargo run --release -- quickstart {{ arguments }}

# what the compiler and clippy say, fast
check:
    cargo check --workspace --all-targets
    cargo clippy --workspace --all-targets -- -D warnings

# all tests; one crate: `just test -p market`
test *arguments="--workspace":
    cargo test {{ arguments }}

# format everything
fmt:
    cargo fmt --all

# what must pass before a change is merged (needs CPython 3.11 for conformance)
ci:
    .ci/run

# every fuzz target for so many seconds (needs a C++ compiler)
fuzz seconds="60":
    fuzz/run {{ seconds }}

# one benchmark beside its peers: `just bench serving-smoke`
bench name:
    bench/run {{ name }}

# regenerate crates/protos from proto/third_party
codegen:
    cargo run -p xtask -- codegen

# licences, advisories and sources of dependencies (needs cargo-deny)
deny:
    cargo deny check

# spelling (needs typos)
typos:
    typos

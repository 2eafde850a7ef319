#!/usr/bin/env python3
"""Checks the layers of docs/architecture.md against `cargo metadata`: who may use whom."""

import json
import subprocess
import sys

PROGRAMS = {
    "gibs-downloader": set(),
    "data-preprocessor": set(),
    "ssl-learner": {"curator-nn", "curator-labeling"},
    "embed-indexer": {"curator-nn", "curator-web"},
    "swipe-labeler": {"curator-labeling", "curator-web"},
    "active-labeler": {"curator-nn", "curator-labeling", "curator-web"},
}
ALLOWED = {
    "curator-core": set(),
    "curator-cli": {"curator-core"},
    "curator-web": {"curator-core"},
    "curator-nn": {"curator-core"},
    "curator-labeling": {"curator-core", "curator-web"},
    "curator-testkit": {"curator-core"},
} | {name: uses | {"curator-core", "curator-cli"} for name, uses in PROGRAMS.items()}
# A heavy library, and the only packages that may name it.
ONLY_IN = {
    "tch": {"curator-nn"},
    "faiss": {"embed-indexer"},
    "object_store": {"embed-indexer"},
    "rusqlite": {"curator-labeling"},
    "reqwest": {"gibs-downloader", "ssl-learner"},
    "clap": set(PROGRAMS) | {"curator-cli", "curator-labeling", "curator-web", "curator-testkit"},
}


def main() -> int:
    metadata = json.loads(
        subprocess.check_output(["cargo", "metadata", "--no-deps", "--format-version=1", "--locked"])
    )
    wrong = []
    members = {package["name"] for package in metadata["packages"]}
    for package in metadata["packages"]:
        name = package["name"]
        if name not in ALLOWED:
            wrong.append(f"{name} has no place in the layers: add it here and in docs/architecture.md")
            continue
        # What tests use is free, but nothing may depend on a program.
        for dependency in package["dependencies"]:
            used = dependency["name"]
            tests_only = dependency["kind"] == "dev"
            if used in PROGRAMS:
                wrong.append(f"{name} uses the program {used}: the directory is their interface")
            elif used in members and used not in ALLOWED[name] and not tests_only:
                wrong.append(f"{name} uses {used}, which is against the layers")
            elif used in ONLY_IN and name not in ONLY_IN[used] and not tests_only:
                wrong.append(f"{name} uses {used}, which belongs to {', '.join(sorted(ONLY_IN[used]))}")
    for line in wrong:
        print(f"layers: {line}", file=sys.stderr)
    print(f"layers: {len(members)} packages, {len(wrong)} violations")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

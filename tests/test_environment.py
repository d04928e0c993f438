"""pyproject.toml, constraints.txt and environment.yml say the same."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
CONDA = {"pytorch": "torch"}  # where conda-forge has another name than the package index


def lower_bound(requirement):
    specifiers = list(requirement.specifier)
    assert [s.operator for s in specifiers] == [">="], f"{requirement}: expected one lower bound"
    return Version(specifiers[0].version)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def bounds(lines):
    """Lower bound by canonical name."""
    parsed = [Requirement(line) for line in lines]
    names = [CONDA.get(r.name, canonicalize_name(r.name)) for r in parsed]
    assert len(set(names)) == len(names), "a dependency stands there twice"
    return {name: lower_bound(r) for name, r in zip(names, parsed, strict=True)}


def declared():
    return bounds([*project()["dependencies"], *project()["optional-dependencies"]["dev"]])


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def conda_lines():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    from_pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    plain = [entry for entry in listed if isinstance(entry, str)]
    assert "-e ." in from_pip
    return [line for line in [*plain, *from_pip] if line not in ("pip", "-e .")]


def test_conda_environment_has_the_same_lower_bounds():
    conda = bounds(conda_lines())
    python = conda.pop("python")
    assert conda == declared()
    assert project()["requires-python"] == f">={python}"


def test_pins_are_exact_and_portable():
    # No local version (+cpu), no editable, no file, no library of one kind of GPU.
    form = re.compile(r"(?!nvidia-|cuda-|triton|coursekit)[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*")
    assert [line for line in pins() if not form.fullmatch(line)] == []


def test_pins_cover_every_dependency_and_satisfy_its_lower_bound():
    parsed = [line.split("==") for line in pins()]
    pinned = {canonicalize_name(name): Version(version) for name, version in parsed}
    assert len(pinned) == len(parsed)
    assert set(declared()) <= set(pinned)
    assert {n: b for n, b in declared().items() if pinned[n] < b} == {}


def test_pins_are_what_runs_here():
    """Tests that pass under other versions say nothing about the pinned ones."""
    from importlib.metadata import version

    if not (ROOT / ".venv" / ".ready").is_file():
        pytest.skip("not an environment made by make")
    found = {line.split("==")[0]: version(line.split("==")[0]).split("+")[0] for line in pins()}
    assert [f"{name}=={v}" for name, v in found.items()] == pins()


def test_license_files_are_the_declared_ones():
    assert project()["license"] == "MIT AND CC-BY-4.0"
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "creativecommons.org/licenses/by/4.0" in (ROOT / "LICENSE-TEXT").read_text(
        encoding="utf-8"
    )


def test_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project()["version"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"]

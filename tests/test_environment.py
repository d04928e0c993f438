"""pyproject.toml, constraints.txt and environment.yml say the same."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import coursekit

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


# Release


def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def latest_change():
    """Version and date of the newest part of the changes; the date of one to come is None."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version, date = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d|unreleased)\)$", text, re.M).groups()
    return version, None if date == "unreleased" else date


def test_one_version_is_said_everywhere():
    zenodo = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    said = {
        "pyproject.toml": project()["version"],
        "coursekit": coursekit.__version__,
        "CITATION.cff": citation()["version"],
        ".zenodo.json": zenodo["version"],
        "CHANGELOG.md": latest_change()[0],
    }
    assert len(set(said.values())) == 1, said


def test_a_version_has_a_date_once_it_is_released():
    date = citation().get("date-released")
    assert (date and str(date)) == latest_change()[1]


def test_an_archive_and_a_citation_say_the_same():
    zenodo, own = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8")), citation()
    assert own["cff-version"] == "1.2.0"
    assert zenodo["title"] == own["title"]
    assert zenodo["license"] == own["license"]
    assert zenodo["creators"] == own["authors"]
    assert set(own["keywords"]) <= set(zenodo["keywords"])
    assert own.get("repository-code") == project().get("urls", {}).get("Repository")


def test_binder_has_what_the_course_needs():
    own = ROOT / ".binder"
    listed = yaml.safe_load((own / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    from_pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    here = bounds([e for e in [*listed, *from_pip] if isinstance(e, str) and e != "pip"])
    here.pop("python")
    assert here == bounds(project()["dependencies"])

"""The published schemas: well-formed, complete, and the same wherever they are kept."""

import json
import re
from dataclasses import fields

import pytest
from jsonschema import Draft202012Validator

from prometheus.decision.problem_file import schema as schema_module
from prometheus.decision.problem_file.schema import PROBLEM_SCHEMA, RESULT_SCHEMA, schema_named
from prometheus.domain.strategy import StrategyParams
from tests.unit.decision.problem_file.small_problem import REPOSITORY, small_document

BOTH = pytest.mark.parametrize("name", [PROBLEM_SCHEMA, RESULT_SCHEMA])


def parts(value):
    """Return every object inside a schema."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from parts(item)


@BOTH
def test_copy_in_the_documentation_is_the_one_in_the_package(name):
    """The schema in docs/specs is byte for byte the one that is shipped and used."""
    shipped = REPOSITORY / "prometheus" / "decision" / "problem_file" / name
    assert (REPOSITORY / "docs" / "specs" / name).read_bytes() == shipped.read_bytes()


@BOTH
def test_schema_is_a_schema(name):
    """Both documents are valid JSON Schema 2020-12."""
    Draft202012Validator.check_schema(schema_named(name))
    assert schema_named(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@BOTH
def test_every_field_says_what_it_means(name):
    """Every property has a description, its own or that of the type it refers to."""
    root = schema_named(name)
    for part in parts(root):
        for key, item in part.get("properties", {}).items():
            if isinstance(item, dict):
                target = root["$defs"][item["$ref"].rsplit("/", 1)[1]] if "$ref" in item else {}
                assert item.get("description") or target.get("description"), key


def test_every_rule_of_the_problem_schema_has_words():
    """No pattern and no kind of violation of the problem schema falls back to a validator's own wording."""
    said_elsewhere = {"required", "additionalProperties"}
    silent = {"$schema", "$id", "$ref", "$defs", "title", "description", "properties", "items"}
    for part in parts({"root": schema_named(PROBLEM_SCHEMA)}):
        if "type" in part or "$ref" in part or "enum" in part:
            assert set(part) - silent - said_elsewhere <= set(schema_module._REASONS)
        if isinstance(part.get("pattern"), str):
            assert part["pattern"] in schema_module._PATTERNS


def test_patterns_accept_what_their_words_offer():
    """The example in the words of each pattern fits the pattern."""
    examples = {words: re.search(r"such as ([-0-9.]+[0-9])", words) for words in schema_module._PATTERNS.values()}
    assert sum(found is not None for found in examples.values()) == 5
    for pattern, words in schema_module._PATTERNS.items():
        if examples[words] is not None:
            assert re.search(pattern, examples[words][1])


def test_foreign_validator_accepts_the_same_document():
    """A document that is read here fits the schema for any validator, with numbers as plain JSON."""
    Draft202012Validator(schema_named(PROBLEM_SCHEMA)).validate(json.loads(json.dumps(small_document())))


@pytest.mark.parametrize(("name", "heading"), [(PROBLEM_SCHEMA, "## PROBLEM.json"), (RESULT_SCHEMA, "## RESULT.json")])
def test_page_explains_every_field(name, heading):
    """Every field of the problem, and every one at the top of the result, is explained in the documentation."""
    page = (REPOSITORY / "docs" / "specs" / "problem_file.md").read_text(encoding="utf-8")
    section = page.split(heading, 1)[1].split("\n## ", 1)[0]
    # First cells of the tables, and what stands in bold before them.
    cells = " ".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| "))
    explained = set(re.findall(r"[$\w]+", cells)) | set(re.findall(r"\*\*(\w+)\*\*", section))
    root = schema_named(name)
    stated = set(root["properties"])
    if name == PROBLEM_SCHEMA:
        for kind in ("asset", "lot", "recent_trade", "tax_rates"):
            stated |= set(root["$defs"][kind]["properties"])
    assert stated - explained == set()


def test_page_names_no_parameter_that_does_not_exist():
    """Each parameter in the page's table is one of the strategy's."""
    page = (REPOSITORY / "docs" / "specs" / "problem_file.md").read_text(encoding="utf-8")
    table = page.split("| parameter |", 1)[1].split("\n\n", 1)[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert "risk_aversion" in named
    assert named <= {field.name for field in fields(StrategyParams)}

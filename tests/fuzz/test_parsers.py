"""Any contents of any file that avbench reads give a value or one error that names the file."""

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.fuzz.parsers import PARSERS, registry

CASES = int(os.environ.get("AVBENCH_FUZZ_CASES", "60"))
"""Mutated files that each parser is given."""

BOUNDED = settings(
    max_examples=CASES,
    derandomize=True,
    database=None,
    deadline=None,  # ``Parser.examine`` bounds processor time
    suppress_health_check=list(HealthCheck),
)


def test_every_dataset_reader_is_in_the_table_of_parsers() -> None:
    known = {parser.reader for parser in PARSERS.values()} - {None}
    assert known == set(registry().names("datasets"))


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_its_valid_files(name: str) -> None:
    parser = PARSERS[name]
    for contents in parser.seeds:
        assert parser.examine(contents) is not None


@pytest.mark.parametrize("name", PARSERS)
@BOUNDED
@given(rng=st.randoms(use_true_random=False))
def test_a_mutated_file_gives_a_value_or_an_error_that_names_it(
    name: str, rng: random.Random
) -> None:
    parser = PARSERS[name]
    parser.examine(mutated(rng.choice(parser.seeds), rng))


@pytest.mark.parametrize("name", PARSERS)
@settings(BOUNDED, max_examples=CASES // 4)
@given(contents=st.binary(max_size=200))
def test_any_bytes_give_a_value_or_an_error_that_names_the_file(
    name: str, contents: bytes
) -> None:
    PARSERS[name].examine(contents)

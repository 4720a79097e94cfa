import pytest

from tests.golden.insid3.insid3_case import Insid3Case
from tests.golden.method_set import method_set


@pytest.fixture(scope="session")
def insid3_case() -> Insid3Case:
    golden = method_set("insid3")
    return Insid3Case(golden, golden.json("case.json"))

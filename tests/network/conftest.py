"""`pytest tests/network --rewrite-edges` writes the golden edge lists anew; read the difference."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-edges", action="store_true", help="write tests/network/edges/ from what the code gives now"
    )


@pytest.fixture
def rewrite_edges(request: pytest.FixtureRequest) -> bool:
    """Whether golden edge lists are written instead of compared."""
    return bool(request.config.getoption("--rewrite-edges", default=False))

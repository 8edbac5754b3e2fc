"""A plugin of pytest for runs of the public suite: its examples, without what only costs time.

The failing example need not be the smallest, and a test that is slow on a busy machine is right.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings


# The suite's own profile is made by its conftest, in the same hook.
@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Load the suite's profile with changes."""
    settings.register_profile(
        "spec_tests",
        settings.get_profile("array-api-tests"),
        phases=(Phase.explicit, Phase.generate),
        report_multiple_bugs=False,
        suppress_health_check=(HealthCheck.too_slow,),
    )
    settings.load_profile("spec_tests")

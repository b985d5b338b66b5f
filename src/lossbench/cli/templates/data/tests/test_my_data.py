"""The laws of lossbench on conf/data/my_data.yaml, at its own settings and at others."""

import pytest


@pytest.mark.lossbench("conf/data/my_data.yaml", variants={"my_data": [{"test": 0.0}, {"fold": 1}]})
def test_my_data(law):
    law()

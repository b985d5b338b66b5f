"""The laws of lossbench on conf/model/my_model.yaml, at its own settings and at others."""

import pytest


@pytest.mark.lossbench("conf/model/my_model.yaml", variants={"my_model": [{"width": 3}]})
def test_my_model(law):
    law()

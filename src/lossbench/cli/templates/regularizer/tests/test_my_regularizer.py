"""The laws of lossbench on conf/regularizer/my_regularizer.yaml, at its own settings and at others."""

import pytest


@pytest.mark.lossbench("conf/regularizer/my_regularizer.yaml", variants={"my_regularizer": [{"width": 0.1}]})
def test_my_regularizer(law):
    law()

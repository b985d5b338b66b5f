"""The laws of lossbench on conf/loss/my_own_loss.yaml, at its own settings and at others."""

import pytest


@pytest.mark.lossbench("conf/loss/my_own_loss.yaml", variants={"my_own_loss": [{"push": 0.0}]})
def test_my_own_loss(law):
    law()

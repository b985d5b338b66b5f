"""The laws of lossbench on conf/loss/my_loss.yaml."""

import pytest


@pytest.mark.lossbench("conf/loss/my_loss.yaml")
def test_my_loss(law):
    law()

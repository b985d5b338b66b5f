"""The laws of lossbench on conf/metrics/my_metric.yaml."""

import pytest


@pytest.mark.lossbench("conf/metrics/my_metric.yaml")
def test_my_metric(law):
    law()

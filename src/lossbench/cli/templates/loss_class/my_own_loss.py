"""my_own_loss: what it is, and where it comes from."""

from torch import Tensor

from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction


class MyOwnLoss(Loss):
    """Per row -log p_y + push (1 - p_y), p = softmax(z); push = 0 is cross-entropy.

    Parameters
    ----------
    push
        >= 0.
    """

    # The link makes scores into probabilities; the facts below are what the laws test (see Loss for all of them).
    link = Softmax()
    posterior = "gradient"
    push: Tensor

    def __init__(self, push: float = 1.0) -> None:
        super().__init__()
        # A buffer, so that runs with other values can be trained as one stack.
        self.register_buffer("push", number(self.name, "push", push, at_least=0))
        self.proper = push == 0

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        """Return one value per row (N,); target are class indices (N,)."""
        nll, log_rest = prediction.nll_and_log_rest(target)  # -log p_y and log(1 - p_y), exact where p_y rounds to 1
        return nll + self.push.to(nll.dtype) * log_rest.exp()

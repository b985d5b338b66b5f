"""Why a mutant that the laws miss is let live, by its name."""

_SHIFT = "Equivalent: the logits are moved by another constant, which changes no sparsemax and only costs digits."
_CENTRE = (
    "Equivalent: the scores are taken around another point, which changes no pair's difference and only costs digits."
)
_PAIRS = (
    "Equivalent: likeness and mates are symmetric and all rows of a class have equally many mates, so the sum over all "
    "pairs of rows is the same, whichever of the two is called the anchor."
)
_NEWTON = (
    "Equivalent but slower: Newton's iteration on the logarithm of the sum has the same root, which it reaches within "
    "the steps for all but extreme scores and temperatures."
)

_FACTOR = (
    "Equivalent: what is cut off only scales a log-sum that is 0 at the root, so it enters in the second order, which the "
    "step after it repairs."
)

REASONS: dict[str, str] = {
    "links.Sparsemax.probs [sign] columns - columns.detach().amax(dim=-1, keepdim=True) -> "
    "columns + columns.detach().amax(dim=-1, keepdim=True)": _SHIFT,
    "ranking.PairwiseAuc._sorted [axis] scores.double().mean(dim=0) -> scores.double().sum(dim=0)": _CENTRE,
    "contrastive.SupervisedContrastive._contrastive [axis] likeness.log_softmax(dim=-1) -> "
    "likeness.log_softmax(dim=0)": _PAIRS,
    "contrastive.SupervisedContrastive._contrastive [axis] (mates * log_share).sum(dim=-1) -> "
    "(mates * log_share).sum(dim=0)": _PAIRS,
    "links.TemperedSoftmax._nearer [factor] log_sum * quotient(torch.expm1, tail * log_sum) -> log_sum": _NEWTON,
    "links.TemperedSoftmax._nearer [factor] tail * log_sum -> log_sum": _NEWTON,
    "links.TemperedSoftmax._nearer [detached] log_terms - log_sum -> log_terms.detach() - log_sum": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] log_terms - log_sum -> log_terms - log_sum.detach()": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] share / (1 + tail * (normaliser - columns)) -> share.detach() / (1 + tail * (normaliser - columns))": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] share / (1 + tail * (normaliser - columns)) -> share / (1 + tail * (normaliser - columns)).detach()": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] 1 + tail * (normaliser - columns) -> 1 + (tail * (normaliser - columns)).detach()": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] tail * (normaliser - columns) -> tail * (normaliser - columns).detach()": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] normaliser - columns -> normaliser.detach() - columns": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] normaliser - columns -> normaliser - columns.detach()": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] log_sum * quotient(torch.expm1, tail * log_sum) / falls -> log_sum * quotient(torch.expm1, tail * log_sum) / falls.detach()": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] log_sum * quotient(torch.expm1, tail * log_sum) -> log_sum * quotient(torch.expm1, tail * log_sum).detach()": _FACTOR,
    "links.TemperedSoftmax._nearer [detached] tail * log_sum -> tail * log_sum.detach()": _FACTOR,
}

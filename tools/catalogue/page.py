"""The page: what the parts say about themselves, in order."""

from __future__ import annotations

from itertools import groupby
from types import ModuleType

from catalogue.curves import FIXED_SCORES, FIXED_TARGETS, REACH, Curves
from catalogue.docstrings import sentences
from catalogue.entries import TWO, Entry
from catalogue.markdown import block, inline, item, paragraph, quantity, table
from catalogue.others import regularizer_section, weighting_section
from catalogue.pictures import LOSS_AXIS, SLOPE_AXIS, axes_of
from catalogue.words import STACKS, about, code, file, needs, words, yes

PICTURES = "catalogue"  # beside the page
# Families in the order in which one meets them; others follow by name.
FAMILIES = (
    "likelihood", "external", "distance", "divergence", "margin", "focus", "asymmetric", "imbalance", "robust",
    "ranking", "overlap", "embedding", "contrastive", "adaptive",
)  # fmt: skip
SHOWN_AT = (-2.0, 0.0, 2.0)


def page(losses: list[Entry], drawn: dict[str, Curves], weightings: list[Entry], regularizers: list[Entry]) -> str:
    """Return docs/catalogue.md."""
    parts = [
        "<!-- Written by scripts/catalogue from the docstrings, conf and the instances themselves. Do not edit. -->",
        "# The catalogue",
        paragraph(
            f"{len(losses)} losses, {len(weightings)} weightings and {len(regularizers)} regularizers, each with its "
            "formula, facts, conventions and source. Every one is a YAML under `conf`, to be combined as a grid: "
            "`lossbench loss=focal weighting=balanced regularizer=[l1,l2]`."
        ),
        *_reading(),
        "## All losses",
        table(
            ["loss", "what", "link", "proper", "posterior", "one value per", "stacks", "needs"],
            [_overview(entry) for entry in losses],
        ),
        "## What does not stack",
        *_not_stacking(losses),
    ]
    for module, family in _families(losses):
        parts.append(f"## {_stem(module).capitalize()}")
        parts += about(module)
        for entry in family:
            parts += _loss(entry, drawn[entry.name])
    parts += [*weighting_section(weightings), *regularizer_section(regularizers)]
    return "\n\n".join(parts) + "\n"


def _reading() -> list[str]:
    high = LOSS_AXIS[True][1]
    others = ", ".join(f"{score:g}" for score in FIXED_SCORES)
    classes = ", ".join("positive" if target else "negative" for target in FIXED_TARGETS)
    rare = TWO.class_counts[1] / TWO.n_train
    return [
        "## How to read it",
        paragraph(
            "**Notation.** s: raw score, z: logits (N, K), p: probabilities of the link, p_y: probability of the true "
            "class y, yt: +1 for a score that speaks for the row's class and -1 else, n_c: class counts of the "
            "training split, pi = n / sum n, N rows, K classes. Two classes have one score and z = \\[0, s\\]. "
            "A loss per row gives N values, and the objective takes their (weighted) mean."
        ),
        paragraph(
            "**Pictures.** Two classes, against the score of one row, which for a positive row is its margin and for a "
            "negative row the opposite of it. Left the loss of a positive row (blue, solid) and of a negative row "
            "(orange, dashed), beside cross-entropy of a positive row (grey, dotted); in the middle their gradients in "
            "the score, where a jump is drawn as a steep line; right the probability that the link makes of the score "
            "(green, solid), and the posterior that follows from the loss's gradient (purple, dash-dotted) where there "
            f"is one. One row in {1 / rare:g} of the training split is positive. All have the same axes, scores to "
            f"{REACH:g} and losses to {high:g} (to {LOSS_AXIS[False][1]:g} per batch), or say that they have their own."
        ),
        paragraph(
            "**Losses of whole batches.** The row joins a fixed batch of four, with the scores "
            f"{others} ({classes}); loss and gradient are the batch's, and so are cross-entropy's. Parameters of the "
            "loss's own are where they rest on the fixed rows. Features, where a loss reads them, are unit vectors "
            "that turn with the score, from one class's side to the other's, by the angle 180° sigmoid(-s)."
        ),
        paragraph(
            "**Facts**, at the YAML's settings for these two classes; laws under `tests/laws` test them. *Proper*: the "
            "minimum, read through the link, is the class posterior. *Posterior*: the class posterior follows from the "
            "loss's gradient, or a calibrator is fitted on validation. *Classes alike*: renaming the classes changes "
            "nothing. *Finite*: value and gradient in float32 up to such scores. *Stacks*: many runs can be trained as "
            "one, whatever their settings (yes) or where these are equal. Losses of whole batches take no weighting."
        ),
    ]


def _families(losses: list[Entry]) -> list[tuple[ModuleType, list[Entry]]]:
    def place(entry: Entry) -> tuple[int, str]:
        stem = _stem(entry.module)
        return (FAMILIES.index(stem) if stem in FAMILIES else len(FAMILIES), stem)

    grouped = groupby(sorted(losses, key=place), key=place)
    families = [list(family) for _, family in grouped]
    return [(family[0].module, family) for family in families]


def _overview(entry: Entry) -> list[str]:
    loss = entry.part
    return [
        f"[{entry.name}](#{entry.name})",
        inline(entry.header),
        words(loss.link.name),
        yes(loss.proper),
        loss.posterior,
        "row" if loss.pointwise else "batch",
        STACKS[loss.stackable],
        needs(loss.needs),
    ]


def _not_stacking(losses: list[Entry]) -> list[str]:
    lines = [item(f"[{name}](#{name}): {inline(why)}") for name, why in not_stacking(losses).items()]
    equal = [f"[{entry.name}](#{entry.name})" for entry in losses if entry.part.stackable == "equal_hyperparameters"]
    return [
        paragraph("Runs with these losses are trained one by one:"),
        "\n".join(lines) if lines else "None.",
        paragraph(
            "Runs with these stack where their settings are equal, since torch keeps them as Python numbers: "
            + ", ".join(equal)
            + ". All others stack whatever their settings."
        ),
    ]


def not_stacking(losses: list[Entry]) -> dict[str, str]:
    """Return the losses that do not stack, with the sentence of their docstring that says why."""
    found = {}
    for entry in losses:
        if entry.part.stackable == "no":
            said = [text for part in entry.doc.conventions for text in sentences(part) if "does not stack" in text]
            if not said:
                raise ValueError(f"{entry.name} does not stack and its docstring does not say why")
            found[entry.name] = " ".join(said)
    return found


def _loss(entry: Entry, curves: Curves) -> list[str]:
    doc = entry.doc
    for part, text in {"a formula": doc.formula, "a sentence that begins with 'Use it'": doc.use}.items():
        if not text:
            raise ValueError(f"{entry.name} needs {part} in its docstring")
    return [
        f"### {entry.name}",
        paragraph(inline(_without_return(doc.summary))),
        block(doc.formula),
        f"![{alternative(entry, curves)}]({PICTURES}/{entry.name}.svg)",
        *_own_axes(entry, curves),
        paragraph(f"**When.** {inline(doc.use)}"),
        *(paragraph(inline(text)) for text in doc.conventions),
        table(*_facts(entry)),
        *_settings(entry),
        *([paragraph(f"Source: {inline(doc.source)}")] if doc.source else []),
        f"Code: {code(entry.module)}, {file(f'conf/loss/{entry.name}.yaml')}",
    ]


def _without_return(summary: str) -> str:
    """Let a factory's sentence speak about the loss: it begins with the verb of a function."""
    text = summary.removeprefix("Return ")
    return summary if text == summary else text[0].upper() + text[1:]


def alternative(entry: Entry, curves: Curves) -> str:
    """Return the picture in words."""
    at = {score: curves.score.index(score) for score in _shown(curves)}

    def values(name: str) -> str:
        column = getattr(curves, name)
        return ", ".join(_short(column[place]) for place in at.values())

    of = "" if entry.part.pointwise else "'s batch"
    text = (
        f"{entry.name} at the scores {', '.join(_short(score) for score in at)}: loss of a positive row{of} "
        f"{values('positive')}, of a negative row{of} {values('negative')}; gradient {values('positive_slope')} and "
        f"{values('negative_slope')}; probability by the link {values('link')}"
    )
    return f"{text}, by the posterior {values('posterior')}." if curves.posterior else f"{text}."


def _shown(curves: Curves) -> list[float]:
    return [round(share * curves.score[-1] / REACH, 5) for share in SHOWN_AT]


def _short(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3g}"


def _own_axes(entry: Entry, curves: Curves) -> list[str]:
    loss_axis, slope_axis, usual = axes_of(curves, entry.part.pointwise)
    if usual:
        return []
    end = curves.score[-1]
    return [
        paragraph(
            f"*Axes of its own: scores to {end:g}, loss to {loss_axis[1]:.3g}, gradient to {slope_axis[1]:.3g} (the "
            f"others' end at {REACH:g}, {LOSS_AXIS[entry.part.pointwise][1]:g} and "
            f"{SLOPE_AXIS[entry.part.pointwise][1]:g}).*"
        )
    ]


def _facts(entry: Entry) -> tuple[list[str], list[list[str]]]:
    loss = entry.part
    facts = {
        "link": words(loss.link.name),
        "proper": yes(loss.proper),
        "posterior": loss.posterior,
        "one value per": "row" if loss.pointwise else "batch",
        "smooth": "yes" if loss.smooth else f"but at {inline(loss.kinks)}",
        "classes alike": yes(loss.symmetric_in_classes),
        "finite": f"to {loss.finite_scores:g}",
        "stacks": STACKS[loss.stackable],
        "needs": needs(loss.needs),
        "classes": "two or more" if entry.more_classes else "two only",
    }
    return list(facts), [list(facts.values())]


def _settings(entry: Entry) -> list[str]:
    if entry.adapted:
        return [block(entry.yaml, "yaml")]
    lines = []
    for names, text in entry.doc.parameters.items():
        given = [name for name in names.split(", ") if name in entry.config]
        if given:
            values = ", ".join(f"`{name}: {quantity(entry.config[name])}`" for name in given)
            lines.append(item(f"{values}. {inline(text)}"))
    return ["\n".join(lines)] if lines else []


def _stem(module: ModuleType) -> str:
    return module.__name__.rsplit(".", 1)[-1]

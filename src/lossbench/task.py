"""What the training split says about the problem."""

from __future__ import annotations

from dataclasses import dataclass

from lossbench.errors import DataError


@dataclass(frozen=True)
class Task:
    """A classification problem as its training split presents it.

    Parameters
    ----------
    n_features
        Width of the input after preprocessing.
    class_names
        One name per class index; for two classes, index 1 is the positive class.
    class_counts
        Rows of each class in the *training* split, by class index, before any resampling.

    Raises
    ------
    DataError
        With fewer than two classes, or a class without a training row.

    Examples
    --------
    >>> task = Task(n_features=2, class_names=("outer", "inner"), class_counts=(6000, 200))
    >>> task.n_classes, task.n_scores
    (2, 1)
    >>> round(task.priors[1], 4)
    0.0323
    """

    n_features: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.n_features < 1:
            raise DataError(f"a task needs n_features >= 1, got n_features={self.n_features}")
        if len(self.class_names) < 2:
            raise DataError(f"a task needs two classes or more, got {list(self.class_names)}")
        if len(self.class_counts) != len(self.class_names):
            raise DataError(
                f"a task needs one count per class, got {len(self.class_counts)} counts "
                f"for {len(self.class_names)} classes"
            )
        for name, count in zip(self.class_names, self.class_counts, strict=True):
            if count < 1:
                raise DataError(f"every class needs a training row, class {name!r} has {count}")

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def n_scores(self) -> int:
        """Columns that a network emits: 1 for two classes, K otherwise."""
        return 1 if self.n_classes == 2 else self.n_classes

    @property
    def binary(self) -> bool:
        return self.n_classes == 2

    @property
    def n_train(self) -> int:
        return sum(self.class_counts)

    @property
    def priors(self) -> tuple[float, ...]:
        """Class frequencies of the training split, by class index."""
        return tuple(count / self.n_train for count in self.class_counts)

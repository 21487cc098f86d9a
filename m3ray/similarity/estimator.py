"""What applying a fitted measure needs of scikit-learn's estimators, whose import takes over a second."""

from __future__ import annotations

import inspect
from typing import Any, Self


class Estimator:
    """An estimator by scikit-learn's conventions: `clone`, pipelines and grid searches take it as one of their own.

    The constructor stores settings under their own names, `fit` learns, and a trailing underscore marks what was
    learned.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings.

        Args:
            deep: for scikit-learn, whose estimators may hold others; these hold none.
        Returns:
            Name of each of the constructor's arguments to its value.
        """
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **settings: Any) -> Self:
        """Change settings.

        Args:
            **settings: name of a constructor's argument to its new value.
        Returns:
            The estimator itself.
        Raises:
            ValueError: If the constructor has no such argument.
        """
        unknown = set(settings) - set(self.get_params())
        if unknown:
            raise ValueError(f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}")
        for name, value in settings.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({settings})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.base import BaseEstimator  # asked for by scikit-learn alone, which is imported by then

        return BaseEstimator.__sklearn_tags__(self)


def check_fitted(estimator: Estimator) -> None:
    """Check that an estimator has learned something.

    Args:
        estimator: the estimator.
    Raises:
        NotFittedError: If it has no attribute that ends with an underscore; it is scikit-learn's, and a ValueError.
    """
    if not any(name.endswith("_") and not name.startswith("__") for name in vars(estimator)):
        from sklearn.exceptions import NotFittedError  # imported for the error alone

        raise NotFittedError(f"this {type(estimator).__name__} has not been fitted yet: call fit first")

"""Import scikit-learn without scipy.stats and pandas, which its own imports bring along.

scikit-learn names two functions of scipy.stats, and uses pandas only for data frames. Their imports
take more than half of the processor time of importing it.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

_STATISTICS, _FRAMES = "scipy.stats", "pandas"


def import_sklearn_quickly() -> None:
    """Import scikit-learn; scipy.stats and pandas are imported later, by whoever needs them.

    Only for a process of the command line, which passes arrays and no data frames.
    """
    if "sklearn" in sys.modules:
        return
    replaced: dict[str, Any] = {}
    if _STATISTICS not in sys.modules:
        replaced[_STATISTICS] = _Statistics(_STATISTICS)
    if _FRAMES not in sys.modules:
        replaced[_FRAMES] = None  # import raises ImportError
    sys.modules.update(replaced)
    try:
        import sklearn.linear_model
        import sklearn.metrics
        import sklearn.model_selection  # noqa: F401
    finally:
        for name, module in replaced.items():
            if sys.modules.get(name) is module:
                sys.modules.pop(name, None)


class _Statistics(ModuleType):
    """scipy.stats, which is imported when one of its functions is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def postponed(*arguments: Any, **settings: Any) -> Any:
            return getattr(importlib.import_module(_STATISTICS), name)(*arguments, **settings)

        return postponed

"""The composition of a corpus as one picture."""

from pathlib import Path
from typing import Any

from moesaic.errors import MissingDependencyError
from moesaic.training.data.durable import written_file

__all__ = ["plot_composition"]

_WIDTH_INCHES, _HEIGHT_INCHES = 11, 7


def plot_composition(numbers: dict[str, Any], path: Path) -> None:
    """Draw what `composition_of` gave as a PNG: sizes, languages, lengths and diversity of every corpus.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f"plots need matplotlib, which cannot be imported ({error}): pip install 'moesaic[train]'"
        ) from error

    corpora: dict[str, dict[str, Any]] = numbers["corpora"]
    names = list(corpora)
    figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), layout="constrained")
    sizes, languages, lengths, diversity = figure.subplots(2, 2).flat

    sizes.barh(names, [corpora[name]["characters"] / 1e6 for name in names])
    sizes.set_title("characters, millions")

    left = [0.0] * len(names)
    for language in sorted(numbers["all"]["languages"]):
        shares = [corpora[name]["languages"].get(language, 0) / max(1, corpora[name]["documents"]) for name in names]
        languages.barh(names, shares, left=left, label=language)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    languages.set_title("share of documents by language")
    if names:
        languages.legend(fontsize="small")

    edges = [f"≥{edge}" for edge in numbers["length_edges"]]
    for name in names:
        total = max(1, corpora[name]["documents"])
        lengths.plot(edges, [count / total for count in corpora[name]["lengths"]], marker="o", label=name)
    lengths.set_title("share of documents by length, characters")
    lengths.tick_params(axis="x", rotation=60)

    for name in names:
        distinct = corpora[name]["distinct"]
        diversity.plot(list(distinct), list(distinct.values()), marker="o", label=name)
    diversity.set_title("share of n-grams that are distinct, by n")
    diversity.set_ylim(0, 1.02)
    if names:
        diversity.legend(fontsize="small")

    with written_file(path) as file:
        FigureCanvasAgg(figure).print_png(file)

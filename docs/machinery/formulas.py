"""LaTeX to MathML, which browsers draw by themselves: no script, no network."""

from math_core import LatexError, LatexToMathML

__all__ = ["LatexError", "mathml"]

converter = LatexToMathML(fancy_error=False)


def mathml(latex, *, display):
    r"""Return `latex` as a <math> element; several lines (`\\`) are aligned at `&`.

    Raises LatexError for what it does not know, with the column.
    """
    latex = latex.replace(r"\mbox{", r"\text{")  # plain LaTeX's word for the same
    if display and (r"\\" in latex or "&" in latex) and r"\begin" not in latex:
        latex = r"\begin{aligned}" + latex + r"\end{aligned}"
    return converter.convert_with_local_state(latex, displaystyle=display)

"""The API says which pages use a name: read from their links and their code."""

import pytest
from popglm_book.used_on import names_in_code, names_on_page

CODE = {
    "import popglm\npopglm.glm.GLM().fit(X, y)": {"popglm.glm.GLM"},
    "import popglm as nmo\nnmo.basis.Sum(a, b)": {"popglm.basis.Sum"},
    "from popglm import basis as b\nb.BSplineEval(4)": {"popglm.basis.BSplineEval"},
    "from popglm.io import save\nsave(model, path)": {"popglm.io.save"},
    "from popglm.io import save": set(),
    "import numpy as np\nsave = np.load\nsave(popglm)": set(),
}


@pytest.mark.parametrize("code", CODE)
def test_names_that_code_uses(code):
    found = {name for name in names_in_code(code) if name.count(".") == 2}
    assert found == CODE[code]


def test_names_of_a_page():
    cell = "```{code-cell} ipython3\n---\ntags: [x]\n---\nfrom popglm.io import save\n\nsave(1, 2)\n```\n"
    page = f"[f](popglm.io.load)\n\n{cell}"
    assert names_on_page(page) == ({"popglm.io.load"}, {"popglm.io.save"})

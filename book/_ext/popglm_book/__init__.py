"""What this book adds to Jupyter Book, one idea per file.

kernel: how pages run, and when a cached run is still valid. execution: several run at once. thumbnails and gallery:
figures of pages on the first page. downloads: notebooks with outputs; markdown: their text. buttons: edit and launch, and
the book's address. used_on: pages that use a public name. parameters: arguments as tables, with types and shapes. html:
what others write, mended. moved: addresses without a page.
"""

import os
from importlib.metadata import version
from pathlib import Path

from . import buttons, downloads, execution, gallery, html, kernel, moved, parameters, thumbnails, used_on


def prepare(app, config):
    """Set up the kernels of this build, and where their results are kept."""
    root = Path(app.srcdir)
    os.environ.update(kernel.kernel_environment(root))
    config.nb_execution_cache_path = str(kernel.execution_cache(root))
    config.version = config.release = version("popglm")
    config.html_theme_options["extra_footer"] = f"popglm {config.release}"


def setup(app):
    """Connect each idea to the moment of the build when it acts."""
    app.connect("config-inited", prepare, priority=900)  # after Sphinx dated the copyright by SOURCE_DATE_EPOCH
    app.connect("config-inited", buttons.set_buttons)
    app.connect("env-before-read-docs", execution.execute_pages)
    app.connect("doctree-read", thumbnails.collect, priority=400)  # before Sphinx moves the images
    app.connect("env-purge-doc", thumbnails.forget)
    app.connect("env-updated", gallery.pages_with_gallery)
    app.add_node(gallery.gallery)
    app.add_directive("book-gallery", gallery.Gallery)
    app.connect("doctree-resolved", gallery.resolve)
    app.connect("env-updated", used_on.collect)
    app.connect("doctree-resolved", used_on.show)
    app.connect("doctree-resolved", parameters.show)
    app.connect("html-page-context", downloads.offer_notebook)
    app.connect("html-page-context", downloads.offer_notebook, priority=502)  # the theme's launch buttons overwrote it
    app.connect("html-page-context", html.mend_roles)
    app.connect("html-page-context", html.name_toggles, priority=900)  # after the theme's own
    app.connect("html-page-context", buttons.add_colab, priority=900)
    app.connect("env-updated", moved.check_redirects)
    app.connect("html-collect-pages", moved.not_found)
    app.connect("build-finished", thumbnails.export)
    app.connect("build-finished", buttons.write_notebooks)
    app.connect("build-finished", moved.write_redirects, priority=900)  # after sphinx-external-toc wrote its own index
    app.connect("build-finished", moved.set_root)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False, "parallel_write_safe": True}

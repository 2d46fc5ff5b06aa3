"""Pages that must run do so before Sphinx reads them one by one: several at a time, into the cache where MyST-NB looks.

So MyST-NB finds every page in the cache, and the notebook that is offered shows each output once: of a page that MyST-NB
runs itself, pieces of standard output that it merges would come twice.

A page that fails here is not in the cache. MyST-NB then runs it again, alone and with all of the memory, and reports it
if it fails again.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import is_myst_markdown_notebook, myst_nb_reader_plugin
from nbclient import NotebookClient
from sphinx.util import logging

from .kernel import kernel_environment

AT_ONCE = 4  # a kernel takes about 1 GB of memory
log = logging.getLogger(__name__)


def execute_pages(app, env, docnames):
    """Run the pages that Sphinx is going to read and that the cache lacks, if MyST-NB takes results from the cache."""
    if env.mystnb_config.execution_mode != "cache":
        return
    cache = get_cache(env.mystnb_config.execution_cache_path)
    pages = pages_to_run(cache, [Path(env.doc2path(docname)) for docname in docnames])
    if not pages:
        return
    cores = os.cpu_count() or 1
    at_once = min(AT_ONCE, cores, len(pages))
    log.info("Pages to execute: %d, %d at a time", len(pages), at_once)
    environment = os.environ | kernel_environment(Path(app.srcdir), threads=cores // at_once)
    pool = ThreadPoolExecutor(at_once)
    runs = {pool.submit(run, page, env.mystnb_config.execution_timeout, environment): page for page in pages}
    try:
        for finished in as_completed(runs):
            keep(cache, runs[finished], finished)
    finally:
        pool.shutdown(cancel_futures=True)


def pages_to_run(cache, files):
    """Return the notebooks among the files that the cache has no execution of."""
    kept = {record.hashkey for record in cache.list_cache_records()}
    notebooks = [file for file in files if is_myst_markdown_notebook(file.read_text("utf8"))]
    return [file for file in notebooks if cache.create_hashed_notebook(myst_nb_reader_plugin(file))[1] not in kept]


def run(file, timeout, environment):
    """Run a page in its own folder, as MyST-NB does; return its notebook with outputs, and the seconds it took."""
    log.info("%s: Executing notebook", file)
    start = time.perf_counter()
    place = {"metadata": {"path": str(file.parent)}}
    client = NotebookClient(myst_nb_reader_plugin(file), timeout=timeout, record_timing=False, resources=place)
    return client.execute(env=environment), time.perf_counter() - start


def keep(cache, file, finished):
    """Put a page that ran to its end into the cache: in one thread, because the cache is a database."""
    if error := finished.exception():
        log.info("%s: %s; it is going to run again, alone", file, type(error).__name__)
        return
    notebook, seconds = finished.result()
    log.info("%s: Executed notebook in %.2f seconds", file, seconds)
    bundle = CacheBundleIn(notebook, str(file), data={"execution_seconds": seconds})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)

"""Makes `pytest --nbmake book` run the pages of the book as tests, from any folder of the checkout."""

pytest_plugins = ["tests.plugin_pages"]

"""Compose the config of a run with Hydra, check it, and return typed settings.

``import krona.config`` registers the resolvers that conf/ uses, so that ``hydra.compose`` can read conf/.
"""

from krona.config import derived_values as derived_values

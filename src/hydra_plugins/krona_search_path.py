"""A plugin with which Hydra searches the user's own conf/ before krona's conf/."""

import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from krona.messages import KronaError
from krona.paths import CONF, conf_folders

PRIMARY = ("config.yaml", "bench.yaml")  # the primary configs of train.py and bench.py


class OwnConfigs(SearchPathPlugin):
    """A plugin that adds the folders of `krona.paths.conf_folders` to the search path, if the program is krona's.

    Raises:
        KronaError: KRONA_CONF is not a folder, or the config.yaml of a user's folder belongs to another program.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        main = next((element.path for element in search_path.get_path() if element.provider == "main"), None)
        if main is None or Path(main) != CONF:
            return
        given = os.environ.get("KRONA_CONF")
        if given and not Path(given).is_dir():
            raise KronaError(
                f"KRONA_CONF={given}: there is no such folder; KRONA_CONF is a folder of configs, like conf/"
            )
        for conf in reversed(conf_folders()[:-1]):
            for file in (conf / name for name in PRIMARY):
                if file.is_file() and "krona" not in file.read_text(encoding="utf-8", errors="replace"):
                    raise KronaError(
                        f"{file} is another program's and would be read instead of krona's own {file.name}: "
                        "rename the file, or start krona in another folder"
                    )
            search_path.prepend("krona, own", f"file://{conf}")

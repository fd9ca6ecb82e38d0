"""The functions that compose, check, plan and store configs, for tests: only this file names their modules."""

from krona.cli.train import render_config as render_config
from krona.cli.train import renders_config as renders_config
from krona.config import check as check
from krona.config.choices import choices as choices
from krona.config.compose import Composed as Composed
from krona.config.compose import compose_job as compose_job
from krona.config.compose import hydra_session as hydra_session
from krona.config.hydra_internals import option_parser as option_parser
from krona.config.multirun import expand as expand
from krona.config.overrides import normalize as normalize
from krona.config.settings import Run as Run
from krona.paths import CONF as CONF
from krona.paths import NANO as NANO
from krona.paths import OUTPUTS as OUTPUTS
from krona.paths import PROJECT as PROJECT
from krona.paths import SWEEPS as SWEEPS
from krona.runs.result import Result as Result
from krona.runs.result import read_result as read_result
from krona.runs.result import write_result as write_result
from krona.training.plan import identify as identify
from krona.training.plan import resolve as resolve

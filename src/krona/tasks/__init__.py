"""Read the rows of a task from any data source, divide them into splits, check them, and compute token ids."""

from krona.tasks.data_sources import InputRows as InputRows
from krona.tasks.data_sources import data_fingerprint as data_fingerprint
from krona.tasks.data_sources import read_official_splits as read_official_splits
from krona.tasks.notes import notes as notes
from krona.tasks.notes import notes_on_rows as notes_on_rows
from krona.tasks.notes import official_rows as official_rows
from krona.tasks.rows import Data as Data
from krona.tasks.rows import Split as Split
from krona.tasks.splits import ROLES as ROLES
from krona.tasks.splits import Splits as Splits
from krona.tasks.splits import load as load
from krona.tasks.task import Task as Task
from krona.tasks.tokens import Tokenised as Tokenised
from krona.tasks.tokens import tokenise as tokenise

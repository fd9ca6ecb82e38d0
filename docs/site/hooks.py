"""What the documentation site adds to docs/: the methods' pages in the navigation, and its search without a server."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).resolve().parent
REMOTE = "https://unpkg.com/iframe-worker/shim"  # what the theme's search loads where a page is opened from a file


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """A page of each method in the navigation: a new one gets there by itself."""
    (section,) = (part["Methods"] for part in config.nav or [] if "Methods" in part)
    section += sorted(f"methods/{page.name}" for page in HERE.parent.glob("methods/*.md") if page.stem != "index")
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    shim = (HERE / "iframe-worker.js").read_text(encoding="utf-8")
    files.append(File.generated(config, "assets/iframe-worker.js", content=shim))
    return files


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    return output.replace(REMOTE, "../" * page.url.count("/") + "assets/iframe-worker.js")


def on_post_template(output: str, *, template_name: str, config: MkDocsConfig) -> str:
    return output.replace(REMOTE, "assets/iframe-worker.js")

"""Extend the documentation site: commands in the navigation, search without a server, narrow screens."""

from pathlib import Path

from commands import commands_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).resolve().parent
REMOTE = "https://unpkg.com/iframe-worker/shim"  # what the theme's search loads where a page is opened from a file


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the page of the commands to the navigation."""
    (reference,) = (group["Reference"] for group in config.nav or [] if "Reference" in group)
    reference.insert(1, {"Commands": "commands.md"})
    config.extra_css.append("assets/narrow.css")
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for name in ("iframe-worker.js", "narrow.css"):
        content = (HERE / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"assets/{name}", content=content))
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    return output.replace(REMOTE, "../" * page.url.count("/") + "assets/iframe-worker.js")


def on_post_template(output: str, *, template_name: str, config: MkDocsConfig) -> str:
    return output.replace(REMOTE, "assets/iframe-worker.js")

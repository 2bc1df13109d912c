"""Write one page per method of the documentation site, from its description file.

A page has the description, the requirements and the options of the method. `docs/method_notes/<name>.md` is added if
it exists.
"""

from pathlib import Path

from generate_options import load_methods, load_schema, render_method_options

NOTES = Path(__file__).resolve().parent / "method_notes"

KIND = {
    "native": "Native method: fits each gene on its own, in the environment of the workflow.",
    "precomputed": "Import: velocities are read from a file and not computed.",
    "model": "Model of another group: one job per dataset, in an environment of its own.",
}


def write_pages(folder):
    """Write the pages of all methods into a folder, and remove pages of other names.

    Parameters
    ----------
    folder : Path
        Folder of the pages, which is created.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema, methods = load_schema(), load_methods()
    for name, description in methods.items():
        text, path = render_page(name, description, schema), folder / f"{name}.md"
        # an unchanged file keeps its time, so that Sphinx does not read it again
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in folder.glob("*.md"):
        if path.stem not in methods:
            path.unlink()


def render_page(name, description, schema):
    """Return the page of one method.

    Parameters
    ----------
    name : str
        Name of the method.
    description : dict
        Content of its description file.
    schema : dict
        Schema of the config.

    Returns
    -------
    str
        The page, as Markdown.
    """
    facts = [KIND[description["kind"]]]
    if description.get("experimental"):
        facts.append("**Experimental**: compared with known truth on few datasets.")
    if "license" in description:
        facts.append(f"License: {description['license']}.")
    if description["kind"] == "model":
        facts.append(f"Install its environment with `make .envs/{name}/installed.lock`.")
    text = " ".join(description.get("description", "").split())
    parts = [f"# {description['title']}\n", f"{text}\n", " ".join(facts)]
    parts += [f"\n```yaml\nmethods:\n  {name}: {{}}\n```\n"] if description["kind"] != "precomputed" else [""]
    notes = NOTES / f"{name}.md"
    parts += [notes.read_text()] if notes.exists() else []
    parts += ["## Options\n", render_method_options(name, description, schema)]
    return "\n".join(parts)

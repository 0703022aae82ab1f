"""The README says what the program does: options, exit codes, and the commands a newcomer types."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from batchproc.cli.check import check
from batchproc.cli.finish import finish
from batchproc.cli.main import cli
from batchproc.cli.merge import merge
from batchproc.cli.report import report
from batchproc.cli.retry import retry
from batchproc.cli.run import default_output, run
from batchproc.cli.simulate import simulate
from batchproc.cli.status import status
from batchproc.forecast import BadLines, Forecast, ModelForecast, Part, Repeats, Spread
from batchproc.providers.presets import PRESETS
from batchproc.runreport import RunReport
from batchproc.snapshot import Merged, ShardedStatus, ShardStatus, Status

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text of one section of the README."""
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_every_option_of_run_is_in_the_readme_and_no_other() -> None:
    """The option table and the program have the same long options."""
    rows = re.findall(r"^\| (`-.*?`) \|", section("Options of `run`"), re.MULTILINE)
    documented = set(re.findall(r"--[a-z][a-z-]*", " ".join(rows)))
    real = {o for p in run.params for o in p.opts if o.startswith("--")}
    assert documented == real


def test_every_option_of_check_is_in_the_readme() -> None:
    """Its section names them all."""
    text = section("Use it").split("### What will it take?", 1)[1].split("\n### ", 1)[0]
    real = {o for p in check.params for o in p.opts if o.startswith("--")} - {"--no-color", "--verbose", "--output"}
    assert real <= set(re.findall(r"--[a-z][a-z-]*", text))


def test_the_document_of_check_is_in_the_readme() -> None:
    """Every key stands in the table of the section."""
    text = section("Use it").split("### What will it take?", 1)[1].split("\n### ", 1)[0]
    for record in (Forecast, Part, ModelForecast, Spread, BadLines, Repeats):
        for key in record.__struct_fields__:
            assert re.search(rf"`\.?{key}`", text), key


def test_exit_codes_in_the_readme_and_in_the_help_are_the_same() -> None:
    """0 to 7 and the three signals, in both places."""
    table = {
        int(n) for row in re.findall(r"^\| ([\d, ]+) \|", section("Exit codes"), re.MULTILINE) for n in row.split(",")
    }
    assert table == {0, 1, 2, 3, 4, 5, 6, 7, 130, 143, 129}
    shown = CliRunner().invoke(cli, ["run", "--help"]).output
    for code in table:
        assert re.search(rf"\b{code}\b", shown)


def test_every_option_can_come_from_the_environment() -> None:
    """`--max-wait` is BATCHPROC_MAX_WAIT, and so for all."""
    for param in run.params:
        long = next((o for o in param.opts if o.startswith("--")), None)
        if long is not None:
            assert param.envvar == "BATCHPROC_" + long[2:].replace("-", "_").upper()


def test_the_two_commands_stand_alone_on_their_lines() -> None:
    """The line that tries batchproc and the line that tests it: CI runs them as they are."""
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert len(commands) == 2
    assert "--simulate" in commands[0]
    assert "pytest" in commands[1]


def test_help_leads_with_the_purpose_and_examples() -> None:
    """Somebody who types --help sees what it is for and what to type."""
    for command in (cli, run, check, simulate, status, report, finish, retry, merge):
        shown = CliRunner().invoke(command, ["--help"]).output
        assert shown.index("Usage:") == 0
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert "batchproc run jobs.jsonl --rpm 3500 --tpm 90000" in shown


def test_every_option_of_the_other_commands_is_in_the_readme() -> None:
    """What `finish` and `retry` take and `run` does not is named in their sections, and the keys of `status` in its."""
    shared = {o for p in run.params for o in p.opts}
    for command in (status, report, finish, retry):
        title = next(t for t in re.findall(r"^## (.*)$", README, re.MULTILINE) if t.endswith(f"`{command.name}`"))
        for option in {o for p in command.params for o in p.opts if o.startswith("--")} - shared:
            assert option in section(title)
    for title, document in (("Look at a run: `status`", Status), ("What a run did: `report`", RunReport)):
        firsts = " ".join(re.findall(r"^\| (`.*?`) \|", section(title), re.MULTILINE))
        assert set(re.findall(r"`([a-z_0-9]+)`", firsts)) == set(document.__struct_fields__)


def test_a_retry_takes_the_options_of_a_run() -> None:
    """All but those that would be senseless."""
    names = {p.name for p in run.params} - {p.name for p in retry.params}
    many = {"shard", "engine", "workers", "shards", "ray_address"}
    assert names <= {"output", "fresh", "yes", "limit", "adopt", "print_config"} | many


def test_shards_are_in_the_readme() -> None:
    """The options of `merge`, the keys of its document, and what `status` says of each shard."""
    text = section("Many processes: `--shard`, `merge`")
    shared = {"--json", "--quiet", "--no-color"}
    assert {o for p in merge.params for o in p.opts if o.startswith("--")} - shared <= set(
        re.findall(r"--[a-z][a-z-]*", text)
    )
    for record in (Merged, ShardStatus):
        for key in record.__struct_fields__:
            assert f"`{key}`" in text, key
    assert {*ShardedStatus.__struct_fields__} - {*Status.__struct_fields__} == {"shards"}
    assert "`shards`" in text


def test_our_own_error_codes_are_in_the_readme() -> None:
    """Each code that batchproc itself puts into a failed line is in the table."""
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", README, re.MULTILINE))
    source = "".join(
        p.read_text(encoding="utf-8") for p in (ROOT / "batchproc").rglob("*.py") if "simulator" not in p.parts
    )
    used = set(
        re.findall(
            r'"(invalid_\w+|attempts_exhausted|request_t\w+|response_too_large|connection_error|not_run)"', source
        )
    )
    assert used - {"invalid_api_key", "invalid_request_error", "invalid_model"} <= documented


def test_every_known_provider_is_in_the_readme() -> None:
    """With the variable of its key, where one is demanded."""
    table = section("Use it")
    for preset in PRESETS:
        rows = [r for r in table.splitlines() if r.startswith("| ")]
        (row,) = [r for r in rows if preset.name in [n.strip() for n in r.split("|")[1].split(",")]]
        assert not preset.needs_key or f"`{preset.keys[0]}`" in row, preset.name


def test_default_output_names() -> None:
    """Compression first, then one known suffix, then the new one."""
    for jobs, output in {
        "jobs.jsonl": "jobs.results.jsonl",
        "a/jobs.ndjson.gz": "a/jobs.results.jsonl",
        "jobs.json.zst": "jobs.results.jsonl",
        "jobs.txt": "jobs.results.jsonl",
        "jobs": "jobs.results.jsonl",
        "jobs.data": "jobs.data.results.jsonl",
        "jobs.jsonl.jsonl": "jobs.jsonl.results.jsonl",
        "jobs.gz": "jobs.results.jsonl",
    }.items():
        assert default_output(jobs) == output


def test_the_list_of_commands_says_what_each_says_of_itself():
    """`--help` does not import the commands: what it says of them is written down twice, and must be the same."""
    import importlib

    from batchproc.cli.main import _COMMANDS, _SAY

    own = {name: getattr(importlib.import_module(module), name).help for name, module in _COMMANDS.items()}
    assert {name: text.split("\n\n")[0].replace("\n", " ") for name, text in own.items()} == _SAY


def test_every_link_and_every_script_named_is_there() -> None:
    """In all pages: files beside them, headings of theirs, and the scripts that print the figures."""
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")]
    for page in [*pages, *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            name, _, heading = target.partition("#")
            beside = page.parent / name if name else page
            assert target.startswith("https://") or beside.exists(), f"{page.name}: {target}"
            if heading:
                heads = re.findall(r"^#+ (.*)$", beside.read_text(encoding="utf-8"), re.MULTILINE)
                assert heading in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target
        for script in re.findall(r"`(?:python )?((?:benchmarks|tests)/[\w/]+\.py)", text):
            assert (ROOT / script).exists(), f"{page.name}: {script}"


def test_every_figure_of_speed_names_its_script() -> None:
    """A share of a core, a factor or a size in the README stands in a paragraph that says what prints it."""
    for paragraph in README.split("\n\n"):
        if re.search(r"\d ?% of a core|\bmegabytes\b|\d MB\b|times as fast|jobs a second", paragraph):
            assert "benchmarks/" in paragraph, paragraph

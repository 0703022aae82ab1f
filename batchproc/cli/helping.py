"""How `--help` is laid out: what a command is for, examples, options in groups, exit codes."""

from __future__ import annotations

import click

# Which group an option stands in, by its name without dashes. What is not here stands last, under «Other options».
_GROUPS: dict[str, str] = {
    "Files": "jobs output checkpoint limit only config print-config",
    "Many processes": "shard engine workers shards ray-address",
    "Limits": "rpm tpm rpd tpd itpm otpm quota quota-fraction quota-reset on-quota-loss burst concurrency",
    "Where requests go": "base-url provider simulate api-key-file header endpoint model",
    "When to give up, and when to wait": "max-attempts timeout max-wait on-daily-limit stop-after drain fail-over",
    "Money": "max-cost max-total-tokens assume-max-output prices",
    "Beginning and going on": "accept-changes adopt fresh yes break-lock",
    "What it says": "progress quiet verbose no-color json help",
}
_OTHERS = "Other options"
_FEW = 8  # options that need no groups


class Helpful(click.Command):
    """A command whose examples (the first paragraph of its epilog) stand before its options, which are in groups."""

    groups = _GROUPS

    def group_of(self, param: click.Parameter) -> str:
        """The group that an option is listed in."""
        long = next((o.removeprefix("--") for o in param.opts if o.startswith("--")), "")
        return next((group for group, names in self.groups.items() if long in names.split()), _OTHERS)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it is for, then the examples."""
        super().format_help_text(ctx, formatter)
        examples, _ = self._parts()
        if examples:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, group by group; where there are few, in one list."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in [*self.groups, _OTHERS]}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                groups[self.group_of(param)].append(record)
        if sum(map(len, groups.values())) <= _FEW:
            super().format_options(ctx, formatter)
            return
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What remains: the exit codes."""
        _, rest = self._parts()
        if rest:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(rest)

    def _parts(self) -> tuple[str, str]:
        examples, _, rest = (self.epilog or "").partition("\n\n")
        return examples, rest.strip()

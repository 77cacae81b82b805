"""`fki train`: learn the stream period by period, scored after each."""

from dataclasses import asdict

from fki.commands import _options as o
from fki.commands._progress import RunProgress
from fki.commands._results import probe_table, stream_table
from fki.commands._show import Show, parameters


def train(
    preset: o.Presets = None,
    method: o.Method = None,
    dataset: o.Dataset = None,
    version: o.Version = None,
    model: o.Model = None,
    seed: o.Seed = None,
    output_dir: o.OutputDir = None,
    sets: o.Sets = None,
    as_json: o.Json = False,
) -> None:
    """Teach a model the stream, period by period, and score it after each."""
    resolved = o.resolved(
        preset,
        sets,
        method=method,
        dataset=dataset,
        dataset_version=version,
        model=model,
        seed=seed,
        output_dir=output_dir,
    )
    config, show = resolved.config, Show(as_json=as_json)
    from fki.core.store import Run
    from fki.core.types import Step
    from fki.engine import output_log, session
    from fki.engine.models import count_parameters
    from fki.engine.runner import Runner

    output_log.check(config.output_log)
    ready = session.build(config)
    for note in (*resolved.notes, *session.notes(config, ready.accelerator)):
        show.note(f"Note: {note}")
    run = Run.create(config.output_dir, f"{config.method}-{config.dataset_version}-s{config.seed}")
    runner = Runner(ready, run)
    runner.start(resolved)
    total, trained = count_parameters(ready.model)
    show.note(
        f"{config.method} teaches {config.model} the dataset {ready.stream.name}, "
        f"{len(ready.stream.periods)} {config.dataset_version} periods; "
        f"{parameters(trained)} of {parameters(total)} parameters train. Run: {run.folder}"
    )
    with RunProgress(show.err, ready.steps) as progress:
        for event in runner.events():
            if isinstance(event, Step):
                progress.step(event)
                continue
            progress.scored(event.after, event.scores)
            for score in event.scores:
                show.data(after=event.after, **asdict(score))
    result = runner.scores()
    output_log.write(config.output_log, result["rows"])
    trained_anything = len(result["rows"]) > 1
    show.table(probe_table(result["summary"], trained=trained_anything))
    if trained_anything:
        show.out.print()
        show.table(stream_table(result["summary"], asdict(runner.clock)))
    show.data(run=str(run.folder), summary=result["summary"], spent=asdict(runner.clock))
    if trained_anything:
        show.next_commands("fki compare runs/", f"fki export {run.folder} --to hf --output out/")

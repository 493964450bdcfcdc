"""Great Expectations, and all that is known of it here.

It is imported when first needed (some seconds), with its telemetry off, never on an executor.
Results are asked for as counts alone: ``BASIC`` with no unexpected values, so that no row comes
back to the driver. Its exceptions quote values (Spark's cast errors do), so its log is muted while
it works and callers turn an exception into a failed verdict without its message.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from threading import Thread
from typing import TYPE_CHECKING, Any

from lake.quality.facts import Tally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}

#: Loggers that repeat an exception's text: Great Expectations' own, pyspark's two that write the
#: query context of an error, and py4j's, which at DEBUG writes whatever the JVM answers.
_LOGGERS = (
    "great_expectations",
    "SQLQueryContextLogger",
    "DataFrameQueryContextLogger",
    "py4j",
)


@contextmanager
def quiet() -> Iterator[None]:
    """While it lasts nothing of Great Expectations reaches the log or standard output."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    nowhere = logging.NullHandler()  # without any handler Python's last resort would print
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False  # some loggers below have a level of their own
        logger.addHandler(nowhere)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            logger.removeHandler(nowhere)


def import_ahead() -> None:
    """Begin to import Great Expectations in a thread, while a run's first job keeps Spark busy."""

    def imported() -> None:
        with suppress(Exception):  # whoever needs it will say what is wrong
            _library()

    Thread(target=imported, daemon=True).start()


def types() -> list[str]:
    """Every expectation type that Great Expectations knows, sorted."""
    _library()
    from great_expectations.expectations.registry import (
        list_registered_expectation_implementations,
    )

    return sorted(list_registered_expectation_implementations())


def problems(type_: str, kwargs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of an expectation, in words; empty where nothing is."""
    try:
        with quiet():
            built(type_, kwargs)
    except ValueError as e:  # pydantic's ValidationError is one and lists what it found
        found = e.errors() if hasattr(e, "errors") else [{"loc": (), "msg": str(e)}]
        places = (".".join(map(str, ("kwargs", *f["loc"]))) for f in found)
        return list(dict.fromkeys(f"{p}: {f['msg']}" for p, f in zip(places, found, strict=True)))
    return []


def built(type_: str, kwargs: Mapping[str, Any]) -> Any:
    """Great Expectations' own object; raises its errors where it refuses type or arguments."""
    _library()
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(type=type_, kwargs=dict(kwargs)).to_domain_obj()


def judged(expectation: Any, tally: Tally) -> Any:
    """Its validation result from counts that are known already: no Spark job.

    Great Expectations splits an expectation into metrics and a judgement on them; the metrics
    are filled in from the tally and the judgement (``mostly``, limits, empty tables) is its own.
    """
    wanted = expectation.get_validation_dependencies(runtime_configuration=_runtime())
    metrics = {
        configuration.id: _metric(name, getattr(expectation, "map_metric", None), tally)
        for name, configuration in wanted.metric_configurations.items()
    }
    return expectation.metrics_validate(metrics=metrics, runtime_configuration=_runtime())


def validated(expectation: Any, candidate: DataFrame) -> Any:
    """Its validation result on the Spark frame: some jobs and about a second each.

    The context lives in memory for this one call and leaves nothing behind; the frame is not
    cached, since a candidate table is already on disk.
    """
    context = _context()
    source = context.data_sources.add_spark("lake", persist=False)
    batches = source.add_dataframe_asset("candidate").add_batch_definition_whole_dataframe("whole")
    batch = batches.get_batch(batch_parameters={"dataframe": candidate})
    return batch.validate(expectation, result_format=_runtime()["result_format"])


def raised(result: Any) -> bool:
    """Whether a validation result says that it could not be computed."""
    told = result.exception_info or {}
    # One exception, or one for each metric that raised.
    each = [told] if "raised_exception" in told else list(told.values())
    return any(bool(e.get("raised_exception")) for e in each)


def _context() -> Any:
    """A context that lives in memory: no Data Docs, no progress bars."""
    library = _library()
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(), analytics_enabled=False
    )
    context = library.get_context(mode="ephemeral", project_config=config)
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    return context


def _metric(name: str, map_metric: str | None, tally: Tally) -> int | list[Any]:
    """The value of a metric by its name; KeyError for one that a tally does not hold."""
    values: dict[str, int | list[Any]] = {
        "table.row_count": tally.rows,
        "column_values.nonnull.unexpected_count": tally.rows - tally.looked_at,
        "unexpected_rows_query.row_count": tally.broken,
        "unexpected_rows_query.table": [],
    }
    if map_metric is not None:
        values[f"{map_metric}.unexpected_count"] = tally.broken
        values[f"{map_metric}.filtered_row_count"] = tally.looked_at
        values[f"{map_metric}.unexpected_values"] = []
    return values[name]


def _runtime() -> dict[str, Any]:
    return {"result_format": dict(COUNTS_ONLY)}  # a new one: Great Expectations writes into it


def _library() -> Any:
    # Read when the library is imported.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with _main_file():
        import great_expectations
    return great_expectations


@contextmanager
def _main_file() -> Iterator[None]:
    """While it lasts the process has a main file. Without one (`python -c`, some orchestrators)
    pyspark.sql.connect, which Great Expectations looks for, takes the process for a doctest and
    ends it silently where grpcio is absent."""
    main = sys.modules["__main__"]
    if hasattr(main, "__file__"):
        yield
        return
    main.__file__ = __file__
    try:
        yield
    finally:
        del main.__file__

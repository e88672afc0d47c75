"""A profile over a real Ray cluster of three nodes on this machine, one of them killed on the way."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from fitcard.catalog import Catalog
from tests.conftest import Cli
from tests.profiler.conftest import KEY
from tests.profiler.test_faults import CAPPED, records, start, until

LABELS = ("BF16", "Q8_0")


def cases_below(process: psutil.Process) -> list[psutil.Process]:
    """The measuring processes that a node is running."""
    return [
        child for child in process.children(recursive=True) if "fitcard.profiler.worker" in " ".join(child.cmdline())
    ]


@pytest.mark.filterwarnings("ignore")  # Ray leaves files and sockets open until its processes end
def test_a_killed_node_loses_no_case(odd: Catalog, tmp_path: Path) -> None:
    """Three nodes, one case at a time on each, and two cases, of which the head can have one. The node that is killed takes
    its running case with it; Ray runs it again."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        words = [word for label in LABELS for word in ("--quant", label)]
        running = start(odd, tmp_path, *CAPPED, *words, "--fleet", cluster.address)
        raylets = {psutil.Process(node.all_processes["raylet"][0].process.pid): node for node in nodes}
        until(lambda: any(map(cases_below, raylets)))
        busy = next(filter(cases_below, raylets))
        lost = cases_below(busy)
        cluster.remove_node(raylets[busy], allow_graceful=False)
        until(lambda: not any(case.is_running() and case.status() != psutil.STATUS_ZOMBIE for case in lost), 30)
        out, err = running.communicate(timeout=400)
        assert running.returncode == 0, err
        assert "3 nodes; no accelerators, so processors" in err
        assert f"{len(LABELS)} records under" in out
        found = records(odd, tmp_path)
        assert sorted(run.quantization for run in found) == sorted(LABELS)
        assert {run.status for run in found} == {"ok"}
    finally:
        cluster.shutdown()


def test_no_cluster_is_an_error_in_words(odd: Catalog, tmp_path: Path, cli: Cli) -> None:
    began = time.monotonic()
    done = cli("profile", KEY, *CAPPED, "--fleet", "127.0.0.1:1", "--output", tmp_path, catalog=odd.root)
    assert done.returncode == 1
    assert "no Ray cluster answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60

"""A file far larger than the memory that moves it. INTEROP_LARGE_GIB=4 for the size that the project promises."""

import os

import pytest

import payload as payloads
from peers.clients import Libtorrent
from peers.process import PeakMemory
from test_link import report

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.alone
def test_memory_stays_far_below_the_file(request, lab, samara):
    size = int(float(os.environ.get("INTEROP_LARGE_GIB", "1")) * GIB)
    content = payloads.sparse(lab.folder("payload"), size)
    torrent = content.torrent(lab.private("t.torrent"))
    seed = samara.seed(lab, torrent, content.root)
    seed.wait_ready()
    reference = Libtorrent().seed(lab, torrent, content.root)
    reference.wait_ready()

    into = lab.folder("into")
    download = samara.download(lab, torrent, into, [reference.address])
    with PeakMemory(download.process) as leech:
        download.wait_complete(300)
    assert not payloads.differences(content, into)
    reference.stop()
    content.path((), into).unlink()

    with PeakMemory(seed.process) as seeding:
        Libtorrent().download(lab, torrent, into, [seed.address]).wait_complete(300)
    assert not payloads.differences(content, into)
    seed.stop()
    report(
        request,
        file_mib=size // MIB,
        leech_anonymous_mib=round(leech.peak / MIB, 1),
        leech_rss_mib=round(leech.resident / MIB, 1),
        leech_cpu_s_per_gib=round(download.process.cpu_s / (size / GIB), 2),
        seed_anonymous_mib=round(seeding.peak / MIB, 1),
        seed_rss_mib=round(seeding.resident / MIB, 1),
        seed_cpu_s_per_gib=round(seed.process.cpu_s / (size / GIB), 2),
    )
    for peak in (leech.peak, seeding.peak):
        assert peak < 128 * MIB

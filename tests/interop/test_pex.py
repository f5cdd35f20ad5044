"""Peer exchange (BEP 11) as the only way: the tracker names one peer, and the one that has the content is heard of from that one."""

import pytest

import payload as payloads
from conftest import Lab, reference_clients
from peers.bad_tracker import BadTracker, compact_peers
from peers.capture import HANDSHAKE
from peers.fake import Fake
from peers.process import wait_for
from test_magnet import link

KIB, MIB = 1 << 10, 1 << 20

# Transmission sends its list every 90 s, aria2 and libtorrent every 60.
PATIENCE_S = 200

# (who tells, who learns, by what it is added)
CASES = [
    (teller, learner, by)
    for by in ("torrent", "link")
    for teller, learner in [
        ("samara", "samara"),
        ("samara", "libtorrent"),
        ("samara", "transmission"),
        ("samara", "aria2"),
        ("libtorrent", "samara"),
        ("transmission", "samara"),
        ("aria2", "samara"),
    ]
]


class Case:
    """The teller gets nothing from the seed, and the learner everything: what the learner has, it has from a peer it was told of.

    The seed never dials, knows no extension, and is named by no tracker but to the teller.
    """

    def __init__(self, lab, clients, content, teller, learner, by):
        self.content = content
        self.into = lab.folder("into")
        self._first = None  # the address of who came first, the teller
        unannounced = content.torrent(lab.private("unannounced.torrent"))
        self.seed = Fake(lab, unannounced, self._serve)
        to_teller = BadTracker(lab, compact_peers(self.seed.address))
        first = content.torrent(lab.private("teller.torrent"), to_teller.url())
        self.teller = clients[teller].download(lab, first, lab.folder("teller"))
        wait_for(f"{teller} is with the seed", lambda: self._first, PATIENCE_S)
        to_learner = BadTracker(lab, compact_peers(self.teller.address))
        second = content.torrent(lab.private("learner.torrent"), to_learner.url())
        added = link(second, to_learner.url()) if by == "link" else second
        self.learner = clients[learner].download(lab, added, self.into)

    def _serve(self, talk):
        if not talk.handshake(first=False).startswith(HANDSHAKE):
            return  # encrypted, as some try first; they come again without
        self._first = self._first or talk.host
        talk.bitfield()
        if talk.host == self._first:
            talk.silence()
        for request in talk.requests():
            talk.serve(*request)

    def finish(self):
        self.learner.wait_complete(PATIENCE_S)
        assert not payloads.differences(self.content, self.into)


@pytest.fixture(scope="module")
def cases(request, tmp_path_factory, samara):
    """All cases that were asked for, begun at once: each is a minute or two of waiting for a list."""
    lab = Lab(tmp_path_factory.mktemp("pex"))
    content = payloads.single(lab.folder("payload"), MIB + 9, 16 * KIB, seed=97)
    clients = {client.name: client for client in [*reference_clients(), samara]}
    asked = [item.callspec.params["case"] for item in request.session.items if item.fspath == request.fspath and hasattr(item, "callspec")]
    yield {case: Case(lab, clients, content, *case) for case in asked}
    lab.close()


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_the_seed_is_heard_of(cases, case, request):
    request.node.watched = [cases[case].teller.process, cases[case].learner.process]
    cases[case].finish()
